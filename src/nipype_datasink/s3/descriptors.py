"""Share the process's file descriptors, which files and sockets of all kinds need."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_DESCRIPTORS_PER_REQUEST = 2  # a socket and a file
_SHARE_OF_FREE = 0.75  # the rest is for other code in this process; this is a guess

# Number of descriptors that deliveries in all threads have reserved, opened or not. Guarded by the
# lock.
_reserved = 0
_lock = threading.Lock()


@contextmanager
def reserved_requests(maximum: int) -> Iterator[int]:
    """Reserve descriptors for concurrent requests; yield the number of requests, at least 1.

    Parameters
    ----------
    maximum
        Largest number of requests that is useful.
    """
    global _reserved  # noqa: PLW0603
    with _lock:
        available = int(_SHARE_OF_FREE * max(0, free_descriptors() - _reserved))
        requests = max(1, min(maximum, available // _DESCRIPTORS_PER_REQUEST))
        _reserved += _DESCRIPTORS_PER_REQUEST * requests
    try:
        yield requests
    finally:
        with _lock:
            _reserved -= _DESCRIPTORS_PER_REQUEST * requests


def are_descriptors_scarce() -> bool:
    """Return whether more than half of the descriptors are in use."""
    return free_descriptors() < _limit() // 2


def free_descriptors() -> int:
    """Return the number of files and sockets that this process can open in addition."""
    limit = _limit()
    try:
        return limit - len(os.listdir("/dev/fd"))  # Linux and macOS
    except OSError:  # no /dev in a minimal container, or no descriptor is free to list it
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


def _forget_reservations() -> None:
    """Forget the parent's reservations in a forked child, which has none of its threads."""
    global _lock, _reserved
    _lock, _reserved = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_reservations)
