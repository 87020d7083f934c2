"""Carry out a plan: each target delivers its part, then one error names all failures."""

from __future__ import annotations

import logging
import pickle
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from nipype_datasink.display import counted, escaped, escaped_lines
from nipype_datasink.errors import DeliveryError, MissingSourceError
from nipype_datasink.planning.location import Location
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.planning.sources import Problem
from nipype_datasink.signals import error_from_signal_handler, graceful_shutdown, is_time_limit

_logger = logging.getLogger("nipype.interface")

# Files that an error's message names of those that arrived; it names all others.
_MAX_ARRIVED_SHOWN = 20


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


_ORDER_IN_ERRORS = (
    Status.FAILED,
    Status.NOT_TRIED,
    Status.NEW,
    Status.REPLACED,
    Status.SENT,
    Status.UNCHANGED,
)


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
        return cls(transfer=transfer, status=status, cause=_picklable(error))


def _picklable(error: Exception) -> Exception:
    """Return an error, or its text in a `DeliveryError` where it cannot be pickled."""
    text = "(the error has no text)"
    try:
        text = str(error)
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an exception class of other code
        return DeliveryError(f"{type(error).__name__}: {text}")
    return error


def not_tried(plan: Plan, cause: Exception) -> list[Outcome]:
    """Return outcomes for a plan of which nothing was tried."""
    return _not_arrived(plan, cause, Status.NOT_TRIED)


def _not_arrived(plan: Plan, cause: Exception, status: Status) -> list[Outcome]:
    # An empty directory has no transfers. If its folder was to be cleared, that has failed, too.
    empty = [
        FileTransfer(source=item.source, destination=item.cleared_folder, size=0)
        for item in plan.deliveries
        if item.cleared_folder and not item.transfers
    ]
    return [Outcome.failure(transfer, cause, status) for transfer in [*plan.transfers, *empty]]


class Target(Protocol):
    """A place that takes files."""

    @property
    def location(self) -> Location:
        """Base directory and container."""

    def deliver(self, plan: Plan) -> list[Outcome]:
        """Deliver every file of `plan`; return the outcome of each, and raise no errors."""

    def error(self, message: str, causes: Sequence[Exception], /) -> DeliveryError:
        """Return the error to raise if some files did not arrive."""


def without_optional(plan: Plan, *, skip_missing: bool) -> Plan:
    """Log what is ignored or skipped; return the plan with the missing sources that are an error.

    Parameters
    ----------
    plan
        A valid plan.
    skip_missing
        Whether all sources are optional (``sink_missing='skip'``).
    """
    if plan.ignored:
        _logger.warning("ignored: %s", "; ".join(map(str, plan.ignored)))
    if plan.missing and skip_missing:
        _logger.warning("%s", describe_missing(plan.missing))
        return replace(plan, missing=())
    return plan


def deliver(plan: Plan, targets: Sequence[Target]) -> list[Outcome]:
    """Let each target carry out its part of `plan`, one after the other.

    Parameters
    ----------
    plan
        A valid plan.
    targets
        In the order in which they deliver. A failure in one does not stop the next.

    Raises
    ------
    DeliveryError
        If any file did not arrive, after all targets have delivered what they can. Its message
        names each file and its status; `error.outcomes` holds the same as values.
    MissingSourceError
        If the plan has missing sources, after all other files have arrived. Nothing is removed
        then. Its `outcomes` hold the files that arrived.
    """
    if plan.missing:
        plan = plan.without_removals()
    outcomes: list[Outcome] = []
    errors: list[DeliveryError] = []
    with graceful_shutdown():
        for target in targets:
            done = _deliver_part(plan.for_location(target.location), target)
            outcomes += done
            if not all(outcome.status.arrived for outcome in done):
                errors.append(_make_error(target, done))
    if errors:
        raise _combine(errors, plan.missing, outcomes)
    if plan.missing:
        raise _missing_error(plan.missing, outcomes)
    return outcomes


def _deliver_part(part: Plan, target: Target) -> list[Outcome]:
    begin = time.monotonic()
    try:
        done = target.deliver(part)
    except Exception as error:  # a bug in the target or in a library
        if is_time_limit(error):
            raise
        # The state of these files is not known. The outcomes of other targets must not be lost.
        done = _not_arrived(part, error, Status.FAILED)
        if not done:
            raise DeliveryError(
                f"{target.location.label}: {type(error).__name__}: {error}"
            ) from error
    _log(target.location, done, time.monotonic() - begin)
    return done


def _make_error(target: Target, outcomes: Sequence[Outcome]) -> DeliveryError:
    causes = [outcome.cause for outcome in outcomes if outcome.cause]
    error = target.error(_describe_outcomes(target.location, outcomes), causes)
    if causes and error.__cause__ is None:
        error.__cause__ = causes[0]
    return error


def _log(location: Location, outcomes: Sequence[Outcome], seconds: float) -> None:
    counts = dict.fromkeys(Status, 0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    size = sum(outcome.transfer.size for outcome in outcomes if outcome.status.written)
    summary = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)
    place = escaped(location.label)
    summary = summary or "no files"
    _logger.info("%s: %s (%s, %.1f s)", place, summary, counted(size, "byte"), seconds)
    unverified = [item for item in outcomes if item.status.written and not item.verified]
    if unverified:
        more = f" (and {len(unverified) - 1} more)" if len(unverified) > 1 else ""
        first = escaped(unverified[0].transfer.destination)
        _logger.warning("%s: sent, not verified%s", first, more)


def _describe_outcomes(location: Location, outcomes: Sequence[Outcome]) -> str:
    lines = [f"some files were not delivered to {escaped(location.label)}:"]
    for status in _ORDER_IN_ERRORS:
        matching = [outcome for outcome in outcomes if outcome.status is status]
        shown = matching[:_MAX_ARRIVED_SHOWN] if status.arrived else matching
        for outcome in shown:
            why = f": {escaped_lines(str(outcome.cause))}" if status is Status.FAILED else ""
            lines.append(f"  {status.value}: {escaped(outcome.transfer.destination)}{why}")
        if len(matching) > len(shown):
            lines.append(f"  {status.value}: {len(matching) - len(shown)} more")
    return "\n".join(lines)


def _combine(
    errors: Sequence[DeliveryError], missing: Sequence[Problem], outcomes: Sequence[Outcome]
) -> DeliveryError:
    """Return the last error, with the messages of the others: that of S3 if there is one."""
    *others, error = errors
    for other in others:
        error.args = (f"{error}\n{other}",)
    if missing:
        error.args = (f"{error}\n{describe_missing(missing)}",)
    error.outcomes = tuple(outcomes)
    return error


def _missing_error(missing: Sequence[Problem], outcomes: Sequence[Outcome]) -> MissingSourceError:
    error = MissingSourceError(
        f"{describe_missing(missing)}\nEverything else was delivered. Run again when nothing is "
        "missing. If these outputs are optional, set sink_missing to 'skip' (datasink_missing in "
        "nipype's configuration, or nipype-datasink run --missing skip)"
    )
    error.outcomes = tuple(outcomes)
    return error


def describe_missing(missing: Sequence[Problem]) -> str:
    """Return a message that names every missing source."""
    count = "1 source is" if len(missing) == 1 else f"{len(missing)} sources are"
    return "\n".join([f"{count} missing:", *(f"  {problem}" for problem in missing)])
