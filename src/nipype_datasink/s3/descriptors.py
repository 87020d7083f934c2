"""File descriptors: a process has a limited number of them, for files and sockets of all kinds."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["are_scarce", "free_descriptors", "reserved_requests"]

_OF_A_REQUEST = 2  # a socket and a file
_SHARE = 0.75  # of what is free; the rest is for others in this process

# What runs in other threads have reserved and may not have opened yet; guarded by the lock.
_reserved = 0
_lock = threading.Lock()


@contextmanager
def reserved_requests(most: int) -> Iterator[int]:
    """Reserve descriptors for requests; yield how many there may be at a time.

    Parameters
    ----------
    most
        More are not needed.
    """
    global _reserved  # noqa: PLW0603
    with _lock:
        available = int(_SHARE * max(0, free_descriptors() - _reserved))
        requests = max(1, min(most, available // _OF_A_REQUEST))
        _reserved += _OF_A_REQUEST * requests
    try:
        yield requests
    finally:
        with _lock:
            _reserved -= _OF_A_REQUEST * requests


def are_scarce() -> bool:
    """Return whether more than half of the descriptors are in use."""
    return free_descriptors() < _limit() // 2


def free_descriptors() -> int:
    """Return how many more files and sockets this process can open now."""
    limit = _limit()
    try:
        return limit - len(os.listdir("/dev/fd"))  # Linux and macOS
    except OSError:  # a bare container; or not even one is free
        return limit // 2 if _can_open() else 0


def _can_open() -> bool:
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError:
        return False
    return True


def _limit() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _forget() -> None:
    """In a forked child, forget what the parent's threads have reserved."""
    global _lock, _reserved
    _lock, _reserved = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
