"""Carry out a plan: each target delivers its part, then one error names all failures."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from nipype_datasink.delivery.failure_report import (
    Explanation,
    FailedPlace,
    describe_failure,
    describe_missing,
)
from nipype_datasink.delivery.not_delivered import remove_list, write_list
from nipype_datasink.delivery.outcome import Outcome, Status, not_arrived
from nipype_datasink.delivery.outcomes import Outcomes, bytes_written, describe_statuses
from nipype_datasink.delivery.progress import Progress, shown_progress
from nipype_datasink.display import escaped, format_bytes
from nipype_datasink.errors import DataSinkError, DeliveryError, MissingSourceError, with_original
from nipype_datasink.planning.location import Location, S3Prefix
from nipype_datasink.planning.plan import Plan
from nipype_datasink.planning.sources import Problem
from nipype_datasink.signals import graceful_shutdown, is_time_limit
from nipype_datasink.worker import describe_process

_logger = logging.getLogger("nipype.interface")

_MISSING_ADVICE = (
    "everything else was delivered. Run again when nothing is missing. If these outputs are "
    "optional, set sink_missing to 'skip' (datasink_missing in nipype's configuration, or "
    "nipype-datasink run --missing skip)"
)


class Target(Protocol):
    """A place that takes files."""

    @property
    def location(self) -> Location:
        """Base directory and container."""

    def deliver(self, plan: Plan, progress: Progress, /) -> list[Outcome]:
        """Deliver every file of `plan`; return the outcome of each, and raise no errors."""

    def explain(self, causes: Sequence[Exception], /) -> Explanation:
        """Return why files did not arrive, from the errors of single files."""

    def error(self, message: str, cause: Exception | None, /) -> DeliveryError:
        """Return the error to raise if files did not arrive."""


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
        _logger.warning("%s", "\n".join(describe_missing(plan.missing)))
        return replace(plan, missing=())
    return plan


def deliver(
    plan: Plan,
    targets: Sequence[Target],
    *,
    list_directory: str | None = None,
    progress: Progress | None = None,
) -> Outcomes:
    """Let each target carry out its part of `plan`, one after the other.

    Parameters
    ----------
    plan
        A valid plan.
    targets
        In the order in which they deliver. A failure in one does not stop the next, but nothing is
        removed after it.
    list_directory
        Directory for a list of what was not delivered, if there is anything.
    progress
        Shows how far the delivery is; with None it is made here.

    Raises
    ------
    DeliveryError
        If any file did not arrive, after all targets have delivered what they can. Its message
        begins and ends with the cause; `error.outcomes` holds the result of each file.
    MissingSourceError
        If the plan has missing sources, after all other files have arrived. Nothing is removed
        then. Its `outcomes` hold the files that arrived.
    """
    if plan.missing:
        plan = plan.without_removals()
    outcomes: list[Outcome] = []
    failed: list[tuple[Target, FailedPlace]] = []
    complete: list[str] = []
    with graceful_shutdown(), shown_progress(progress) as shown:
        for target in targets:
            part = plan.for_location(target.location)
            done = _deliver_part(part.without_removals() if failed else part, target, shown)
            outcomes += done
            if not all(outcome.status.arrived for outcome in done):
                failed.insert(0, (target, _examine(target, done)))  # that of S3 comes first
            elif done:
                complete.append(f"  all files have arrived in {escaped(target.location.label)}")
    if failed or plan.missing:
        context = complete if failed else []
        raise _make_error(failed, plan.missing, outcomes, context, list_directory) from None
    remove_list(list_directory)
    return Outcomes(outcomes)


def _deliver_part(part: Plan, target: Target, progress: Progress) -> list[Outcome]:
    begin = time.monotonic()
    progress.begin_place(target.location.label, part.transfers)
    try:
        done = target.deliver(part, progress)
    except Exception as error:  # a bug in the target or in a library
        if is_time_limit(error):
            raise
        # The state of these files is not known. The outcomes of other targets must not be lost.
        done = not_arrived(part, error, Status.FAILED)
        if not done:
            message = f"{target.location.label}: {type(error).__name__}: {error}"
            raise with_original(DeliveryError(message), error) from None
    progress.hide()
    _log(target.location, done, time.monotonic() - begin)
    return done


def _examine(target: Target, outcomes: Sequence[Outcome]) -> FailedPlace:
    causes = [outcome.cause for outcome in outcomes if outcome.cause]
    try:
        explanation = target.explain(causes)
    except Exception as error:  # noqa: BLE001 - must not replace the error that it explains
        cause = causes[0] if causes else error
        explanation = Explanation(text=f"{type(cause).__name__}: {cause}", cause=cause)
    return FailedPlace(location=target.location, explanation=explanation, outcomes=outcomes)


def _make_error(
    failed: Sequence[tuple[Target, FailedPlace]],
    missing: Sequence[Problem],
    outcomes: Sequence[Outcome],
    context: Sequence[str],
    list_directory: str | None,
) -> DataSinkError:
    """Return one error for all places, of the class of the first; `context` is part of it."""
    context = [*context, f"  run by: {describe_process()}"]
    if path := write_list(list_directory, outcomes, missing):
        context.append(f"  everything that was not delivered: {escaped(path)}")
    if not failed:
        error: DataSinkError = _missing_error(missing, context)
    else:
        message = describe_failure([place for _, place in failed], missing, context)
        target, place = failed[0]
        cause = place.explanation.cause
        error = with_original(target.error(message, cause), cause)
    error.outcomes = Outcomes(outcomes)
    error.missing = tuple(missing)
    return error


def _log(location: Location, outcomes: Sequence[Outcome], seconds: float) -> None:
    summary, size = describe_statuses(outcomes), bytes_written(outcomes)
    verb = "sent" if isinstance(location, S3Prefix) else "copied"
    work = f" ({format_bytes(size)} {verb} in {seconds:.1f} s)" if size else ""
    place = escaped(location.label)
    _logger.info("%s: %s%s", place, summary or "no files", work)
    unverified = [item for item in outcomes if item.status.written and not item.verified]
    if unverified:
        more = f" (and {len(unverified) - 1} more)" if len(unverified) > 1 else ""
        first = escaped(unverified[0].transfer.destination)
        _logger.warning("%s: sent, not verified%s", first, more)


def _missing_error(missing: Sequence[Problem], context: Sequence[str]) -> MissingSourceError:
    title, *names = describe_missing(missing)
    cause = f"{title}; {_MISSING_ADVICE}"
    return MissingSourceError("\n".join([cause, *names, *context, cause]))
