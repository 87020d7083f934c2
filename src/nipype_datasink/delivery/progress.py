"""Show how many bytes of a delivery to S3 have been sent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Progress = Callable[[int], object]
"""Adds to the number of bytes sent; can be called from any thread. The argument is negative where
bytes must be sent again, as in a retry."""


@contextmanager
def progress_bar(size: int, label: str) -> Iterator[Progress]:
    """Show a progress bar on standard error if that is a terminal.

    No error of the bar stops a delivery: standard error may be closed at any time, or replaced by
    an object that raises errors of any kind.

    Parameters
    ----------
    size
        Total number of bytes.
    label
        Text before the bar.
    """
    bar: Any = None
    with suppress(Exception):  # sys.stderr may be None (pythonw), or an object without `isatty`
        if sys.stderr.isatty():
            from tqdm import tqdm  # here, because importing it takes time

            bar = tqdm(total=size, desc=label, unit="B", unit_scale=True, leave=False)

    def update(count: int) -> None:
        try:
            bar.update(count)
        except Exception:  # noqa: BLE001 - see above
            bar.disable = True  # tqdm then writes nothing more

    try:
        yield update if bar is not None else lambda _: None
    finally:
        with suppress(Exception):
            if bar is not None:
                bar.close()
