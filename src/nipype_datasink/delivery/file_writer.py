"""Write the files of a delivery to a disk, and record the outcome of each."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from operator import itemgetter

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.delivery.atomic import copy, hard_link, prepare_directory
from nipype_datasink.delivery.existing import is_source, lstat, may_equal
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import FileProgress, Progress, amount_of
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.errors import CollisionError
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.byte_comparison import same_bytes
from nipype_datasink.planning.collisions import describe_collision
from nipype_datasink.planning.places import normalize_name, same_place
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.signals import is_time_limit

# Errors after which no other file can be written either.
_FATAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_THREADS = 4
# On a fast disk, smaller files are copied in the calling thread: their threads would mostly wait
# for Python's lock.
_LARGE_FILE_BYTES = 1 << 20


class FileWriter:
    """Writes the files of one delivery: first those that need no reading, then the others.

    Several threads change the state. Each change is one operation, so no lock is needed.

    Parameters
    ----------
    progress
        Counts and shows how many files are written.
    link
        Make hard links where the file system can.
    """

    def __init__(self, progress: Progress, *, link: bool) -> None:
        self.outcomes: dict[FileTransfer, Outcome] = {}
        self.folders: set[str] = set()
        """Folders of files that exist now."""
        self._progress = progress
        self._phase = progress.prepare(Phase.COPYING)
        self._link = link
        # What the first look has found at destinations, to be compared or replaced.
        self._existing: dict[str, os.stat_result] = {}
        # Pairs of folders between which no hard links are possible.
        self._different_disks: set[tuple[str, str]] = set()
        self._folder_errors: dict[str, Exception] = {}
        self._may_exist: set[str] = set()  # destinations; all others are known to be new
        self._fatal_error: Exception | None = None
        self._cancelled = threading.Event()

    def prepare_folders(self, transfers: Sequence[FileTransfer]) -> None:
        """Make the folders of the files, and find out which files may exist.

        One listing of a folder takes the place of a look-up for each file. What another process
        writes after that is replaced.
        """
        by_folder: dict[str, list[str]] = {}
        for transfer in transfers:
            by_folder.setdefault(transfer.folder, []).append(transfer.destination)
        adaptive_map(self._prepare_folder, list(by_folder.items()), on_wait=self._progress.show)

    def deliver_unread(self, transfers: Sequence[FileTransfer]) -> list[FileTransfer]:
        """Deliver the files that need not be read; return the others."""
        kind = Phase.LINKING if self._link else Phase.LISTING
        phase = self._progress.begin(kind, Amount(files=len(transfers)))

        def deliver(transfer: FileTransfer) -> bool:
            is_known = self._deliver_one_unread(transfer)
            phase.add(files=1)
            return is_known

        known = adaptive_map(deliver, transfers, on_wait=self._progress.show)
        return [item for item, is_known in zip(transfers, known, strict=True) if not is_known]

    def begin_copying(self, transfers: Sequence[FileTransfer]) -> None:
        """Begin to compare or copy files."""
        compared = sum(self._may_be_equal(transfer) for transfer in transfers)
        kind = Phase.COMPARING_AND_COPYING if compared else Phase.COPYING
        if compared == len(transfers):
            kind = Phase.COMPARING
        self._phase = self._progress.begin(kind, amount_of(transfers))

    def deliver_unless_collision(
        self, transfer: FileTransfer, others: Sequence[FileTransfer]
    ) -> None:
        """Deliver a file unless it would replace one of `others`, which were delivered before.

        Its name differs from theirs in case or Unicode form only.
        """
        self._may_exist.add(transfer.destination)  # one of the others may be found under its name
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
        if not self._deliver_one_unread(transfer):
            self._copy_one(transfer)

    def copy(self, transfers: Sequence[FileTransfer]) -> None:
        """Compare files with what is at their destinations; copy those that differ."""
        small = [transfer for transfer in transfers if transfer.size < _LARGE_FILE_BYTES]
        large = [transfer for transfer in transfers if transfer.size >= _LARGE_FILE_BYTES]
        cancel, show = self._cancelled.set, self._progress.show
        adaptive_map(self._copy_one, small, on_interrupt=cancel, on_wait=show)
        parallel_map(self._copy_one, large, threads=_THREADS, on_interrupt=cancel, on_wait=show)

    def _prepare_folder(self, item: tuple[str, list[str]]) -> None:
        folder, destinations = item
        if self._fatal_error:
            return
        try:
            names = prepare_directory(folder)
        except Exception as error:  # noqa: BLE001 - recorded as the outcome of each file
            self._note_error(error)
            self._folder_errors[folder] = error
            return
        self.folders.add(folder)
        self._may_exist.update(
            destinations if names is None else _possibly_existing(destinations, names)
        )

    def _deliver_one_unread(self, transfer: FileTransfer) -> bool:
        """Deliver a file if it need not be read; return whether its outcome is known."""
        if error := self._folder_errors.get(transfer.folder):
            self._record_failure(transfer, error)
            return True
        if self._fatal_error is not None:
            return False
        try:
            outcome = self._link_unread(transfer)
        except Exception as error:  # noqa: BLE001 - recorded as the outcome of this file
            self._record_failure(transfer, error)
            return True
        if outcome:
            self.outcomes[transfer] = outcome
            self._progress.add_arrived(transfer.size)
        return outcome is not None

    def _would_replace(self, transfer: FileTransfer, other: FileTransfer) -> bool:
        return (
            self.outcomes[other].status.arrived
            and same_place(transfer.destination, other.destination)
            and not same_bytes(transfer.source, other.source)
        )

    def _may_be_equal(self, transfer: FileTransfer) -> bool:
        existing = self._existing.get(transfer.destination)
        return existing is not None and may_equal(existing, transfer)

    def _link_unread(self, transfer: FileTransfer) -> Outcome | None:
        """Make a hard link, or find the source itself at its destination; None if neither."""
        source, destination = transfer.source, transfer.destination
        existing = lstat(destination) if destination in self._may_exist else None
        if existing is None:
            return self._hard_link(transfer)
        if is_source(existing, destination, source):
            return Outcome(transfer=transfer, status=Status.UNCHANGED)
        self._existing[destination] = existing
        return None if may_equal(existing, transfer) else self._hard_link(transfer)

    def _hard_link(self, transfer: FileTransfer) -> Outcome | None:
        """Make a hard link; return None where that is not asked for, or not possible."""
        if not (self._link and transfer.linkable):
            return None
        source, destination = transfer.source, transfer.destination
        folders = os.path.dirname(source), transfer.folder
        if folders in self._different_disks:
            return None
        try:
            linked = hard_link(source, destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            if not os.path.islink(source):  # another link may lead to the same disk
                self._different_disks.add(folders)
            return None
        if not linked:
            return None
        return Outcome(transfer=transfer, status=self._new_or_replaced(transfer), linked=True)

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
        if self._may_be_equal(transfer):
            if _same_bytes_if_there(source, destination, file):
                return Outcome(transfer=transfer, status=Status.UNCHANGED)
            file.restart()
            self._phase.phase = Phase.COMPARING_AND_COPYING
            if linked := self._hard_link(transfer):
                return linked
        copy(source, destination, self._cancelled, file.add_bytes)
        return Outcome(transfer=transfer, status=self._new_or_replaced(transfer))

    def _new_or_replaced(self, transfer: FileTransfer) -> Status:
        return Status.REPLACED if transfer.destination in self._existing else Status.NEW

    def _record_failure(self, transfer: FileTransfer, error: Exception) -> None:
        self._note_error(error)
        self.outcomes[transfer] = Outcome.failure(transfer, error)

    def _note_error(self, error: Exception) -> None:
        if is_time_limit(error):
            raise error
        if is_fatal(error):
            self._fatal_error = error


def _same_bytes_if_there(source: str, destination: str, file: FileProgress) -> bool:
    try:
        return same_bytes(source, destination, file.add_bytes)
    except FileNotFoundError:  # removed by another process; `copy` reports a source that is gone
        return False


def spread_over_folders(transfers: Sequence[FileTransfer]) -> list[FileTransfer]:
    """Order files so that neighbours are in different folders.

    Threads then write side by side: in one folder, only one file at a time is created or renamed.
    """
    counts: Counter[str] = Counter()
    turns: list[tuple[int, FileTransfer]] = []
    for transfer in transfers:
        turns.append((counts[transfer.folder], transfer))
        counts[transfer.folder] += 1
    return [transfer for _, transfer in sorted(turns, key=itemgetter(0))]


def is_fatal(error: Exception) -> bool:
    """Return whether no other file can be written after an error."""
    return isinstance(error, OSError) and error.errno in _FATAL_ERRORS


def _possibly_existing(destinations: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the destinations that a folder with these names may find, in any spelling."""
    if not names:
        return []
    exact = set(names)
    found = [path for path in destinations if os.path.basename(path) in exact]
    if len(found) == len(destinations):
        return found
    spellings = {normalize_name(name) for name in names}
    return [path for path in destinations if normalize_name(os.path.basename(path)) in spellings]
