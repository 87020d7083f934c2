"""Find sources that will be missing when their sink runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from nipype_datasink.planning.places import with_ancestors
from nipype_datasink.planning.sources import Problem
from nipype_datasink.workflows.prediction import Prediction, SinkPlan

_MAX_SHOWN = 4  # sources
_ADVICE = "if this is optional, set sink_missing to 'skip'"
_RELATIVE = "relative paths are below the sink's working directory, so write absolute paths"


def explain_missing(sinks: Sequence[SinkPlan]) -> tuple[SinkPlan, ...]:
    """Return the plans with an error for each sink that would fail because sources are missing.

    A source is not missing if it may be written before the sink runs: by a node that will run, into
    its working directory or a path among its inputs, or by another sink.
    """
    if not any(sink.missing for sink in sinks):
        return tuple(sinks)
    writers = [(sink.run.name, _places(sink.predictions)) for sink in sinks]

    def explain(sink: SinkPlan) -> SinkPlan:
        others = [places for name, places in writers if name != sink.run.name]
        return _explain(sink, lambda problem: not _may_be_written(problem, sink, others))

    return tuple(explain(sink) if sink.missing else sink for sink in sinks)


def _explain(sink: SinkPlan, is_missing: Callable[[Problem], bool]) -> SinkPlan:
    missing = tuple(filter(is_missing, sink.missing))
    paths = {problem.value for problem in missing}
    directory = sink.run.directory if sink.run.node else None
    error = "" if sink.skips_missing else _describe(missing, directory)
    predictions = (
        replace(
            each,
            is_missing=each.is_missing and each.source in paths,
            is_skipped=each.is_missing and each.source in paths and sink.skips_missing,
        )
        for each in sink.predictions
    )
    return replace(sink, missing=missing, error=sink.error or error, predictions=tuple(predictions))


def _describe(missing: Sequence[Problem], directory: str | None) -> str:
    """Return which sources are missing, and what to do.

    Parameters
    ----------
    missing
        The sources.
    directory
        Working directory of the sink's node. A path below it was relative: no node writes there.
    """
    shown = [str(problem) for problem in missing[:_MAX_SHOWN]]
    if len(missing) > len(shown):
        shown.append(f"{len(missing) - len(shown)} more")
    is_relative = directory and any(each.value.startswith(f"{directory}/") for each in missing)
    return "; ".join([*shown, *[_RELATIVE] * bool(is_relative), _ADVICE]) if shown else ""


def _places(predictions: Iterable[Prediction]) -> frozenset[str]:
    """Return destinations; for those that are not known, the folder before the braces."""
    return frozenset(
        each.destination.partition("{")[0].rpartition("/")[0] or "/"
        if not each.is_known
        else each.destination
        for each in predictions
    )


def _may_be_written(problem: Problem, sink: SinkPlan, others: Iterable[frozenset[str]]) -> bool:
    """Return whether a node that will run, or another sink, may write a missing source."""
    if any(each.always_run for each in sink.run.connections.get(problem.field, ())):
        return True  # the node will run again, and may find other files
    around = set(with_ancestors(_paths(problem.value)))
    nodes = sink.run.results.writable if sink.run.results else frozenset()
    return not around.isdisjoint(nodes) or any(not around.isdisjoint(each) for each in others)


def _paths(path: str) -> Iterator[str]:
    """Yield a path and, as it may be a link to a file that does not exist yet, its target."""
    yield path
    yield os.path.realpath(path)
