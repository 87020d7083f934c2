"""Show the results of a delivery: how many files, which ones failed, and what was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.display import (
    ShownAsText,
    counted,
    describe_counts,
    escaped,
    escaped_in_one_line,
    format_bytes,
    shortened,
)
from nipype_datasink.errors import DataSinkError

_MAX_FILES_SHOWN = 40


class Outcomes(ShownAsText, tuple[Outcome, ...]):
    """Results of all files of a sink, one after the other; `print` shows them.

    The text begins with counts. Then it names files: first those that did not arrive, then those
    that are not verified, then those that were written.
    """

    __slots__ = ()

    @property
    def bytes_written(self) -> int:
        """Number of bytes that were copied or sent. Hard links write none."""
        return bytes_written(self)

    def __deepcopy__(self, memo: object) -> Outcomes:
        """Return this object, because nothing in it changes; nipype copies sinks often."""
        return self

    def __str__(self) -> str:
        files = sorted(self, key=_rank)
        labels = list(map(_label, files))
        width = max(map(len, labels), default=0)
        lines = [
            f"  {label:{width}}  {_describe(outcome)}"
            for label, outcome in zip(labels, files, strict=True)
        ]
        return "\n".join([self._summary(), *shortened(lines, _MAX_FILES_SHOWN)])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._summary()}>"

    def _summary(self) -> str:
        written = self.bytes_written
        size = f"; {format_bytes(written)} written" if written else ""
        counts = describe_statuses(self)
        return f"{counted(len(self), 'file')}{f': {counts}' if counts else ''}{size}"


# Here, because the module of the errors imports no other.
DataSinkError.outcomes = Outcomes()


def describe_statuses(outcomes: Iterable[Outcome]) -> str:
    """Return how many files have each status, as text such as ``3 new, 5,002 unchanged``."""
    counts = Counter(outcome.status for outcome in outcomes)
    return describe_counts({status.value: counts[status] for status in Status})


def bytes_written(outcomes: Iterable[Outcome]) -> int:
    """Return how many bytes were copied or sent."""
    written = (each for each in outcomes if each.status.written and not each.linked)
    return sum(each.transfer.size for each in written)


def _rank(outcome: Outcome) -> tuple[bool, ...]:
    """Return what sorts outcomes: those that need attention come first."""
    status = outcome.status
    return status.arrived, status is Status.NOT_TRIED, outcome.verified, not status.written


def _label(outcome: Outcome) -> str:
    is_doubtful = outcome.status.arrived and not outcome.verified
    return f"{outcome.status.value}{', not verified' if is_doubtful else ''}"


def _describe(outcome: Outcome) -> str:
    destination = escaped(outcome.transfer.destination)
    if outcome.status is Status.FAILED:
        return f"{destination}: {escaped_in_one_line(str(outcome.cause))}"
    return f"{destination} ({format_bytes(outcome.transfer.size)})"
