"""Report what was delivered of a workflow that did not end well, and what was not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nipype_datasink.delivery.outcomes import Outcomes, describe_statuses
from nipype_datasink.display import ShownAsText, counted, describe_counts, escaped, listed
from nipype_datasink.errors import SalvageError
from nipype_datasink.workflows.failed_nodes import FailedNode

_MAX_SHOWN = 4  # nodes for one input; all are listed below


@dataclass(frozen=True, slots=True, kw_only=True)
class UndeliveredInput:
    """An input of a sink that has no value, or only part of it, because a node has no result."""

    field: str
    """Name of the input."""

    output: str
    """Node and output that are connected to it, without the name of the workflow."""

    is_partial: bool = False
    """Whether the other part was delivered: items of a MapNode or a JoinNode that have finished."""

    failed: tuple[FailedNode, ...] = ()
    """Nodes because of which the value is not known."""

    error: str = ""
    """Why the value cannot be set although it is known: the function of a connection fails."""

    def __str__(self) -> str:
        part = "part of " if self.is_partial else ""
        nodes = [node.node for node in self.failed]
        if len(nodes) > _MAX_SHOWN:
            nodes[_MAX_SHOWN:] = [f"{len(nodes) - _MAX_SHOWN} more"]
        cause = self.error or ", ".join(nodes)
        return escaped(f"{part}{self.field} <- {self.output}, because of {cause}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SalvagedSink:
    """What was delivered by one run of a sink that did not finish."""

    sink: str
    """Name of the node, with the values of iterables: ``wf.datasink[subject_id=sub-01]``."""

    outcomes: Outcomes = field(default_factory=Outcomes)
    """Result for each file."""

    undelivered: tuple[UndeliveredInput, ...] = ()
    """Inputs that are not delivered, or not all of it."""

    error: str = ""
    """Why the sink was not salvaged, or why files did not arrive."""

    @property
    def ok(self) -> bool:
        """Whether everything that the sink would deliver is delivered."""
        return not (self.undelivered or self.error)

    def lines(self) -> Iterator[str]:
        """Yield the lines of a report."""
        yield escaped(f"{self.sink}: {describe_statuses(self.outcomes) or 'no files'}")
        if self.error:
            first, *others = self.error.splitlines()
            yield escaped(f"  ERROR {first}")
            # The message of a delivery repeats its first line at the end.
            yield from (escaped(f"    {line}") for line in others if line != first)
        yield from (f"  not delivered: {each}" for each in self.undelivered)

    def as_json(self) -> dict[str, Any]:
        """Return the value for `json.dumps`."""
        return {
            "sink": self.sink,
            "files": [
                {"destination": each.transfer.destination, "status": each.status.value}
                for each in self.outcomes
            ],
            "undelivered": [
                {
                    "field": each.field,
                    "output": each.output,
                    "partial": each.is_partial,
                    "failed": [node.node for node in each.failed],
                    "error": each.error,
                }
                for each in self.undelivered
            ],
            "error": self.error,
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SalvageReport(ShownAsText):
    """What was delivered of a workflow that did not end well; `print` shows it."""

    sinks: tuple[SalvagedSink, ...]
    """Each run of each sink that did not finish, in the order of the graph."""

    finished: int = 0
    """Number of runs of sinks that had finished before. Nothing was done for them."""

    warnings: tuple[str, ...] = ()
    """Directories that are to be copied to S3, but contain no base directory."""

    @property
    def delivered(self) -> tuple[str, ...]:
        """Destinations that hold their files now."""
        every = (each for sink in self.sinks for each in sink.outcomes)
        arrived = (each.transfer.destination for each in every if each.status.arrived)
        return tuple(dict.fromkeys(arrived))

    @property
    def ok(self) -> bool:
        """Whether everything that the workflow would deliver is delivered."""
        return all(sink.ok for sink in self.sinks)

    @property
    def failed(self) -> tuple[FailedNode, ...]:
        """Nodes because of which outputs are not delivered, each once."""
        every = (node for sink in self.sinks for each in sink.undelivered for node in each.failed)
        return tuple(dict.fromkeys(every))

    def __str__(self) -> str:
        lines = [line for sink in self.sinks for line in sink.lines()]
        warnings = (escaped(f"WARNING {text}") for text in self.warnings)
        return "\n".join([*lines, *map(str, self.failed), *warnings, self._summary()])

    def _summary(self) -> str:
        complete = sum(sink.ok for sink in self.sinks)
        counts = {
            "finished before": self.finished,
            "complete now": complete,
            "incomplete": len(self.sinks) - complete,
        }
        text = describe_counts(counts)
        sinks = counted(sum(counts.values()), "sink")
        return (
            f"{sinks}: {text}; {counted(len(self.delivered), 'file')} delivered" if text else sinks
        )

    def as_json(self) -> dict[str, Any]:
        """Return the report as values for `json.dumps`."""
        return {
            "ok": self.ok,
            "finished": self.finished,
            "warnings": list(self.warnings),
            "sinks": [sink.as_json() for sink in self.sinks],
            "failed": [
                {
                    "node": each.node,
                    "crash_file": each.crash_file,
                    "has_run": each.has_run,
                    "has_old_result": each.has_old_result,
                }
                for each in self.failed
            ],
        }

    def raise_if_incomplete(self) -> None:
        """Raise an error if anything was not delivered.

        Raises
        ------
        SalvageError
            Naming what was not delivered, and why.
        """
        if self.ok:
            return
        incomplete = [sink for sink in self.sinks if not sink.ok]
        title = (
            f"{counted(len(incomplete), 'sink')} could not deliver everything; remove the cause "
            "and run the workflow again, which delivers the rest"
        )
        lines = [*map(str, self.failed), *(line for sink in incomplete for line in sink.lines())]
        error = SalvageError(listed(title, lines))
        error.report = self
        error.outcomes = Outcomes(each for sink in self.sinks for each in sink.outcomes)
        raise error
