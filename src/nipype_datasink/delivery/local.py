"""Deliver the files of a plan to a directory on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.delivery.atomic import make_directory
from nipype_datasink.delivery.changes import Change
from nipype_datasink.delivery.check_report import CheckOptions, PlaceReport
from nipype_datasink.delivery.existing import is_source, lstat, may_equal
from nipype_datasink.delivery.failure_report import Explanation
from nipype_datasink.delivery.file_writer import FileWriter, is_fatal, spread_over_folders
from nipype_datasink.delivery.local_check import check_directory
from nipype_datasink.delivery.os_errors import explain_os_error
from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.delivery.progress_text import Phase
from nipype_datasink.delivery.removal import remove_others
from nipype_datasink.errors import CollisionError, DeliveryError, LateCollisionError
from nipype_datasink.planning.byte_comparison import same_bytes
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.places import group_similar_names
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.signals import is_time_limit


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

    def deliver(self, plan: Plan, progress: Progress) -> list[Outcome]:
        """Deliver every file of `plan`; return the outcome of each."""
        transfers = plan.transfers
        similar = _similarly_named(transfers)
        writer = FileWriter(progress, link=self._link)
        writer.prepare_folders(transfers)
        others = spread_over_folders(
            [transfer for transfer in transfers if transfer not in similar]
        )
        remaining = writer.deliver_unread(others)
        writer.begin_copying([*remaining, *similar])
        writer.copy(remaining)
        # After the others: whether the file system takes two names for one is only certain when
        # one of the files exists.
        for transfer, earlier in similar.items():
            writer.deliver_unless_collision(transfer, earlier)
        outcomes = [writer.outcomes[transfer] for transfer in transfers]
        if all(outcome.status.arrived for outcome in outcomes):
            outcomes += self._finish(plan, writer.folders, progress)
        return outcomes

    def check(self, options: CheckOptions) -> PlaceReport:
        """Find out whether the directory would accept files; nothing is created."""
        return check_directory(
            self.location.path, link=self._link, working_directory=options.working_directory
        )

    def compare(self, transfers: Sequence[FileTransfer]) -> dict[FileTransfer, Change]:
        """Return what a delivery would change; files are read only to compare them."""
        changes = adaptive_map(_change, transfers, abandon=True)
        return dict(zip(transfers, changes, strict=True))

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
        cause = min(collisions or causes, key=lambda each: not is_fatal(each))
        return Explanation(text=explain_os_error(cause), cause=cause)

    def error(self, message: str, cause: Exception | None, /) -> DeliveryError:
        """Return the error to raise if files were not delivered."""
        collided = isinstance(cause, CollisionError)
        return LateCollisionError(message) if collided else DeliveryError(message)

    def _finish(self, plan: Plan, existing: Collection[str], progress: Progress) -> list[Outcome]:
        """Make the directories without files, then clear folders; return the failures."""
        folders = {folder: item.source for item in plan.deliveries for folder in item.directories}
        for item in plan.deliveries:
            # `out_file` reports this path, so every directory that it goes through must exist.
            if "/../" in item.destination:
                folders.setdefault(os.path.dirname(item.destination), item.source)
        needed = [each for each in [self.location.path, *folders] if each not in existing]
        errors = zip(needed, adaptive_map(_make_directory, needed), strict=True)
        failures = {folder: error for folder, error in errors if error}
        if plan.clears_folders and not failures:
            phase = progress.begin(Phase.REMOVING)
            failures = remove_others(
                plan,
                os.path.realpath(self.location.path),
                before=self._before_removal,
                on_removed=lambda: phase.add(files=1),
            )
        return [
            Outcome.failure(
                FileTransfer(source=folders.get(path, path), destination=path, size=0), error
            )
            for path, error in failures.items()
        ]


def _make_directory(path: str) -> OSError | None:
    """Make a directory unless it exists; return the error if that fails."""
    try:
        make_directory(path)
    except OSError as error:
        if is_time_limit(error):
            raise
        return error
    return None


def _similarly_named(transfers: Sequence[FileTransfer]) -> dict[FileTransfer, list[FileTransfer]]:
    """Return the files whose names some file systems take for one, each with those before it."""
    by_destination = {transfer.destination: transfer for transfer in transfers}
    groups = [
        [by_destination[path] for path in group] for group in group_similar_names(by_destination)
    ]
    return {item: group[:index] for group in groups for index, item in enumerate(group)}


def _change(transfer: FileTransfer) -> Change:
    source, destination = transfer.source, transfer.destination
    try:
        existing = lstat(destination)
        if existing is None:
            return Change.NEW
        is_same = is_source(existing, destination, source) or (
            may_equal(existing, transfer) and same_bytes(source, destination)
        )
    except OSError as error:
        if is_time_limit(error):
            raise
        return Change.UNKNOWN
    return Change.UNCHANGED if is_same else Change.REPLACED
