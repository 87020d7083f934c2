"""Open sources for reading."""

from __future__ import annotations

import errno
import os
import stat


def open_regular(path: str, flags: int) -> int:
    """Open a file unless it is a pipe, a socket or a device; for the argument ``opener`` of `open`.

    A plan rejects these, but a source may have become one since then, and to open a named pipe
    waits for a process at its other end.

    Raises
    ------
    OSError
        If the file cannot be opened, or is not a regular file.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except BlockingIOError:  # another process has a lease on the file, as Samba has (fcntl(2))
        descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # `open` itself rejects directories
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", path)
    return descriptor
