"""Carrying out a plan: every target does its part, then one word about the whole."""

from __future__ import annotations

import logging
import pickle
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from nipype_datasink.display import escaped, escaped_lines
from nipype_datasink.errors import DeliveryError, MissingSourceError, S3Error
from nipype_datasink.planning.location import Location
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.planning.sources import Problem
from nipype_datasink.signals import error_from_signal_handler, graceful_shutdown, is_time_limit

__all__ = ["Outcome", "Status", "Target", "Unreachable", "deliver", "describe_missing"]

_logger = logging.getLogger("nipype.interface")


_ARRIVED_SHOWN = 20  # files in an error's message; those that did not arrive are all named


class Status(Enum):
    """What became of one file."""

    SENT = "sent"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    NOT_TRIED = "not tried"

    @property
    def arrived(self) -> bool:
        """Whether the destination now holds the source's bytes."""
        return self in (Status.SENT, Status.UNCHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file of a plan."""

    transfer: FileTransfer
    """The file and the place it should go to."""

    status: Status
    """Whether it is there."""

    cause: Exception | None = None
    """Why it is not."""

    verified: bool = True
    """Whether the bytes at the destination are known to be right; False where a store confirms
    neither a checksum nor an ETag that says something about the content, and of files that did
    not arrive."""

    def __post_init__(self) -> None:
        """Call nothing verified that did not arrive."""
        if not self.status.arrived:
            object.__setattr__(self, "verified", False)

    @classmethod
    def failure(
        cls, transfer: FileTransfer, error: Exception, status: Status = Status.FAILED
    ) -> Outcome:
        """Return the outcome of a file that did not arrive.

        What the error's frames hold is let go: it may be the whole body of a request, and an
        outcome lives on. What a signal handler of the user's has raised concerns no file, and is
        raised.
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
    text = "(its text cannot be made)"
    try:
        text = str(error)
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an exception of somebody's own
        return DeliveryError(f"{type(error).__name__}: {text}")
    return error


def not_tried(plan: Plan, cause: Exception) -> list[Outcome]:
    """Return that nothing of `plan` was tried, not even what a directory without files asks."""
    return _not_arrived(plan, cause, Status.NOT_TRIED)


def _not_arrived(plan: Plan, cause: Exception, status: Status) -> list[Outcome]:
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
        """Bring every file of `plan` there; return what became of each, and raise nothing."""

    def error(self, message: str, causes: Sequence[Exception], /) -> DeliveryError:
        """Return the error to be raised where some files did not arrive."""


class Unreachable:
    """A place that nothing can be brought to.

    Parameters
    ----------
    location
        Base directory and container.
    cause
        Why not.
    """

    def __init__(self, location: Location, cause: Exception) -> None:
        self.location = location
        self._cause = cause

    def deliver(self, plan: Plan) -> list[Outcome]:
        """Try nothing."""
        return not_tried(plan, self._cause)

    def error(self, message: str, _causes: Sequence[Exception], /) -> DeliveryError:
        """Return the error to be raised."""
        return S3Error(
            f"boto3 cannot be imported ({self._cause}); run 'pip install boto3'; {message}"
        )


def deliver(plan: Plan, targets: Sequence[Target]) -> list[Outcome]:
    """Let each target carry out its part of `plan`, one after the other.

    Parameters
    ----------
    plan
        A sound plan.
    targets
        In the order in which they work: what fails in one does not keep the next from trying.

    Raises
    ------
    DeliveryError
        If any file did not arrive, after all targets have done what they could. Its message
        names each file and what became of it; `error.outcomes` holds the same as values.
    MissingSourceError
        If the plan names missing sources, after everything else has arrived and without removing
        anything. Its `outcomes` hold what has arrived.
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
                errors.append(_error(target, done))
    if errors:
        raise _merged(errors, plan.missing, outcomes)
    if plan.missing:
        raise _missing_error(plan.missing, outcomes)
    return outcomes


def _deliver_part(part: Plan, target: Target) -> list[Outcome]:
    begin = time.monotonic()
    try:
        done = target.deliver(part)
    except Exception as error:  # a fault of ours or of a library
        if is_time_limit(error):
            raise
        # Nobody knows what became of these files, but what is known of other places stays.
        done = _not_arrived(part, error, Status.FAILED)
        if not done:
            raise DeliveryError(
                f"{target.location.label}: {type(error).__name__}: {error}"
            ) from error
    _log(target.location, done, time.monotonic() - begin)
    return done


def _error(target: Target, outcomes: Sequence[Outcome]) -> DeliveryError:
    causes = [outcome.cause for outcome in outcomes if outcome.cause]
    error = target.error(_account(target.location, outcomes), causes)
    if causes and error.__cause__ is None:
        error.__cause__ = causes[0]
    return error


def _log(location: Location, outcomes: Sequence[Outcome], seconds: float) -> None:
    counts = dict.fromkeys(Status, 0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    size = sum(outcome.transfer.size for outcome in outcomes if outcome.status is Status.SENT)
    summary = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)
    place = escaped(location.label)
    _logger.info("%s: %s (%s bytes, %.1f s)", place, summary or "nothing", f"{size:,}", seconds)
    unverified = [item for item in outcomes if item.status is Status.SENT and not item.verified]
    if unverified:
        more = f" (and {len(unverified) - 1} more)" if len(unverified) > 1 else ""
        first = escaped(unverified[0].transfer.destination)
        _logger.warning("%s: sent, not verified%s", first, more)


def _account(location: Location, outcomes: Sequence[Outcome]) -> str:
    lines = [f"not everything arrived at {escaped(location.label)}:"]
    for status in (Status.FAILED, Status.NOT_TRIED, Status.SENT, Status.UNCHANGED):
        matching = [outcome for outcome in outcomes if outcome.status is status]
        shown = matching[:_ARRIVED_SHOWN] if status.arrived else matching
        for outcome in shown:
            why = f": {escaped_lines(str(outcome.cause))}" if status is Status.FAILED else ""
            lines.append(f"  {status.value}: {escaped(outcome.transfer.destination)}{why}")
        if len(matching) > len(shown):
            lines.append(f"  {status.value}: {len(matching) - len(shown)} more")
    return "\n".join(lines)


def _merged(
    errors: Sequence[DeliveryError], missing: Sequence[Problem], outcomes: Sequence[Outcome]
) -> DeliveryError:
    """Return the last error, which speaks for all: S3's, where a local copy failed too."""
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
    """Return a text that names every missing source."""
    count = "1 source is" if len(missing) == 1 else f"{len(missing)} sources are"
    return "\n".join([f"{count} missing:", *(f"  {problem}" for problem in missing)])
