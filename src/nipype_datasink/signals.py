"""Ending on SIGTERM as on Ctrl-C, and only once: nothing half done is left behind."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType, TracebackType
from typing import Any

__all__ = ["Terminated", "error_from_signal_handler", "graceful_shutdown", "is_time_limit"]

_logger = logging.getLogger("nipype.interface")

_Handler = Callable[[int, FrameType | None], Any]

# Seconds; SLURM and Kubernetes kill after 30.
_GRACE = 20.0
# Seconds in which another Ctrl-C does not interrupt what the first one began to undo.
_UNDOING = 5.0


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived; whoever undoes things on Ctrl-C undoes them now."""


@contextmanager
def graceful_shutdown() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the block, and end the process when the block is left.

    Batch systems end jobs by SIGTERM, which Python does not turn into an exception: uploads in
    parts would stay open, and temporary files lie about. The process still dies of the signal,
    and of a second one at once. It sends itself one if the block is not left in time, as where a
    store is silent. A signal that follows another does not interrupt the undoing: SIGTERM waits
    until the block is left, and Ctrl-C is ignored for some seconds. Outside the main thread, and
    where somebody else handles the signal, nothing changes.
    """
    ending = _Ending()
    try:
        ending.begin()
        yield
    finally:
        ending.end()


class _Ending:
    """What has arrived since the block began. Handlers run in the main thread only: no lock."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._left = threading.Event()
        self._interrupted_at: float | None = None
        self._terminated = False
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number, free, handler in (
            (signal.SIGINT, signal.default_int_handler, self._interrupt),
            (signal.SIGTERM, signal.SIG_DFL, self._terminate),
        ):
            if signal.getsignal(number) is free:
                self._before[number] = free
                signal.signal(number, handler)

    def end(self) -> None:
        self._left.set()
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._restore(number)
        finally:
            if self._terminated:  # even if somebody has swallowed what was raised
                _logger.warning("ended by SIGTERM; run again to complete what is missing")
                os.kill(os.getpid(), signal.SIGTERM)

    def _restore(self, number: int) -> None:
        """Put back the handler that was there, unless somebody has set another one meanwhile."""
        handler = self._terminate if number == signal.SIGTERM else self._interrupt
        if number in self._before and signal.getsignal(number) == handler:
            signal.signal(number, self._before[number])

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        undoing = self._interrupted_at is not None and now < self._interrupted_at + _UNDOING
        if undoing and not self._left.is_set() and os.getpid() == self._owner:
            return
        self._interrupted_at = now
        signal.default_int_handler(number, frame)

    def _terminate(self, number: int, _: FrameType | None) -> None:
        self._restore(number)
        if os.getpid() != self._owner or self._left.is_set():
            # A child that was forked in the block; or somebody's own handler calls this one.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._terminated = True
        with suppress(RuntimeError):  # no more threads
            # `threading` takes locks that may be held just now.
            start_new_thread(self._kill_after_grace, ())
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
            raise Terminated

    def _kill_after_grace(self) -> None:
        if not self._left.wait(_GRACE):
            os.kill(os.getpid(), signal.SIGTERM)


def is_time_limit(error: BaseException) -> bool:
    """Return whether an error is a time limit of the user's, which ends everything at once.

    Such a limit is a `TimeoutError` that a handler of SIGALRM has raised. It also is an `OSError`,
    as are those of the system, but these have a number.
    """
    return isinstance(error, TimeoutError) and error.errno is None


def error_from_signal_handler(error: BaseException) -> BaseException | None:
    """Return the exception that a signal handler has raised, if that is what led to `error`.

    It is meant for whoever has set the handler, as in ``signal.alarm`` for a time limit, and says
    nothing about the file that was worked on when the signal came.
    """
    codes = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    found: BaseException | None = None
    entry: TracebackType | None = None
    for link in _chain(error):
        for each in _entries(link):
            # urllib3 gives its own errors the very traceback of what they wrap: the last one has
            # it by right.
            if each.tb_frame.f_code in codes and entry in (None, each):
                found, entry = link, each
    return found


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _entries(error: BaseException) -> Iterator[TracebackType]:
    entry = error.__traceback__
    while entry:
        yield entry
        entry = entry.tb_next


def _code_of(handler: Any) -> CodeType | None:
    handler = getattr(handler, "func", handler)  # of functools.partial
    method = getattr(type(handler), "__call__", None)  # noqa: B004 - of an object that is called
    code = getattr(handler, "__code__", getattr(method, "__code__", None))
    return code if isinstance(code, CodeType) else None
