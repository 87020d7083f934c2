"""Show where the sinks of a workflow will deliver their files, before it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nipype_datasink.display import ShownAsText, counted, escaped, escaped_lines
from nipype_datasink.workflows.clashes import Clash, find_clashes, find_possible_clashes
from nipype_datasink.workflows.comparison import (
    UnusedRule,
    describe_failures,
    find_unused,
    summarize,
    totals,
)
from nipype_datasink.workflows.comparison import compare as compare_files
from nipype_datasink.workflows.graph import sink_runs
from nipype_datasink.workflows.layout import lay_out
from nipype_datasink.workflows.missing import explain_missing
from nipype_datasink.workflows.own_directories import describe_own_directories
from nipype_datasink.workflows.prediction import Prediction, SinkPlan, count_changes
from nipype_datasink.workflows.predictor import predict
from nipype_datasink.workflows.unused_copies import describe_unused_copies

if TYPE_CHECKING:
    from nipype import Workflow
    from nipype.pipeline.engine import Node

    from nipype_datasink.interface import DataSink


def plan(target: Workflow | Node | DataSink, *, compare: bool = False) -> WorkflowPlan:
    """Decide where everything goes, as far as it is known. No node runs, and nothing is written.

    Iterables, nested workflows, MapNodes, JoinNodes and functions in connections are expanded as
    nipype does. Values that are set, those of `IdentityInterface`, and results of nodes that have
    finished in the working directory are known. The names of all other files are known when their
    node has run; they stand in braces, as ``{realign.par}``.

    Parameters
    ----------
    target
        A workflow, one node, or a sink without a node. It is not changed.
    compare
        Compare sources that are known with what is at their destinations: files of equal size are
        read, and buckets are listed. Where all destinations of a sink are known, also find its
        substitutions that match nothing.

    Returns
    -------
    WorkflowPlan
        ``print(plan(workflow))`` shows it.

    Notes
    -----
    Outputs are assumed to lie in the working directory of their node, which decides the folders of
    iterables.
    """
    runs = tuple(sink_runs(target))
    # Before the prediction, which makes directories absolute.
    warnings = dict.fromkeys(text for run in runs for text in describe_own_directories(run))
    warnings.update(dict.fromkeys(describe_unused_copies(runs)))
    sinks = explain_missing(tuple(map(predict, runs)))
    if compare:
        sinks = tuple(map(compare_files, sinks))
    return WorkflowPlan(
        sinks=sinks,
        clashes=find_clashes(sinks),
        possible=find_possible_clashes(sinks),
        unused=tuple(find_unused(sinks)) if compare else (),
        warnings=tuple(warnings),
        is_compared=compare,
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WorkflowPlan(ShownAsText):
    """What the sinks of a workflow will do; ``str(plan)`` shows it."""

    sinks: tuple[SinkPlan, ...]
    """Each run of each sink, in the order of the graph."""

    clashes: tuple[Clash, ...] = ()
    """Destinations that one sink, or different sinks or runs, would write with different bytes."""

    possible: tuple[Clash, ...] = ()
    """Destinations of different sinks or runs that are equal as far as they are known."""

    unused: tuple[UnusedRule, ...] = ()
    """Substitutions that match nothing, after a comparison."""

    warnings: tuple[str, ...] = ()
    """What is allowed, but rarely meant: a base directory that is relative or not set, and a
    directory that is to be copied to S3, but contains no base directory."""

    is_compared: bool = False
    """Whether known sources were compared with their destinations."""

    @property
    def destinations(self) -> tuple[str, ...]:
        """Each different destination once."""
        every = [each.destination for sink in self.sinks for each in sink.predictions]
        return tuple(dict.fromkeys(every))

    @property
    def errors(self) -> tuple[str, ...]:
        """Why sinks would fail, and why places could not be compared."""
        errors = (f"{sink.run}: {sink.error}" for sink in self.sinks if sink.error)
        return (*errors, *describe_failures(self.sinks))

    @property
    def always_run(self) -> tuple[str, ...]:
        """Names of nodes that run every time, such as `SelectFiles`, with results in this plan.

        The results are those of their last run.
        """
        connections = [
            each for sink in self.sinks for every in sink.run.connections.values() for each in every
        ]
        return tuple(sorted({name for each in connections for name in each.always_run}))

    @property
    def ok(self) -> bool:
        """Whether no sink would fail, no destinations clash, and no comparison has failed."""
        return not (self.errors or self.clashes)

    def __str__(self) -> str:
        lines = list(lay_out(self.sinks))
        lines += [f"ERROR {escaped_lines(error)}" for error in self.errors]
        lines += [f"CLASH {clash}" for clash in self.clashes]
        lines += [f"POSSIBLE {clash}" for clash in self.possible]
        lines += [f"WARNING {escaped(text)}" for text in self.warnings]
        lines += [f"UNUSED {rule}" for rule in self.unused]
        if self.is_compared:
            lines.append(summarize(self.sinks))
        if self.always_run:
            names = ", ".join(map(escaped, self.always_run))
            lines.append(f"will run again: {names}; results of the last run are shown")
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        if not self.sinks:
            return "no sinks"
        text = counted(len(self.destinations), "destination")
        if missing := sum(len(sink.missing) for sink in self.sinks):
            text = f"{text}; {counted(missing, 'source')} {'is' if missing == 1 else 'are'} missing"
        if any(not each.is_known for sink in self.sinks for each in sink.predictions):
            return f"{text}; names in {{braces}} are known when the node has run"
        return text

    def as_json(self) -> dict[str, Any]:
        """Return the plan as values for `json.dumps`."""
        return {
            "sinks": [_sink_as_json(sink) for sink in self.sinks],
            "clashes": [_clash_as_json(clash) for clash in self.clashes],
            "possible": [_clash_as_json(clash) for clash in self.possible],
            "warnings": list(self.warnings),
            "unused": [asdict(rule) for rule in self.unused],
            "errors": list(self.errors),
            "always_run": list(self.always_run),
            "ok": self.ok,
            **({"comparison": totals(self.sinks)} if self.is_compared else {}),
        }


def _sink_as_json(sink: SinkPlan) -> dict[str, Any]:
    return {
        "sink": str(sink.run),
        "node": sink.run.name,
        "iterables": dict(sink.run.iterables),
        "bases": list(sink.bases),
        "destinations": [_prediction_as_json(each) for each in sink.predictions],
        "ignored": list(sink.ignored),
        "removes_others": sink.removes_others,
        "manifest_directory": sink.manifest_directory,
        "error": sink.error,
    }


def _prediction_as_json(prediction: Prediction) -> dict[str, Any]:
    return {
        "field": prediction.field,
        "source": prediction.source,
        "output": prediction.output,
        "destination": prediction.destination,
        "known": prediction.is_known,
        "folders": prediction.has_folders,
        "missing": prediction.is_missing,
        **({"changes": count_changes(prediction.changes)} if prediction.changes else {}),
    }


def _clash_as_json(clash: Clash) -> dict[str, Any]:
    return {"destination": clash.destination, "sinks": list(clash.sinks)}
