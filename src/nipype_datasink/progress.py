"""Showing how far a delivery to S3 has come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Progress", "progress_for"]


class Progress(Protocol):
    """Told of bytes on their way, from any thread.

    The count may go back: a request that is sent again starts anew.
    """

    def advance(self, count: int) -> None:
        """Count bytes that were sent, or take back those that must be sent again."""


class _Silence:
    def advance(self, count: int) -> None:
        pass


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, count: int) -> None:
        self._bar.update(count)


@contextmanager
def progress_for(size: int, label: str) -> Iterator[Progress]:
    """Show a bar on standard error where a person watches, otherwise nothing.

    Parameters
    ----------
    size
        Bytes to come.
    label
        What they belong to.
    """
    if not sys.stderr.isatty():
        yield _Silence()
        return
    from tqdm import tqdm

    with tqdm(total=size, desc=label, unit="B", unit_scale=True, leave=False) as bar:
        yield _Bar(bar)
