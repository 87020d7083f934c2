"""Write the files of a delivery to a disk, and record the outcome of each."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence

from nipype_datasink.delivery.atomic import copy, hard_link, prepare_directory
from nipype_datasink.delivery.existing import is_source, lstat, may_equal, new_or_replaced
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import FileProgress, Progress, amount_of
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.errors import CollisionError
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.collisions import describe_collision
from nipype_datasink.planning.contents import same_bytes
from nipype_datasink.planning.places import same_place
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.signals import is_time_limit

# Errors after which no other file can be written either.
_FATAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_THREADS = 4
# Smaller files are copied in the calling thread: their threads would mostly wait for Python's lock.
_LARGE_FILE_BYTES = 1 << 20


class FileWriter:
    """Writes the files of one delivery: first those that need no reading, then the others.

    Several threads set `outcomes` and `_fatal_error`; each is one operation, so no lock is needed.

    Parameters
    ----------
    progress
        Counts and shows how many files are written.
    link
        Make hard links where the file system can.
    """

    def __init__(self, progress: Progress, *, link: bool) -> None:
        self.outcomes: dict[FileTransfer, Outcome] = {}
        self._progress = progress
        self._phase = progress.prepare(Phase.COPYING)
        self._link = link
        self._same_size = 0  # number of files to compare
        self._prepared: set[str] = set()  # directories
        self._fatal_error: Exception | None = None
        self._cancelled = threading.Event()

    def deliver_unread(self, transfers: Sequence[FileTransfer]) -> list[FileTransfer]:
        """Deliver the files that need not be read; return the others."""
        kind = Phase.LINKING if self._link else Phase.LISTING
        phase = self._progress.begin(kind, Amount(files=len(transfers)))
        remaining = []
        for transfer in transfers:
            if not self._deliver_unread(transfer):
                remaining.append(transfer)
            phase.add(files=1)
        return remaining

    def begin_copying(self, transfers: Sequence[FileTransfer]) -> None:
        """Begin to compare or copy files."""
        kind = Phase.COMPARING_AND_COPYING if self._same_size else Phase.COPYING
        if self._same_size == len(transfers):
            kind = Phase.COMPARING
        self._phase = self._progress.begin(kind, amount_of(transfers))

    def _deliver_unread(self, transfer: FileTransfer) -> bool:
        """Deliver a file if it need not be read; return whether its outcome is known."""
        if self._fatal_error is None:
            try:
                self._prepare(os.path.dirname(transfer.destination))
                if outcome := self._link_unread(transfer):
                    self.outcomes[transfer] = outcome
                    self._progress.add_arrived(transfer.size)
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
        if not self._deliver_unread(transfer):
            self._copy_one(transfer)

    def copy(self, transfers: Sequence[FileTransfer]) -> None:
        """Compare files with what is at their destinations; copy those that differ."""
        large = [transfer for transfer in transfers if transfer.size >= _LARGE_FILE_BYTES]
        for transfer in transfers:
            if transfer.size < _LARGE_FILE_BYTES:
                self._copy_one(transfer)
        parallel_map(
            self._copy_one,
            large,
            threads=_THREADS,
            on_interrupt=self._cancelled.set,
            on_wait=self._progress.show,
        )

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
        existing = lstat(destination)
        if existing and is_source(existing, destination, source):
            return Outcome(transfer=transfer, status=Status.UNCHANGED)
        if existing and may_equal(existing, transfer):
            self._same_size += 1
            return None
        return self._hard_link(transfer, existing)

    def _hard_link(self, transfer: FileTransfer, existing: os.stat_result | None) -> Outcome | None:
        """Make a hard link; return None where that is not asked for, or not possible."""
        if self._link and transfer.linkable and hard_link(transfer.source, transfer.destination):
            return Outcome(transfer=transfer, status=new_or_replaced(existing), linked=True)
        return None

    def _copy_one(self, transfer: FileTransfer) -> None:
        if self._fatal_error:
            self.outcomes[transfer] = Outcome(
                transfer=transfer, status=Status.NOT_TRIED, cause=self._fatal_error
            )
            return
        file = self._phase.file(transfer.size)
        try:
            outcome = self._copy_if_different(transfer, file)
        except Exception as error:  # noqa: BLE001 - recorded as the outcome of this file
            file.restart()
            self._record_failure(transfer, error)
        else:
            self.outcomes[transfer] = outcome
            file.finish()

    def _copy_if_different(self, transfer: FileTransfer, file: FileProgress) -> Outcome:
        source, destination = transfer.source, transfer.destination
        existing = lstat(destination)
        if existing and may_equal(existing, transfer):
            if same_bytes(source, destination, file.add_bytes):
                return Outcome(transfer=transfer, status=Status.UNCHANGED)
            file.restart()
            self._phase.phase = Phase.COMPARING_AND_COPYING
            if linked := self._hard_link(transfer, existing):
                return linked
        copy(source, destination, self._cancelled, file.add_bytes)
        return Outcome(transfer=transfer, status=new_or_replaced(existing))

    def _record_failure(self, transfer: FileTransfer, error: Exception) -> None:
        if is_time_limit(error):
            raise error
        self.outcomes[transfer] = Outcome.failure(transfer, error)
        if is_fatal(error):
            self._fatal_error = error


def is_fatal(error: Exception) -> bool:
    """Return whether no other file can be written after an error."""
    return isinstance(error, OSError) and error.errno in _FATAL_ERRORS
