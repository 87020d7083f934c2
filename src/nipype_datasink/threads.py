"""Threads that share work: each takes the next piece, at almost no cost for a small one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["result_of", "spread"]

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")

_GLANCE = 0.2  # seconds


def result_of(future: Future[_Result]) -> _Result:
    """Wait for a future, ready to be interrupted.

    A signal that comes in the moment before Python waits for a lock is not heeded until that wait
    ends, so this one ends again and again.
    """
    while not wait([future], timeout=_GLANCE).done:
        pass
    return future.result()


def spread(
    work: Callable[[_Piece], _Result],
    pieces: Sequence[_Piece],
    *,
    threads: int,
    apart: bool = False,
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
    apart
        Start one even then, which no interrupt can reach.
    interrupt
        Called on an interrupt, so that what has begun can end soon.
    """
    threads = min(threads, len(pieces))
    if threads < 2 and not apart:
        return [work(piece) for piece in pieces]
    results: dict[int, _Result] = {}
    rest = iter(enumerate(pieces))  # shared: taking the next one cannot be interrupted
    begun: list[threading.Event] = []

    def take() -> None:
        ended = threading.Event()
        begun.append(ended)
        try:
            for index, piece in rest:
                results[index] = work(piece)
        finally:
            _drain(rest)  # after an error, nobody takes another
            ended.set()

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="datasink") as pool:
        try:
            for taker in [pool.submit(take) for _ in range(threads)]:
                result_of(taker)
        except BaseException:
            interrupt()
            _drain(rest)
            for ended in begun:  # the pool forgets a thread if it is interrupted while starting it
                ended.wait()
            raise
    return [results[index] for index in range(len(pieces))]


def _drain(rest: Iterator[object]) -> None:
    for _ in rest:
        pass
