"""Delivery to a directory on disk: each file whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache

from nipype_datasink.delivery import Outcome, Status
from nipype_datasink.errors import DeliveryError
from nipype_datasink.location import LocalDirectory
from nipype_datasink.plan import FileTransfer, Plan, real_place
from nipype_datasink.sources import same_bytes

__all__ = ["LocalTarget"]

# What makes every further attempt pointless.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# Where the kernel cannot copy by itself: other file systems, old kernels, some mounts.
_KERNEL_CANNOT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)

_TEMPORARY = re.compile(r"\.datasink-[0-9a-f]{16}")
_ATTEMPTS = 10
_BLOCK = 1 << 20  # bytes


class LocalTarget:
    """A directory on disk.

    Parameters
    ----------
    location
        Base directory and container; it exists after a delivery.
    link
        Make hard links of single files and their companions where the file system can.
    """

    def __init__(self, location: LocalDirectory, *, link: bool) -> None:
        self.location = location
        self._link = link

    def deliver(self, plan: Plan) -> list[Outcome]:
        """Bring every file of `plan` there; return what became of each."""
        outcomes: list[Outcome] = []
        hopeless: OSError | None = None
        prepare = _Directories()
        for transfer in plan.transfers:
            if hopeless:
                outcomes.append(Outcome(transfer=transfer, status=Status.NOT_TRIED, cause=hopeless))
                continue
            try:
                prepare(os.path.dirname(transfer.destination))
                status = self._deliver(transfer)
                outcomes.append(Outcome(transfer=transfer, status=status))
            except OSError as error:
                outcomes.append(Outcome.failure(transfer, error))
                if error.errno in _HOPELESS:
                    hopeless = error
        if all(outcome.status.arrived for outcome in outcomes):
            outcomes += self._finish(plan)
        return outcomes

    def error(self, message: str, _causes: Sequence[Exception], /) -> DeliveryError:
        """Return the error to be raised where some files did not arrive."""
        return DeliveryError(message)

    def _finish(self, plan: Plan) -> list[Outcome]:
        """Make the directories that hold no file, then remove what must not remain."""
        folders = {folder: item.source for item in plan.deliveries for folder in item.directories}
        for item in plan.deliveries:
            if "/../" in item.destination:  # as spelled it leads through a folder of its own
                folders.setdefault(os.path.dirname(item.destination), item.source)
        try:
            for folder in [self.location.path, *folders]:
                os.makedirs(folder, exist_ok=True)
            replaced = [item.replaces for item in plan.deliveries if item.replaces]
            kept = _kept(plan) if replaced else set()
            for folder in replaced:
                _remove_others(folder, kept)
        except OSError as error:
            place = str(error.filename)
            source = folders.get(place, place)
            transfer = FileTransfer(source=source, destination=place, size=0)
            return [Outcome.failure(transfer, error)]
        return []

    def _deliver(self, transfer: FileTransfer) -> Status:
        source, place = transfer.source, transfer.destination
        if _is_there(source, place):
            return Status.UNCHANGED
        if not (self._link and transfer.linkable and _hard_link(source, place)):
            _copy(source, place)
        return Status.SENT


def _is_there(source: str, place: str) -> bool:
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(mode):
        # A link to somewhere else is replaced by the file, unless the link is what is sunk.
        return real_place(source, os.path.realpath) == place
    return stat.S_ISREG(mode) and same_bytes(source, place)


def _hard_link(source: str, place: str) -> bool:
    """Make `place` a hard link to what `source` is or links to, if the file system can."""
    real = os.path.realpath(source)
    try:
        os.link(real, place)
    except FileExistsError:
        pass
    except OSError:
        return False
    else:
        return True
    for _ in range(_ATTEMPTS):
        temporary = _temporary_name(place)
        try:
            os.link(real, temporary)
        except OSError:
            return False
        moved = _moved(temporary, place)
        # Renaming one link of a file to another link of the same file does nothing.
        _unlink(temporary)
        if moved:
            return True
    return False


def _copy(source: str, place: str) -> None:
    for _ in range(_ATTEMPTS):
        temporary = _temporary_name(place)
        with _held(temporary) as output:
            _copy_bytes(source, output)
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
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):  # some mounts know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    except BaseException:
        _unlink(path)
        raise
    finally:
        os.close(descriptor)


def _copy_bytes(source: str, output: int) -> None:
    with open(source, "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        copied = _copy_in_kernel(file.fileno(), output, before.st_size)
        # Nothing is left now, unless the kernel cannot copy here or does not know the size.
        while block := file.read(_BLOCK):
            copied += len(block)
            while block:
                block = block[os.write(output, block) :]
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EIO, "changed while it was read", source)
    if os.fstat(output).st_size != copied or copied < after.st_size:
        raise OSError(errno.EIO, "was not copied whole", source)


def _copy_in_kernel(source: int, output: int, size: int) -> int:
    """Copy inside the kernel, which may share blocks; return how many bytes went that way."""
    copied = 0
    if not hasattr(os, "copy_file_range"):
        return copied
    try:
        while copied < size and (count := os.copy_file_range(source, output, size - copied)):
            copied += count
    except OSError as error:
        if error.errno not in _KERNEL_CANNOT:
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


class _Directories:
    """Makes directories, and clears each once of what a crash has left there."""

    def __init__(self) -> None:
        self._made: set[str] = set()

    def __call__(self, directory: str) -> None:
        if directory in self._made:
            return
        os.makedirs(directory, exist_ok=True)
        for name in os.listdir(directory):
            if _TEMPORARY.fullmatch(name):
                _remove_litter(os.path.join(directory, name))
        self._made.add(directory)


def _remove_litter(path: str) -> None:
    """Remove a temporary file that nobody holds."""
    with suppress(OSError):
        descriptor = _open_for_lock(path)
        try:
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


def _remove_others(folder: str, kept: set[str]) -> None:
    """Remove from `folder` everything but `kept`."""
    for root, directories, files in os.walk(folder, topdown=False):
        for name in files + directories:
            path = os.path.join(root, name)
            if path in kept:
                continue
            if os.path.islink(path) or not os.path.isdir(path):
                os.unlink(path)
            elif not os.listdir(path):
                os.rmdir(path)


def _kept(plan: Plan) -> set[str]:
    """Return the paths that `plan` delivers or reads."""
    real_directory = cache(os.path.realpath)
    kept: set[str] = set()
    for delivery in plan.deliveries:
        kept.update(delivery.directories)
        path = os.path.abspath(delivery.destination)  # perhaps spelled through a link
        while path not in kept and len(path) > 1:
            kept.add(path)
            path = os.path.dirname(path)
    for transfer in plan.transfers:
        kept.add(transfer.destination)
        place = real_place(transfer.source, real_directory)
        kept.add(place)
        kept.add(os.path.realpath(place) if os.path.islink(place) else place)
    return kept
