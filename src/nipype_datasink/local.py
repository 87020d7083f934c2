"""Delivery to a directory on disk: each file whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO

from nipype_datasink.delivery import Outcome, Status
from nipype_datasink.errors import DeliveryError
from nipype_datasink.location import LocalDirectory
from nipype_datasink.plan import FileTransfer, Plan, real_place
from nipype_datasink.sources import same_bytes
from nipype_datasink.threads import spread

__all__ = ["LocalTarget"]

# What makes every further attempt pointless.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# Where the kernel cannot copy by itself: other file systems, old kernels, some mounts.
_KERNEL_CANNOT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)

_TEMPORARY = re.compile(r"\.datasink-[0-9a-f]{16}")
_ATTEMPTS = 10
_BLOCK = 1 << 20  # bytes
_THREADS = 4
_WORTH_A_THREAD = 1 << 20  # bytes of a file; smaller ones only wait for Python's lock


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
        transfers = plan.transfers
        work = _Work(link=self._link)
        work.copy([transfer for transfer in transfers if not work.link(transfer)])
        outcomes = [work.outcomes[transfer] for transfer in transfers]
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


class _Work:
    """One delivery, in two passes: what needs no reading; then all else, large files in threads."""

    def __init__(self, *, link: bool) -> None:
        self.outcomes: dict[FileTransfer, Outcome] = {}
        self._link = link
        self._prepare = _Directories()
        self._hopeless: OSError | None = None
        self._stopped = threading.Event()

    def link(self, transfer: FileTransfer) -> bool:
        """Deliver a file if that takes no reading; return whether an outcome is known."""
        if self._hopeless is None:
            try:
                self._prepare(os.path.dirname(transfer.destination))
                status = self._status_unread(transfer)
                if status:
                    self._note(transfer, status)
            except OSError as error:
                self._fail(transfer, error)
        return transfer in self.outcomes

    def copy(self, transfers: Sequence[FileTransfer]) -> None:
        """Compare files with what is there, and copy those that differ."""
        large = [transfer for transfer in transfers if transfer.size >= _WORTH_A_THREAD]
        for transfer in transfers:
            if transfer.size < _WORTH_A_THREAD:
                self._copy_one(transfer)
        spread(self._copy_one, large, threads=_THREADS, interrupt=self._stopped.set)

    def _status_unread(self, transfer: FileTransfer) -> Status | None:
        source, place = transfer.source, transfer.destination
        there = _lstat(place)
        if there and _is_source(there, place, source):
            return Status.UNCHANGED
        if there and _may_equal(there, transfer):
            return None
        linked = self._link and transfer.linkable and _hard_link(source, place)
        return Status.SENT if linked else None

    def _copy_one(self, transfer: FileTransfer) -> None:
        if self._hopeless:
            self._note(transfer, Status.NOT_TRIED, self._hopeless)
            return
        try:
            self._note(transfer, self._copy(transfer))
        except OSError as error:
            self._fail(transfer, error)

    def _copy(self, transfer: FileTransfer) -> Status:
        source, place = transfer.source, transfer.destination
        there = _lstat(place)
        if there and _may_equal(there, transfer):
            if same_bytes(source, place):
                return Status.UNCHANGED
            if self._link and transfer.linkable and _hard_link(source, place):
                return Status.SENT
        _copy(source, place, self._stopped)
        return Status.SENT

    def _note(self, transfer: FileTransfer, status: Status, cause: OSError | None = None) -> None:
        self.outcomes[transfer] = Outcome(transfer=transfer, status=status, cause=cause)

    def _fail(self, transfer: FileTransfer, error: OSError) -> None:
        self.outcomes[transfer] = Outcome.failure(transfer, error)
        if error.errno in _HOPELESS:
            self._hopeless = error


def _lstat(place: str) -> os.stat_result | None:
    try:
        return os.lstat(place)
    except FileNotFoundError:
        return None


def _is_source(there: os.stat_result, place: str, source: str) -> bool:
    """Return whether what is `there` is the source itself."""
    if stat.S_ISLNK(there.st_mode):
        # A link to somewhere else is replaced by the file, unless the link is what is sunk.
        return real_place(source, os.path.realpath) == place
    return os.path.samestat(there, os.stat(source))


def _may_equal(there: os.stat_result, transfer: FileTransfer) -> bool:
    return stat.S_ISREG(there.st_mode) and there.st_size == transfer.size


def _hard_link(source: str, place: str) -> bool:
    """Make `place` a hard link to what `source` is or links to, if the file system can."""
    real = os.path.realpath(source) if os.path.islink(source) else source
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


def _copy(source: str, place: str, stopped: threading.Event) -> None:
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


def _copy_bytes(source: str, output: int, stopped: threading.Event) -> None:
    with FileIO(source) as file:
        before = os.fstat(file.fileno())
        copied = _copy_in_kernel(file.fileno(), output, before.st_size)
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
