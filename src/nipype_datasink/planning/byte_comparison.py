"""Compare two files by their bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO

from nipype_datasink.opening import open_regular
from nipype_datasink.parallel import raise_if_cancelled

_BLOCK_BYTES = 1 << 18


def same_bytes(path: str, other: str, on_read: Callable[[int], object] = lambda _: None) -> bool:
    """Return whether two files have the same bytes. Their times do not matter.

    Parameters
    ----------
    path, other
        The files.
    on_read
        Called with each number of bytes that was read and is equal.
    """
    with FileIO(path, opener=open_regular) as one, FileIO(other, opener=open_regular) as two:
        status, other_status = os.fstat(one.fileno()), os.fstat(two.fileno())
        if os.path.samestat(status, other_status):
            return True
        if status.st_size != other_status.st_size:
            return False
        # To make a block takes longer than to read a small file.
        count = min(_BLOCK_BYTES, status.st_size + 1)
        while block := _read(one, count):
            raise_if_cancelled()
            if block != _read(two, count):
                return False
            on_read(len(block))
        return not _read(two, 1)


def _read(file: FileIO, count: int) -> bytes:
    """Read so many bytes, or all up to the end; one call may return less (read(2))."""
    data = file.read(count)
    while 0 < len(data) < count and (more := file.read(count - len(data))):
        data += more
    return data
