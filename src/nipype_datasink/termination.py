"""Ending on SIGTERM as on Ctrl-C: nothing half done is left behind."""

from __future__ import annotations

import logging
import os
import signal
import threading
from _thread import start_new_thread
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "sigterm_interrupts"]

_logger = logging.getLogger("nipype.interface")

# Seconds; SLURM and Kubernetes kill after 30.
_GRACE = 20.0


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived; whoever undoes things on Ctrl-C undoes them now."""


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the block, and end the process when the block is left.

    Batch systems end jobs by SIGTERM, which Python does not heed: uploads in parts would stay
    open, and temporary files lie about. The process still dies of the signal, and of a second one
    at once. It sends itself one if the block is not left in time, as where a store is silent.
    Outside the main thread, and where somebody else handles the signal, nothing changes.
    """
    if not _is_free():
        yield
        return
    owner = os.getpid()
    left = threading.Event()
    arrived = False

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal arrived
        arrived = True
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:  # a child that was forked in the block
            os.kill(os.getpid(), number)
        start_new_thread(_insist, (left,))  # `threading` takes locks that may be held just now
        raise Terminated

    try:
        signal.signal(signal.SIGTERM, interrupt)
        try:
            yield
        finally:
            left.set()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    finally:
        if arrived:  # even if somebody has swallowed what was raised
            _logger.warning("ended by SIGTERM; run again to complete what is missing")
            os.kill(os.getpid(), signal.SIGTERM)


def _insist(left: threading.Event) -> None:
    if not left.wait(_GRACE):
        os.kill(os.getpid(), signal.SIGTERM)


def _is_free() -> bool:
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
