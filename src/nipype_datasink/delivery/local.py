"""Deliver the files of a plan to a directory on disk."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from nipype_datasink.delivery.atomic import copy, hard_link, make_directory, prepare_directory
from nipype_datasink.delivery.changes import Change
from nipype_datasink.delivery.check_report import CheckOptions, PlaceReport
from nipype_datasink.delivery.failure_report import Explanation
from nipype_datasink.delivery.local_check import check_directory
from nipype_datasink.delivery.os_errors import explain_os_error
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.removal import remove_others
from nipype_datasink.errors import CollisionError, DeliveryError, LateCollisionError
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.collisions import describe_collision
from nipype_datasink.planning.contents import same_bytes
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.places import group_similar_names, same_place
from nipype_datasink.planning.plan import FileTransfer, Plan, resolve_parent
from nipype_datasink.signals import is_time_limit

# Errors after which no other file can be written either.
_FATAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_THREADS = 4
# Smaller files are copied in the calling thread: their threads would mostly wait for Python's lock.
_LARGE_FILE_BYTES = 1 << 20


class LocalTarget:
    """A directory on disk.

    Parameters
    ----------
    location
        Base directory and container; it exists after a delivery.
    link
        Make hard links of single files and their companions where the file system can.
    before_removal
        Called before anything is removed (`remove_dest_dir`). If it raises an error, nothing is.
    """

    def __init__(
        self,
        location: LocalDirectory,
        *,
        link: bool,
        before_removal: Callable[[], object] = lambda: None,
    ) -> None:
        self.location = location
        self._link = link
        self._before_removal = before_removal

    def deliver(self, plan: Plan) -> list[Outcome]:
        """Deliver every file of `plan`; return the outcome of each."""
        transfers = plan.transfers
        similar = _similarly_named(transfers)
        writer = _FileWriter(link=self._link)
        others = [transfer for transfer in transfers if transfer not in similar]
        writer.copy([transfer for transfer in others if not writer.deliver_unread(transfer)])
        # After the others: whether the file system takes two names for one is only certain when
        # one of the files exists.
        for transfer, earlier in similar.items():
            writer.deliver_unless_collision(transfer, earlier)
        outcomes = [writer.outcomes[transfer] for transfer in transfers]
        if all(outcome.status.arrived for outcome in outcomes):
            outcomes += self._finish(plan)
        return outcomes

    def check(self, options: CheckOptions) -> PlaceReport:
        """Find out whether the directory would accept files; nothing is created."""
        return check_directory(
            self.location.path, link=self._link, working_directory=options.working_directory
        )

    def compare(self, transfers: Sequence[FileTransfer]) -> dict[FileTransfer, Change]:
        """Return what a delivery would change; files are read only to compare them."""
        return {transfer: _change(transfer) for transfer in transfers}

    def remove(self, destination: str) -> None:
        """Remove one file, unless it does not exist.

        Raises
        ------
        OSError
            If it cannot be removed.
        """
        with suppress(FileNotFoundError):
            os.unlink(destination)

    def explain(self, causes: Sequence[Exception], /) -> Explanation:
        """Return why files were not delivered; a fault of the whole disk explains most."""
        if not causes:
            return Explanation(text="files were not delivered")
        # A collision explains most, then what concerns every file.
        collisions = [cause for cause in causes if isinstance(cause, CollisionError)]
        cause = min(collisions or causes, key=lambda each: not _is_fatal(each))
        return Explanation(text=explain_os_error(cause), cause=cause)

    def error(self, message: str, cause: Exception | None, /) -> DeliveryError:
        """Return the error to raise if files were not delivered."""
        collided = isinstance(cause, CollisionError)
        return LateCollisionError(message) if collided else DeliveryError(message)

    def _finish(self, plan: Plan) -> list[Outcome]:
        """Make the directories without files, then clear folders; return the failures."""
        folders = {folder: item.source for item in plan.deliveries for folder in item.directories}
        for item in plan.deliveries:
            # `out_file` reports this path, so every directory that it goes through must exist.
            if "/../" in item.destination:
                folders.setdefault(os.path.dirname(item.destination), item.source)
        failures: dict[str, OSError] = {}
        for folder in [self.location.path, *folders]:
            try:
                make_directory(folder)
            except OSError as error:
                failures[folder] = error
        if not failures:
            base = os.path.realpath(self.location.path)
            failures = remove_others(plan, base, before=self._before_removal)
        return [
            Outcome.failure(
                FileTransfer(source=folders.get(path, path), destination=path, size=0), error
            )
            for path, error in failures.items()
        ]


def _is_fatal(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _FATAL_ERRORS


class _FileWriter:
    """Writes the files of one delivery: first those that need no reading, then the others.

    Several threads set `outcomes` and `_fatal_error`; each is one operation, so no lock is needed.
    """

    def __init__(self, *, link: bool) -> None:
        self.outcomes: dict[FileTransfer, Outcome] = {}
        self._link = link
        self._prepared: set[str] = set()  # directories
        self._fatal_error: Exception | None = None
        self._cancelled = threading.Event()

    def deliver_unread(self, transfer: FileTransfer) -> bool:
        """Deliver a file if it need not be read; return whether its outcome is known."""
        if self._fatal_error is None:
            try:
                self._prepare(os.path.dirname(transfer.destination))
                if outcome := self._link_unread(transfer):
                    self.outcomes[transfer] = outcome
            except Exception as error:  # noqa: BLE001 - recorded as the outcome of this file
                self._record_failure(transfer, error)
        return transfer in self.outcomes

    def deliver_unless_collision(
        self, transfer: FileTransfer, others: Sequence[FileTransfer]
    ) -> None:
        """Deliver a file unless it would replace one of `others`, which were delivered before.

        Its name differs from theirs in case or Unicode form only.
        """
        try:
            for other in others:
                if self._would_replace(transfer, other):
                    raise CollisionError(
                        describe_collision(
                            other.source,
                            transfer.source,
                            other.destination,
                            transfer.destination,
                        )
                    )
        except (CollisionError, OSError) as error:
            self.outcomes[transfer] = Outcome.failure(transfer, error)
            return
        if not self.deliver_unread(transfer):
            self._copy_one(transfer)

    def copy(self, transfers: Sequence[FileTransfer]) -> None:
        """Compare files with what is at their destinations; copy those that differ."""
        large = [transfer for transfer in transfers if transfer.size >= _LARGE_FILE_BYTES]
        for transfer in transfers:
            if transfer.size < _LARGE_FILE_BYTES:
                self._copy_one(transfer)
        parallel_map(self._copy_one, large, threads=_THREADS, on_interrupt=self._cancelled.set)

    def _prepare(self, directory: str) -> None:
        if directory not in self._prepared:
            prepare_directory(directory)
            self._prepared.add(directory)

    def _would_replace(self, transfer: FileTransfer, other: FileTransfer) -> bool:
        return (
            self.outcomes[other].status.arrived
            and same_place(transfer.destination, other.destination)
            and not same_bytes(transfer.source, other.source)
        )

    def _link_unread(self, transfer: FileTransfer) -> Outcome | None:
        """Make a hard link, or find the source itself at its destination; None if neither."""
        source, destination = transfer.source, transfer.destination
        existing = _lstat(destination)
        if existing and _is_source(existing, destination, source):
            return Outcome(transfer=transfer, status=Status.UNCHANGED)
        if existing and _may_equal(existing, transfer):
            return None
        return self._hard_link(transfer, existing)

    def _hard_link(self, transfer: FileTransfer, existing: os.stat_result | None) -> Outcome | None:
        """Make a hard link; return None where that is not asked for, or not possible."""
        if self._link and transfer.linkable and hard_link(transfer.source, transfer.destination):
            return Outcome(transfer=transfer, status=_new_or_replaced(existing), linked=True)
        return None

    def _copy_one(self, transfer: FileTransfer) -> None:
        if self._fatal_error:
            self.outcomes[transfer] = Outcome(
                transfer=transfer, status=Status.NOT_TRIED, cause=self._fatal_error
            )
            return
        try:
            self.outcomes[transfer] = self._copy_if_different(transfer)
        except Exception as error:  # noqa: BLE001 - recorded as the outcome of this file
            self._record_failure(transfer, error)

    def _copy_if_different(self, transfer: FileTransfer) -> Outcome:
        source, destination = transfer.source, transfer.destination
        existing = _lstat(destination)
        if existing and _may_equal(existing, transfer):
            if same_bytes(source, destination):
                return Outcome(transfer=transfer, status=Status.UNCHANGED)
            if linked := self._hard_link(transfer, existing):
                return linked
        copy(source, destination, self._cancelled)
        return Outcome(transfer=transfer, status=_new_or_replaced(existing))

    def _record_failure(self, transfer: FileTransfer, error: Exception) -> None:
        if is_time_limit(error):
            raise error
        self.outcomes[transfer] = Outcome.failure(transfer, error)
        if _is_fatal(error):
            self._fatal_error = error


def _similarly_named(transfers: Sequence[FileTransfer]) -> dict[FileTransfer, list[FileTransfer]]:
    """Return the files whose names some file systems take for one, each with those before it."""
    by_destination = {transfer.destination: transfer for transfer in transfers}
    groups = [
        [by_destination[path] for path in group] for group in group_similar_names(by_destination)
    ]
    return {item: group[:index] for group in groups for index, item in enumerate(group)}


def _new_or_replaced(existing: os.stat_result | None) -> Status:
    return Status.REPLACED if existing else Status.NEW


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _change(transfer: FileTransfer) -> Change:
    source, destination = transfer.source, transfer.destination
    try:
        existing = _lstat(destination)
        if existing is None:
            return Change.NEW
        is_same = _is_source(existing, destination, source) or (
            _may_equal(existing, transfer) and same_bytes(source, destination)
        )
    except OSError as error:
        if is_time_limit(error):
            raise
        return Change.UNKNOWN
    return Change.UNCHANGED if is_same else Change.REPLACED


def _is_source(existing: os.stat_result, destination: str, source: str) -> bool:
    """Return whether the file at the destination is the source itself."""
    if stat.S_ISLNK(existing.st_mode):
        # A link at the destination is replaced, unless this link is the source.
        return same_place(resolve_parent(source, os.path.realpath), destination)
    return os.path.samestat(existing, os.stat(source))


def _may_equal(existing: os.stat_result, transfer: FileTransfer) -> bool:
    return stat.S_ISREG(existing.st_mode) and existing.st_size == transfer.size
