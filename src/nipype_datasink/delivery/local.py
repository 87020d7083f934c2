"""Delivery to a directory on disk: each file whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence

from nipype_datasink.delivery.atomic import Directories, copy, hard_link, make_directory
from nipype_datasink.delivery.execution import Outcome, Status
from nipype_datasink.delivery.removal import remove_others
from nipype_datasink.errors import CollisionError, DeliveryError, LateCollisionError
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.collisions import describe_collision
from nipype_datasink.planning.contents import same_bytes
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.places import group_similar_names, same_place
from nipype_datasink.planning.plan import FileTransfer, Plan, resolve_parent
from nipype_datasink.signals import is_time_limit

__all__ = ["LocalTarget"]

# What makes every further attempt pointless.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

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
        doubtful = _doubtful(transfers)
        work = _Work(link=self._link)
        certain = [transfer for transfer in transfers if transfer not in doubtful]
        work.copy([transfer for transfer in certain if not work.link(transfer)])
        for transfer, others in doubtful.items():
            work.deliver_unless_collision(transfer, others)
        outcomes = [work.outcomes[transfer] for transfer in transfers]
        if all(outcome.status.arrived for outcome in outcomes):
            outcomes += self._finish(plan)
        return outcomes

    def error(self, message: str, causes: Sequence[Exception], /) -> DeliveryError:
        """Return the error to be raised where some files did not arrive."""
        collided = any(isinstance(cause, CollisionError) for cause in causes)
        return LateCollisionError(message) if collided else DeliveryError(message)

    def _finish(self, plan: Plan) -> list[Outcome]:
        """Make the directories that hold no file, then remove what must not remain."""
        folders = {folder: item.source for item in plan.deliveries for folder in item.directories}
        for item in plan.deliveries:
            if "/../" in item.destination:  # as spelled it leads through a folder of its own
                folders.setdefault(os.path.dirname(item.destination), item.source)
        failures: dict[str, OSError] = {}
        for folder in [self.location.path, *folders]:
            try:
                make_directory(folder)
            except OSError as error:
                failures[folder] = error
        if not failures:
            failures = remove_others(plan, os.path.realpath(self.location.path))
        return [
            Outcome.failure(
                FileTransfer(source=folders.get(place, place), destination=place, size=0), error
            )
            for place, error in failures.items()
        ]


class _Work:
    """One delivery, in two passes: what needs no reading; then all else, large files in threads."""

    def __init__(self, *, link: bool) -> None:
        self.outcomes: dict[FileTransfer, Outcome] = {}
        self._link = link
        self._prepare = Directories()
        self._fatal_error: OSError | None = None
        self._stopped = threading.Event()

    def link(self, transfer: FileTransfer) -> bool:
        """Deliver a file if that takes no reading; return whether an outcome is known."""
        if self._fatal_error is None:
            try:
                self._prepare(os.path.dirname(transfer.destination))
                status = self._status_unread(transfer)
                if status:
                    self._note(transfer, status)
            except Exception as error:  # noqa: BLE001 - at most the outcome of this file
                self._fail(transfer, error)
        return transfer in self.outcomes

    def deliver_unless_collision(
        self, transfer: FileTransfer, others: Sequence[FileTransfer]
    ) -> None:
        """Deliver a file unless it would replace one of `others`, which have been tried.

        Its name differs from theirs in case or Unicode form only.
        """
        try:
            for other in others:
                if self._replaces(transfer, other):
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
        if not self.link(transfer):
            self._copy_one(transfer)

    def _replaces(self, transfer: FileTransfer, other: FileTransfer) -> bool:
        return (
            self.outcomes[other].status.arrived
            and same_place(transfer.destination, other.destination)
            and not same_bytes(transfer.source, other.source)
        )

    def copy(self, transfers: Sequence[FileTransfer]) -> None:
        """Compare files with what is there, and copy those that differ."""
        large = [transfer for transfer in transfers if transfer.size >= _WORTH_A_THREAD]
        for transfer in transfers:
            if transfer.size < _WORTH_A_THREAD:
                self._copy_one(transfer)
        parallel_map(self._copy_one, large, threads=_THREADS, on_interrupt=self._stopped.set)

    def _status_unread(self, transfer: FileTransfer) -> Status | None:
        source, place = transfer.source, transfer.destination
        there = _lstat(place)
        if there and _is_source(there, place, source):
            return Status.UNCHANGED
        if there and _may_equal(there, transfer):
            return None
        linked = self._link and transfer.linkable and hard_link(source, place)
        return Status.SENT if linked else None

    def _copy_one(self, transfer: FileTransfer) -> None:
        if self._fatal_error:
            self._note(transfer, Status.NOT_TRIED, self._fatal_error)
            return
        try:
            self._note(transfer, self._copy(transfer))
        except Exception as error:  # noqa: BLE001 - at most the outcome of this file
            self._fail(transfer, error)

    def _copy(self, transfer: FileTransfer) -> Status:
        source, place = transfer.source, transfer.destination
        there = _lstat(place)
        if there and _may_equal(there, transfer):
            if same_bytes(source, place):
                return Status.UNCHANGED
            if self._link and transfer.linkable and hard_link(source, place):
                return Status.SENT
        copy(source, place, self._stopped)
        return Status.SENT

    def _note(self, transfer: FileTransfer, status: Status, cause: OSError | None = None) -> None:
        self.outcomes[transfer] = Outcome(transfer=transfer, status=status, cause=cause)

    def _fail(self, transfer: FileTransfer, error: Exception) -> None:
        if is_time_limit(error):
            raise error
        self.outcomes[transfer] = Outcome.failure(transfer, error)
        if isinstance(error, OSError) and error.errno in _HOPELESS:
            self._fatal_error = error


def _doubtful(transfers: Sequence[FileTransfer]) -> dict[FileTransfer, list[FileTransfer]]:
    """Return the files whose names a file system may take for those of files before them."""
    by_place = {transfer.destination: transfer for transfer in transfers}
    groups = [[by_place[place] for place in group] for group in group_similar_names(by_place)]
    return {group[index]: group[:index] for group in groups for index in range(1, len(group))}


def _lstat(place: str) -> os.stat_result | None:
    try:
        return os.lstat(place)
    except FileNotFoundError:
        return None


def _is_source(there: os.stat_result, place: str, source: str) -> bool:
    """Return whether what is `there` is the source itself."""
    if stat.S_ISLNK(there.st_mode):
        # A link to somewhere else is replaced by the file, unless the link is what is sunk.
        return same_place(resolve_parent(source, os.path.realpath), place)
    return os.path.samestat(there, os.stat(source))


def _may_equal(there: os.stat_result, transfer: FileTransfer) -> bool:
    return stat.S_ISREG(there.st_mode) and there.st_size == transfer.size
