"""Handle SIGTERM and Ctrl-C so that a delivery cleans up before the process ends.

Python turns SIGINT into `KeyboardInterrupt`, but SIGTERM ends a process at once: multipart uploads
would stay open and temporary files would remain. Signal handlers run in the main thread only,
between any two instructions of it, also in the middle of cleaning up after an earlier signal.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from _thread import start_new_thread
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType, TracebackType
from typing import Any

_logger = logging.getLogger("nipype.interface")

_DEFAULTS: dict[int, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}

# Time to clean up after SIGTERM. SLURM and Kubernetes send SIGKILL after 30 seconds.
_GRACE_SECONDS = 20.0
# Time in which a second Ctrl-C is ignored. Long enough to abort uploads in most cases, and short
# enough for a person who presses Ctrl-C again because nothing seems to happen.
_CLEANUP_SECONDS = 5.0


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived. Code that cleans up after Ctrl-C cleans up after SIGTERM, too."""


@contextmanager
def graceful_shutdown() -> Iterator[None]:
    """Let the block clean up after SIGTERM or Ctrl-C before the process ends.

    SIGTERM raises `Terminated` in the block. When the block is left, the process sends SIGTERM to
    itself, so that its parent sees the usual exit status. A second SIGTERM ends it at once, and so
    does a block that is not left in time, as where a server does not answer.

    One signal does not interrupt the cleanup after another: SIGTERM after Ctrl-C waits until the
    block is left, and Ctrl-C is ignored for some seconds. Signals that already have a handler, and
    blocks outside the main thread, are left alone.
    """
    shutdown = _Shutdown()
    try:
        shutdown.install_handlers()
        yield
    finally:
        shutdown.finish()


class _Shutdown:
    """The signals that have arrived in one block, and the handlers that were set for it.

    The main thread alone changes this state, because handlers run in it; so no lock is needed.
    `_left` is an event, as the timer thread reads it.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._left = threading.Event()
        self._interrupted_at: float | None = None  # of time.monotonic
        self._terminated = False
        self._handlers: dict[int, Any] = {}  # set by this class, by signal

    def install_handlers(self) -> None:
        """Handle each signal that has its default handler."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets only the main thread set handlers
        handlers = {signal.SIGINT: self._interrupt, signal.SIGTERM: self._terminate}
        for number, handler in handlers.items():
            if signal.getsignal(number) is _DEFAULTS[number]:
                # Before the handler is set: a signal may arrive in between.
                self._handlers[number] = handler
                signal.signal(number, handler)

    def finish(self) -> None:
        """Restore the handlers; end the process if SIGTERM has arrived."""
        self._left.set()
        try:
            for number in _DEFAULTS:
                self._restore(number)
        finally:
            if self._terminated:  # also where other code has caught `Terminated`
                _logger.warning("ended by SIGTERM; run again to complete what is missing")
                os.kill(os.getpid(), signal.SIGTERM)

    def _restore(self, number: int) -> None:
        """Restore the default handler, unless other code has set a new one in the meantime."""
        if number in self._handlers and signal.getsignal(number) == self._handlers[number]:
            signal.signal(number, _DEFAULTS[number])

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        cleaning = (
            self._interrupted_at is not None and now < self._interrupted_at + _CLEANUP_SECONDS
        )
        # A forked child has its own cleanup, and must not inherit that Ctrl-C is ignored.
        if cleaning and not self._left.is_set() and os.getpid() == self._process:
            return
        self._interrupted_at = now
        signal.default_int_handler(number, frame)

    def _terminate(self, number: int, _: FrameType | None) -> None:
        # First of all: from here on, another SIGTERM ends the process at once.
        self._restore(number)
        if os.getpid() != self._process or self._left.is_set():
            # This is a child that was forked in the block, or another handler, set in the block
            # and still there, calls this one. There is nothing to clean up.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._terminated = True
        with suppress(RuntimeError):  # the limit of threads is reached: then without a timer
            # Not `threading.Thread` or `Timer`: they take locks of the `threading` module, which
            # the interrupted code may hold.
            start_new_thread(self._kill_after_grace, ())
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
            raise Terminated
        # Otherwise Ctrl-C has already started the cleanup; `finish` ends the process.

    def _kill_after_grace(self) -> None:
        if not self._left.wait(_GRACE_SECONDS):
            os.kill(os.getpid(), signal.SIGTERM)


def is_time_limit(error: BaseException) -> bool:
    """Return whether an error is a time limit that the user has set.

    Users set a time limit by a handler of SIGALRM that raises `TimeoutError`. It ends the whole
    delivery. `TimeoutError` is an `OSError`, too, but only those of the system have a number.
    """
    return isinstance(error, TimeoutError) and error.errno is None


def error_from_signal_handler(error: BaseException) -> BaseException | None:
    """Return the exception that a signal handler has raised, if it has led to `error`.

    Libraries wrap such an exception in errors of their own. It is meant for the code that has set
    the handler (as with ``signal.alarm`` for a time limit), and says nothing about the file that
    was being delivered when the signal came.
    """
    handler_codes = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()}
    handler_codes.discard(None)
    found: BaseException | None = None
    found_entry: TracebackType | None = None
    for link in _chain(error):
        for entry in _traceback_entries(link):
            # urllib3 gives its own errors the traceback object of the error that they wrap. Only
            # the innermost error with that object was raised there.
            if entry.tb_frame.f_code in handler_codes and found_entry in (None, entry):
                found, found_entry = link, entry
    return found


def raise_if_from_signal_handler(error: BaseException) -> None:
    """Raise the exception of a signal handler again, if it has led to `error`."""
    if raised := error_from_signal_handler(error):
        raise raised from None


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and the errors that have led to it, the latest first."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link and link not in links:  # other code may have linked errors in a circle
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _traceback_entries(error: BaseException) -> Iterator[TracebackType]:
    entry = error.__traceback__
    while entry:
        yield entry
        entry = entry.tb_next


def _code_of(handler: Any) -> CodeType | None:
    """Return the code that runs when a handler is called; None for SIG_DFL and SIG_IGN."""
    handler = getattr(handler, "func", handler)  # of a functools.partial
    # `__call__` of the type: a handler may be an object with that method.
    method = getattr(type(handler), "__call__", None)  # noqa: B004
    code = getattr(handler, "__code__", getattr(method, "__code__", None))
    return code if isinstance(code, CodeType) else None
