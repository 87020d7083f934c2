"""Threads that share work, and end soon if whoever started them is interrupted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Interrupted", "Pool", "checkpoint", "parallel_map", "result_of"]

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")

_POLL_SECONDS = 0.1


class Interrupted(BaseException):
    """Ends the work of a thread after an interrupt.

    Whoever catches it to clean up raises it again.
    """


# In each thread of this module, the events that end its work: its own, and those of the thread
# that started it. No lock: only the thread itself sees them, and it sets them once.
_here = threading.local()


def checkpoint() -> None:
    """Raise `Interrupted` if the work of this thread is of no use any more.

    To be called between blocks of bytes. An interrupt comes to the main thread only, where it is
    an exception by itself.
    """
    if any(event.is_set() for event in _stops()):
        raise Interrupted


def _stops() -> tuple[threading.Event, ...]:
    stops: tuple[threading.Event, ...] = getattr(_here, "stops", ())
    return stops


def result_of(future: Future[_Result]) -> _Result:
    """Wait for a future, ready to be interrupted.

    Python notices a signal that comes in the moment before it waits for a lock only when that wait
    ends, so this one ends and begins again.
    """
    while not wait([future], timeout=_POLL_SECONDS).done:
        checkpoint()
    return future.result()


def parallel_map(
    work: Callable[[_Piece], _Result],
    pieces: Sequence[_Piece],
    *,
    threads: int,
    apart: bool = False,
    abandon: bool = False,
    interrupt: Callable[[], object] = lambda: None,
) -> list[_Result]:
    """Return what `work` makes of each piece, in order.

    An interrupt lets no thread begin another piece, and is raised when all have ended theirs, at
    the next `checkpoint`. Where no more threads can be started, fewer work, or the calling one.

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
    abandon
        Do not wait for the threads after an interrupt: what they do changes nothing.
    interrupt
        Called on an interrupt, so that what has begun can end soon.
    """
    threads = min(threads, len(pieces))
    if threads < 2 and not apart:
        return [work(piece) for piece in pieces]
    shared = _Shared(work, pieces, daemon=abandon)
    try:
        shared.start(max(threads, 1))
        for taker in shared.takers:
            result_of(taker)
    except BaseException:
        shared.stop()
        interrupt()
        if not abandon:
            shared.wait()
        raise
    return [shared.results[index] for index in range(len(pieces))]


class _Shared:
    """Pieces of work that several threads share."""

    def __init__(self, work: Callable[[Any], Any], pieces: Sequence[Any], *, daemon: bool) -> None:
        self.results: dict[int, Any] = {}
        self.takers: list[Future[None]] = []
        self._running: list[Future[None]] = []  # appended to by the threads themselves
        self._work = work
        self._daemon = daemon
        self._rest = iter(enumerate(pieces))  # shared: taking the next one cannot be interrupted
        self._stopped = threading.Event()
        self._stops = (*_stops(), self._stopped)

    def start(self, threads: int) -> None:
        """Start so many threads, or as many as can be started; without any, do the work here."""
        for _ in range(threads):
            taker: Future[None] = Future()
            thread = threading.Thread(
                target=self._run, args=[taker], name="datasink", daemon=self._daemon
            )
            if not _start(thread):
                break
            self.takers.append(taker)
        if not self.takers:
            self._take()

    def stop(self) -> None:
        """Let no thread take another piece."""
        self._stopped.set()
        _drain(self._rest)

    def wait(self) -> None:
        """Wait for the threads; one that was being started during an interrupt finds no work."""
        wait(self._running)

    def _run(self, taker: Future[None]) -> None:
        self._running.append(taker)
        _here.stops = self._stops
        try:
            self._take()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            taker.set_exception(error)
        else:
            taker.set_result(None)

    def _take(self) -> None:
        try:
            for index, piece in self._rest:
                self.results[index] = self._work(piece)
        finally:
            _drain(self._rest)  # after an error, nobody takes another


def _start(thread: threading.Thread) -> bool:
    """Start a thread; return False where there can be no more, as when the interpreter ends.

    A second interrupt while `Thread.start` waits leaves its lock open, and a `RuntimeError` about
    that hides the interrupt. The thread then runs: what is raised here is the interrupt.
    """
    handled = sys.exc_info()[1]
    try:
        thread.start()
    except RuntimeError as error:
        interrupt = error.__context__
    else:
        return True
    if interrupt in (None, handled):
        return False
    raise interrupt


def _drain(rest: Iterator[object]) -> None:
    for _ in rest:
        pass


class Pool(Executor):
    """A pool of threads; where none can be started, calls are made in the thread that submits.

    Parameters
    ----------
    max_workers
        Threads at the most.
    """

    def __init__(self, max_workers: int) -> None:
        self._max_workers = max_workers
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []  # guarded by the lock
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._stops = (*_stops(), self._stopped)

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Return a future of `fn(*args, **kwargs)`."""
        future: Future[_Result] = Future()

        def call() -> None:
            if self._stopped.is_set():
                future.cancel()
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                future.set_exception(error)

        if self._has_threads():
            self._calls.put(call)
        else:
            call()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """End the threads when they have worked off all calls."""
        if cancel_futures:
            self._stopped.set()
        for _ in self._threads:
            self._calls.put(None)
        if not wait:
            return
        try:
            self._join()
        except BaseException:
            self._stopped.set()
            self._join()
            raise

    def _join(self) -> None:
        for thread in self._threads:
            while thread.is_alive():  # one whose start was interrupted cannot be joined
                thread.join(_POLL_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """End the threads; after an error, drop the calls that have not begun."""
        self.shutdown(cancel_futures=kind is not None)
        return None

    def _has_threads(self) -> bool:
        """Start another thread, if there may be more; return whether there is one."""
        with self._lock:
            if len(self._threads) < self._max_workers:
                thread = threading.Thread(target=self._run, name="datasink")
                self._threads.append(thread)  # before: an interrupt may come while it is started
                if not _start(thread):
                    self._threads.remove(thread)
            return bool(self._threads)

    def _run(self) -> None:
        _here.stops = self._stops
        while call := self._calls.get():
            call()
