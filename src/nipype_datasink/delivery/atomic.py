"""Write a file so that its destination always holds either the old file or the whole new one.

Each file is written under a temporary name in the directory of its destination, then renamed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO

from nipype_datasink.opening import open_regular
from nipype_datasink.signals import is_time_limit

# Errors of `copy_file_range` in the middle of a file after which a copy in user space may succeed.
# Before the first byte that holds for every error: CIFS, old CephFS and FUSE answer EIO, EACCES,
# EBADF or ENOENT where they do not support the call.
_NOT_SUPPORTED = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)

_TEMPORARY_NAME = re.compile(r"\.datasink-[0-9a-f]{16}")
_ATTEMPTS = 10
_BLOCK_BYTES = 1 << 20
_KERNEL_COPY_BYTES = 1 << 24  # for one call: an interrupt waits until the call returns

# Age of a temporary file that a crash has left behind. Its lock alone does not show that: on some
# network file systems, other machines do not see locks.
_ABANDONED_SECONDS = 24 * 60 * 60

# From this size on, a temporary file is locked while it is written: copying it may take longer than
# that. Smaller files are copied again if another run removes their temporary file; for them, a lock
# would only cost a round trip on a network file system.
_LOCKED_BYTES = 1 << 20


def hard_link(source: str, destination: str) -> bool:
    """Make `destination` a hard link to a file; return False where that is not possible.

    Parameters
    ----------
    source
        File, or a link to it; the hard link is made to the file.
    destination
        Path of the hard link; a file there is replaced.

    Raises
    ------
    OSError
        EXDEV if they are on different file systems; otherwise if a link cannot be renamed.
    """
    file = os.path.realpath(source) if os.path.islink(source) else source
    linked = _link(file, destination)
    if linked is not None:
        return linked
    for _ in range(_ATTEMPTS):
        temporary = _temporary_path(destination)
        try:  # before the link is made: a signal may arrive directly after it
            if not _link(file, temporary):
                return False
            if _rename(temporary, destination):
                return True
        finally:  # `os.replace` does nothing if both names are links to the same file (POSIX)
            _unlink(temporary)
    return False


def _link(file: str, destination: str) -> bool | None:
    """Make a hard link; return False where that fails, None where the destination exists."""
    try:
        os.link(file, destination)
    except FileExistsError:
        return None
    except OSError as error:
        if is_time_limit(error) or error.errno == errno.EXDEV:
            raise
        return False
    return True


def copy(
    source: str, destination: str, cancelled: threading.Event, on_copied: Callable[[int], object]
) -> None:
    """Copy a file; what is at the destination stays until the copy is complete.

    Parameters
    ----------
    source
        Path of the file.
    destination
        Path of the copy; its directory exists.
    cancelled
        Stops the copy when it is set.
    on_copied
        Called with each number of bytes that was copied; all of them again if the copy is repeated.

    Raises
    ------
    OSError
        If the copy fails or is stopped, or if the source changes during the copy. No temporary
        file remains.
    """
    for _ in range(_ATTEMPTS):
        temporary = _temporary_path(destination)
        with _removed_after_error(temporary):
            _write_copy(source, temporary, cancelled, on_copied)
            if _rename(temporary, destination):
                return
    raise FileNotFoundError(errno.ENOENT, "its temporary file was removed repeatedly", destination)


def _temporary_path(destination: str) -> str:
    # A short name of its own, as the name of the destination may already have the largest length.
    return os.path.join(os.path.dirname(destination), f".datasink-{secrets.token_hex(8)}")


@contextmanager
def _removed_after_error(path: str) -> Iterator[None]:
    """Remove a file if the block raises an error; the block creates it."""
    try:  # before the file is created: a signal may arrive directly after it
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


@contextmanager
def _new_file(path: str) -> Iterator[int]:
    """Create a file, and close it before it is renamed: NFS reports a full disk on close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_copy(
    source: str, path: str, cancelled: threading.Event, on_copied: Callable[[int], object]
) -> None:
    """Create a file with the bytes of `source`."""
    with FileIO(source, opener=open_regular) as file, _new_file(path) as output:
        before = os.fstat(file.fileno())
        if before.st_size >= _LOCKED_BYTES:
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(output, fcntl.LOCK_EX)
        in_kernel = _copy_in_kernel(file.fileno(), output, before.st_size, cancelled, on_copied)
        copied = in_kernel
        # This reads what the kernel has not copied. Files in /proc have the size 0, so the size
        # does not tell whether anything is left.
        while (block := file.read(_BLOCK_BYTES)) and not cancelled.is_set():
            copied += len(block)
            on_copied(len(block))
            while block:
                block = block[os.write(output, block) :]
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise OSError(errno.EIO, "the file changed while it was read", source)
        # `os.write` tells how much was written; some kernels have reported more than they copied.
        written = os.fstat(output).st_size if in_kernel else copied
        if written != copied or copied < after.st_size:
            raise OSError(errno.EIO, "the copy is incomplete", source)


def _copy_in_kernel(
    source: int,
    output: int,
    size: int,
    cancelled: threading.Event,
    on_copied: Callable[[int], object],
) -> int:
    """Copy by `os.copy_file_range`, which may share blocks; return the number of bytes copied."""
    copied = 0
    if not hasattr(os, "copy_file_range"):  # as on macOS
        return copied
    try:
        while copied < size and not cancelled.is_set():
            count = os.copy_file_range(source, output, _KERNEL_COPY_BYTES)
            if not count:
                break
            copied += count
            on_copied(count)
    except OSError as error:
        if is_time_limit(error) or (copied and error.errno not in _NOT_SUPPORTED):
            raise
    return copied


def _rename(temporary: str, destination: str) -> bool:
    """Rename a temporary file; return False if another run has removed it."""
    try:
        os.replace(temporary, destination)
    except FileNotFoundError:
        return False
    return True


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def prepare_directory(directory: str) -> list[str] | None:
    """Make a directory unless it exists, and remove temporary files that a crash has left in it.

    Returns
    -------
    list of str or None
        Names of what is in it; None if it cannot be listed.
    """
    if make_directory(directory):
        return []
    try:
        names = os.listdir(directory)
    except PermissionError:  # a directory may be writable but not readable
        return None
    for name in names:
        if _TEMPORARY_NAME.fullmatch(name):
            _remove_if_abandoned(os.path.join(directory, name))
    return names


def make_directory(directory: str) -> bool:
    """Make a directory and its parents unless they exist; return False if it exists.

    `os.makedirs` calls itself for each level, and fails where the path has more levels than
    Python allows nested calls.
    """
    missing = [directory]
    tried: set[str] = set()
    while missing:
        try:
            os.mkdir(missing[-1])
            made = True
        except FileNotFoundError:
            parent = os.path.dirname(missing[-1])
            if parent in tried:  # it exists, but takes no directories, as /proc
                raise
            tried.add(parent)
            missing.append(parent)
            continue
        except OSError as error:
            if is_time_limit(error) or not os.path.isdir(missing[-1]):
                raise
            made = False
        missing.pop()
    return made


def _remove_if_abandoned(path: str) -> None:
    """Remove a temporary file that is old and that no process has locked."""
    with suppress(OSError):
        descriptor = _open_for_lock(path)
        try:
            if time.time() - os.fstat(descriptor).st_mtime < _ABANDONED_SECONDS:
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def _open_for_lock(path: str) -> int:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)  # NFS locks only files that are open for writing
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)
