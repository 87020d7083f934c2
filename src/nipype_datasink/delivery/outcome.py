"""Results of a delivery, one for each file."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from enum import Enum

from nipype_datasink.errors import picklable
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.signals import error_from_signal_handler


class Status(Enum):
    """State of one file after a delivery."""

    NEW = "new"
    """Written; nothing was at the destination."""

    REPLACED = "replaced"
    """Written; something else was at the destination."""

    SENT = "sent"
    """Written; what was at the destination is not known, because a bucket may not be listed."""

    UNCHANGED = "unchanged"
    """The destination already held the same bytes."""

    FAILED = "failed"
    """Not written, or not confirmed."""

    NOT_TRIED = "not tried"
    """Not written, because an earlier error concerns the whole place."""

    @property
    def written(self) -> bool:
        """Whether the file was copied, linked or sent."""
        return self in (Status.NEW, Status.REPLACED, Status.SENT)

    @property
    def arrived(self) -> bool:
        """Whether the destination now holds the source's bytes."""
        return self.written or self is Status.UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result for one file of a plan."""

    transfer: FileTransfer
    """The file and its destination."""

    status: Status
    """Whether it arrived."""

    cause: Exception | None = None
    """Why it did not arrive."""

    verified: bool = True
    """Whether the bytes at the destination are known to be correct. False for a file that did not
    arrive, and where a store confirms neither a checksum nor an ETag computed from the content."""

    etag: str = ""
    """ETag of the object, without quotes; empty on disk and where the store states none."""

    sent_size: int | None = None
    """Number of bytes that were sent to S3; it differs from the plan's if the source has changed
    since. None where nothing was sent, or where that is not known."""

    linked: bool = False
    """Whether the destination is a hard link to the source: no bytes were written."""

    def __post_init__(self) -> None:
        """Mark a file that did not arrive as not verified."""
        if not self.status.arrived:
            object.__setattr__(self, "verified", False)

    @classmethod
    def failure(
        cls, transfer: FileTransfer, error: Exception, status: Status = Status.FAILED
    ) -> Outcome:
        """Return the outcome of a file that did not arrive.

        The frames of the error are cleared: their variables may hold the whole body of a request,
        which an outcome would keep in memory. An exception that a signal handler of the user has
        raised is not the outcome of a file, and is raised again.
        """
        if raised := error_from_signal_handler(error):
            raise raised
        link: BaseException | None = error
        seen: list[BaseException] = []
        while link and link not in seen:
            traceback.clear_frames(link.__traceback__)
            seen.append(link)
            link = link.__cause__ or link.__context__
        return cls(transfer=transfer, status=status, cause=picklable(error))


def not_tried(plan: Plan, cause: Exception) -> list[Outcome]:
    """Return outcomes for a plan of which nothing was tried."""
    return not_arrived(plan, cause, Status.NOT_TRIED)


def not_arrived(plan: Plan, cause: Exception, status: Status) -> list[Outcome]:
    """Return outcomes for a plan of which nothing has arrived."""
    # An empty directory has no transfers. If its folder was to be cleared, that has failed, too.
    empty = [
        FileTransfer(source=item.source, destination=item.cleared_folder, size=0)
        for item in plan.deliveries
        if item.cleared_folder and not item.transfers
    ]
    transfers = [*plan.transfers, *empty]
    if not transfers:
        return []
    first = Outcome.failure(transfers[0], cause, status)  # it pickles the cause, so only once
    return [replace(first, transfer=transfer) for transfer in transfers]
