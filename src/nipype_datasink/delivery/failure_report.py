"""Describe what a delivery did not deliver: the cause first and last, in few lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.outcomes import describe_statuses
from nipype_datasink.display import counted, escaped, escaped_in_one_line, shortened
from nipype_datasink.planning.location import Location
from nipype_datasink.planning.sources import Problem

# A message has at most 60 lines. These are names of files and sources; four sections (three places
# and the missing sources) have five other lines each, and the message has two or three more.
_MAX_NAMES = 32
_MAX_NAMES_OF_SECTION = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why files did not arrive at a place."""

    text: str
    """Cause and cure in plain words."""

    cause: Exception | None = None
    """The error of one file that explains most."""

    context: tuple[str, ...] = ()
    """How the place was reached, a line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedPlace:
    """A place where not all files have arrived."""

    location: Location
    """Base directory and container."""

    explanation: Explanation
    """Why."""

    outcomes: Sequence[Outcome]
    """Results of all files of this place."""


def describe_failure(
    places: Sequence[FailedPlace], missing: Sequence[Problem], context: Sequence[str]
) -> str:
    """Return the message of an error.

    The end of a crash file is read first, so the last line repeats the first.

    Parameters
    ----------
    places
        The most important first.
    missing
        Sources that do not exist.
    context
        Lines about the process.
    """
    sections = len(places) + bool(missing)
    most = min(_MAX_NAMES_OF_SECTION, _MAX_NAMES // sections)
    lines = [line for place in places for line in _describe_place(place, most)]
    if missing:
        lines += describe_missing(missing, most)
    return "\n".join([*lines, *context, lines[0]])


def describe_missing(missing: Sequence[Problem], most: int = _MAX_NAMES_OF_SECTION) -> list[str]:
    """Return lines that name missing sources, at most a certain number."""
    title = f"{counted(len(missing), 'source')} {'is' if len(missing) == 1 else 'are'} missing"
    return [title, *shortened([f"  missing: {problem}" for problem in missing], most)]


def _describe_place(place: FailedPlace, most: int) -> Iterator[str]:
    explanation = place.explanation
    yield f"{escaped(place.location.label)}: {escaped_in_one_line(explanation.text)}"
    cause = str(explanation.cause or "")
    if cause and cause not in explanation.text:
        yield f"  error: {escaped_in_one_line(cause)}"
    yield f"  {counted(len(place.outcomes), 'file')}: {describe_statuses(place.outcomes)}"
    yield from shortened(list(_name_failed(place.outcomes, cause)), most)
    not_tried = [outcome for outcome in place.outcomes if outcome.status is Status.NOT_TRIED]
    if len(not_tried) == 1:
        yield f"  not tried: {escaped(not_tried[0].transfer.destination)}"
    elif 0 < len(not_tried) < len(place.outcomes):
        yield f"  not tried: all other {counted(len(not_tried), 'file')}"
    for line in explanation.context:
        yield f"  {escaped(line)}"


def _name_failed(outcomes: Sequence[Outcome], cause: str) -> Iterator[str]:
    """Yield a line for each failed file: first those that failed for a reason of their own."""
    failed = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
    for outcome in sorted(failed, key=lambda outcome: str(outcome.cause) == cause):
        own = "" if str(outcome.cause) == cause else f": {escaped_in_one_line(str(outcome.cause))}"
        yield f"  failed: {escaped(outcome.transfer.destination)}{own}"
