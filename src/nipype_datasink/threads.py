"""Threads that share work: each takes the next piece, at almost no cost for a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["spread"]

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


def spread(
    work: Callable[[_Piece], _Result],
    pieces: Sequence[_Piece],
    *,
    threads: int,
    interrupt: Callable[[], object] = lambda: None,
) -> list[_Result]:
    """Return what `work` makes of each piece, in order.

    An interrupt lets no thread begin another piece, and is raised when all have ended theirs.

    Parameters
    ----------
    work
        Called in several threads. If it raises, so does this function.
    pieces
        What it is called with.
    threads
        At the most; with one, or a single piece, no thread is started.
    interrupt
        Called on an interrupt, so that what has begun can end soon.
    """
    threads = min(threads, len(pieces))
    if threads < 2:
        return [work(piece) for piece in pieces]
    results: dict[int, _Result] = {}
    rest = iter(enumerate(pieces))  # shared: taking the next one cannot be interrupted

    def take() -> None:
        try:
            for index, piece in rest:
                results[index] = work(piece)
        finally:
            _drain(rest)  # after an error, nobody takes another

    with ThreadPoolExecutor(threads, thread_name_prefix="datasink") as pool:
        try:
            for taker in [pool.submit(take) for _ in range(threads)]:
                taker.result()
        except BaseException:
            interrupt()
            _drain(rest)
            raise
    return [results[index] for index in range(len(pieces))]


def _drain(rest: Iterator[object]) -> None:
    for _ in rest:
        pass
