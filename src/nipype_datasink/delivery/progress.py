"""Showing how far a delivery to S3 has come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

__all__ = ["Progress", "progress_for"]


class Progress(Protocol):
    """Told of bytes on their way, from any thread.

    The count may go back: a request that is sent again starts from zero.
    """

    def advance(self, count: int) -> None:
        """Count bytes that were sent, or take back those that must be sent again."""


class _Silence:
    def advance(self, count: int) -> None:
        pass


class _Bar:
    """A bar of tqdm whose failures do not matter: standard error may be closed at any time."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._failed = False

    def advance(self, count: int) -> None:
        if self._failed:
            return
        try:
            self._bar.update(count)
        except Exception:  # noqa: BLE001 - whatever stands for standard error may raise it
            self._failed = True

    def close(self) -> None:
        with suppress(Exception):
            self._bar.close()


@contextmanager
def progress_for(size: int, label: str) -> Iterator[Progress]:
    """Show a bar on standard error where a person watches, otherwise nothing.

    A bar that cannot be shown is left out; it never keeps files from being sent.

    Parameters
    ----------
    size
        Bytes to come.
    label
        What they belong to.
    """
    bar = _open_bar(size, label)
    try:
        yield bar or _Silence()
    finally:
        if bar:
            bar.close()


def _open_bar(size: int, label: str) -> _Bar | None:
    try:
        # None under pythonw and in some services; a stand-in may have no `isatty`.
        if not sys.stderr.isatty():
            return None
        from tqdm import tqdm

        return _Bar(tqdm(total=size, desc=label, unit="B", unit_scale=True, leave=False))
    except Exception:  # noqa: BLE001 - see above
        return None
