"""Putting a file in its place: whole or not at all, and without litter."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO

from nipype_datasink.signals import is_time_limit

__all__ = ["Directories", "copy", "hard_link", "make_directory"]

# What the kernel may say in the middle of a file when it cannot copy by itself. Before the first
# byte any error may mean that: CIFS, old CephFS and FUSE answer EIO, EACCES, EBADF or ENOENT.
_KERNEL_CANNOT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)

_TEMPORARY = re.compile(r"\.datasink-[0-9a-f]{16}")
_ATTEMPTS = 10
_BLOCK = 1 << 20  # bytes
_AT_ONCE = 1 << 24  # bytes that the kernel copies; an interrupt waits for them

# Where `flock` does not reach other nodes, only its age tells that nobody writes a file any more.
_LITTER_SECONDS = 24 * 60 * 60


def hard_link(source: str, place: str) -> bool:
    """Make `place` a hard link to what `source` is or links to, if the file system can."""
    real = os.path.realpath(source) if os.path.islink(source) else source
    linked = _linked(real, place)
    if linked is not None:
        return linked
    for _ in range(_ATTEMPTS):
        temporary = _temporary_name(place)
        try:  # a signal may interrupt as soon as the link is there
            if not _linked(real, temporary):
                return False
            if _moved(temporary, place):
                return True
        finally:  # renaming one link of a file to another link of the same file does nothing
            _unlink(temporary)
    return False


def _linked(real: str, place: str) -> bool | None:
    """Return whether a hard link could be made; None if something is there already."""
    try:
        os.link(real, place)
    except FileExistsError:
        return None
    except OSError as error:
        if is_time_limit(error):
            raise
        return False
    return True


def copy(source: str, place: str, stopped: threading.Event) -> None:
    """Make `place` a copy of `source`; what is there stays until the copy is whole.

    Parameters
    ----------
    source
        File to be read.
    place
        Path of the copy; its directory exists.
    stopped
        Once set, the copy is given up.

    Raises
    ------
    OSError
        If it cannot be made, is given up, or the source changes meanwhile. No litter remains.
    """
    for _ in range(_ATTEMPTS):
        temporary = _temporary_name(place)
        with _held(temporary) as output:
            _copy_bytes(source, output, stopped)
            os.close(os.dup(output))  # some servers tell only now that the disk is full
            if _moved(temporary, place):
                return
    raise FileNotFoundError(errno.ENOENT, "temporary files keep disappearing", place)


def _temporary_name(place: str) -> str:
    # Short, and in the same directory: the name itself may already be as long as names can be.
    return os.path.join(os.path.dirname(place), f".datasink-{secrets.token_hex(8)}")


@contextmanager
def _held(path: str) -> Iterator[int]:
    """Create a file that nobody takes for litter while it is written, and leave none behind."""
    try:  # a signal may interrupt as soon as the file is there
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with suppress(OSError):  # some mounts know no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def _copy_bytes(source: str, output: int, stopped: threading.Event) -> None:
    with FileIO(source) as file:
        before = os.fstat(file.fileno())
        copied = _copy_in_kernel(file.fileno(), output, before.st_size, stopped)
        # Nothing is left now, unless the kernel cannot copy here or does not know the size.
        while (block := file.read(_BLOCK)) and not stopped.is_set():
            copied += len(block)
            while block:
                block = block[os.write(output, block) :]
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EIO, "changed while it was read", source)
    if os.fstat(output).st_size != copied or copied < after.st_size:
        raise OSError(errno.EIO, "was not copied whole", source)


def _copy_in_kernel(source: int, output: int, size: int, stopped: threading.Event) -> int:
    """Copy inside the kernel, which may share blocks; return how many bytes went that way."""
    copied = 0
    if not hasattr(os, "copy_file_range"):
        return copied
    try:
        while copied < size and not stopped.is_set():
            count = os.copy_file_range(source, output, min(size - copied, _AT_ONCE))
            if not count:
                break
            copied += count
    except OSError as error:
        if copied and error.errno not in _KERNEL_CANNOT:
            raise
    return copied


def _moved(temporary: str, place: str) -> bool:
    """Give `temporary` its final name; return False if somebody took it for litter."""
    try:
        os.replace(temporary, place)
    except FileNotFoundError:
        return False
    except BaseException:
        _unlink(temporary)
        raise
    return True


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


class Directories:
    """Makes directories, and clears each once of what a crash has left there."""

    def __init__(self) -> None:
        self._made: set[str] = set()

    def __call__(self, directory: str) -> None:
        """Make `directory`, unless it was made before."""
        if directory in self._made:
            return
        make_directory(directory)
        with suppress(PermissionError):  # a drop box takes files and shows none
            for name in os.listdir(directory):
                if _TEMPORARY.fullmatch(name):
                    _remove_litter(os.path.join(directory, name))
        self._made.add(directory)


def make_directory(directory: str) -> None:
    """Make `directory`, and those above it, unless they exist.

    `os.makedirs` calls itself for each level, and so ends where calls can be nested no deeper.
    """
    missing = [directory]
    tried: set[str] = set()
    while missing:
        try:
            os.mkdir(missing[-1])
        except FileNotFoundError:
            parent = os.path.dirname(missing[-1])
            if parent in tried:  # it is there, and takes no directory, as in /proc
                raise
            tried.add(parent)
            missing.append(parent)
            continue
        except OSError as error:
            if is_time_limit(error) or not os.path.isdir(missing[-1]):
                raise
        missing.pop()


def _remove_litter(path: str) -> None:
    """Remove a temporary file that is old and that nobody holds."""
    with suppress(OSError):
        descriptor = _open_for_lock(path)
        try:
            if time.time() - os.fstat(descriptor).st_mtime < _LITTER_SECONDS:
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def _open_for_lock(path: str) -> int:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)  # NFS locks only what can be written
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)
