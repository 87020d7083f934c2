"""Run calls in several threads so that an interrupt ends all of them within a short time.

`concurrent.futures.ThreadPoolExecutor` cannot be used: its threads go on with queued calls after
Ctrl-C, and it raises an error for calls while the interpreter shuts down (where nodes may still
deliver), and where the limit of threads is reached.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Longest time for which a wait does not see an interrupt. Each poll costs some microseconds.
_POLL_SECONDS = 0.1


class WorkCancelled(BaseException):
    """Ends the work of a thread whose result is no longer needed.

    It is not an `Exception`, so that code that catches the errors of single files lets it pass.
    Code that catches it to clean up must raise it again.
    """


# The events that cancel the work of the current thread: its own event, and those of the threads
# above it. Only the thread itself reads and sets this value, so no lock is needed.
_current_thread = threading.local()


def raise_if_cancelled() -> None:
    """Raise `WorkCancelled` if the result of this thread is no longer needed.

    Long work calls this between blocks of bytes. In the main thread it does nothing: Python
    raises `KeyboardInterrupt` there.
    """
    if any(event.is_set() for event in _cancel_events()):
        raise WorkCancelled


def _cancel_events() -> tuple[threading.Event, ...]:
    events: tuple[threading.Event, ...] = getattr(_current_thread, "cancel_events", ())
    return events


def in_pool() -> bool:
    """Return whether the current thread belongs to a `Pool`."""
    return bool(_cancel_events())


def wait_for_result(
    future: Future[_Result], *, on_wait: Callable[[], object] = lambda: None
) -> _Result:
    """Return the result of a future, or raise its error; an interrupt ends the wait.

    Python does not see a signal that arrives just before it waits for a lock until that wait
    ends. Therefore this function waits in short steps, and calls `on_wait` after each.
    """
    # `done` first: `wait` takes ten times as long, also where there is nothing to wait for.
    while not (future.done() or wait([future], timeout=_POLL_SECONDS).done):
        raise_if_cancelled()
        on_wait()
    return future.result()


def parallel_map(  # noqa: PLR0913 - how the work begins, waits and ends
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    threads: int,
    own_thread: bool = False,
    abandon: bool = False,
    on_interrupt: Callable[[], object] = lambda: None,
    on_wait: Callable[[], object] = lambda: None,
) -> list[_Result]:
    """Call `function` with each item, in several threads; return the results in order.

    After an interrupt, or an error of `function`, no thread takes another item. The exception is
    raised when all threads have ended, which they do at their next `raise_if_cancelled`. Where
    the system allows no more threads, fewer are used, or only the calling one.

    Parameters
    ----------
    function
        Called in several threads. Its first error is raised here.
    items
        Arguments of the calls.
    threads
        Largest number of threads. With one thread, or one item, the calling thread does the work.
    own_thread
        Start a thread even then. Interrupts never reach it, as Python raises them in the main
        thread.
    abandon
        Do not wait for the threads after an interrupt. Only for work that changes nothing.
    on_interrupt
        Called after an interrupt or an error, so that work that has begun can end early.
    on_wait
        Called several times a second, in the calling thread, while other threads do the work.
    """
    threads = min(threads, len(items))
    if threads < 2 and not own_thread:
        return [function(item) for item in items]
    results: dict[int, _Result] = {}
    # Every thread takes its next item from here. No lock is needed: `next` of `enumerate` and
    # setting a key are each one operation, which neither a thread nor a signal can interrupt.
    remaining = iter(enumerate(items))

    def work() -> None:
        try:
            for index, item in remaining:
                results[index] = function(item)
        finally:
            _exhaust(remaining)  # after an error, no thread takes another item

    pool = Pool(max(threads, 1), daemon=abandon)
    try:
        for worker in [pool.submit(work) for _ in range(max(threads, 1))]:
            wait_for_result(worker, on_wait=on_wait)
    except BaseException:
        _exhaust(remaining)
        pool.shutdown(wait=False, cancel_futures=True)
        on_interrupt()
        raise
    finally:
        pool.shutdown(wait=not abandon)
    return [results[index] for index in range(len(items))]


def _start(thread: threading.Thread) -> bool:
    """Start a thread; return False where the system allows no more, or the interpreter ends.

    `Thread.start` waits for the new thread. If a second interrupt arrives in that wait, Python
    raises a `RuntimeError` ("release unlocked lock") whose context is the interrupt. It looks like
    the error for too many threads, but the thread runs. This function then raises the interrupt.
    """
    handled = sys.exc_info()[1]  # the context of every error here, if the caller handles one
    try:
        thread.start()
    except RuntimeError as error:
        interrupt = error.__context__
    else:
        return True
    if interrupt in (None, handled):
        return False
    raise interrupt


def _exhaust(iterator: Iterator[object]) -> None:
    """Take all that is left, so that no thread finds another item."""
    for _ in iterator:
        pass


class Pool(Executor):
    """A pool of threads; where no thread can be started, `submit` makes the call at once.

    Parameters
    ----------
    max_workers
        Largest number of threads.
    daemon
        Let the interpreter end while the threads run.
    """

    def __init__(self, max_workers: int, *, daemon: bool = False) -> None:
        self._max_workers = max_workers
        self._daemon = daemon
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # None ends a thread
        self._threads: list[threading.Thread] = []  # guarded by the lock
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._cancel_events = (*_cancel_events(), self._cancelled)

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Return a future of `fn(*args, **kwargs)`."""
        future: Future[_Result] = Future()

        def call() -> None:
            if self._cancelled.is_set():
                future.cancel()
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised by the future
                future.set_exception(error)

        if self._has_threads():
            self._calls.put(call)
        else:
            call()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """End the threads after all calls that were submitted."""
        if cancel_futures:
            self._cancelled.set()
        for _ in self._threads:
            self._calls.put(None)  # a second call of `shutdown` puts too many, which does no harm
        if not wait:
            return
        try:
            self._join()
        except BaseException:  # an interrupt: cancel the calls, then wait for their threads
            self._cancelled.set()
            self._join()
            raise

    def _join(self) -> None:
        for thread in self._threads:
            # `join` raises an error if an interrupt has ended the start of the thread; then it is
            # not alive.
            while thread.is_alive():
                thread.join(_POLL_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """End the threads; after an error, cancel the calls that have not begun."""
        self.shutdown(cancel_futures=kind is not None)
        return None

    def _has_threads(self) -> bool:
        """Start another thread unless there are enough; return whether there is any."""
        with self._lock:
            if len(self._threads) < self._max_workers:
                thread = threading.Thread(target=self._run, name="datasink", daemon=self._daemon)
                # Before the start: an interrupt may arrive in it, and `_join` must know the thread.
                self._threads.append(thread)
                if not _start(thread):
                    self._threads.remove(thread)
            return bool(self._threads)

    def _run(self) -> None:
        _current_thread.cancel_events = self._cancel_events
        while call := self._calls.get():
            call()
