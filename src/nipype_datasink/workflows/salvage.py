"""Deliver what the nodes of a workflow have computed before one of them failed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from nipype import Workflow
from nipype.interfaces.base import Undefined
from nipype.pipeline.engine import MapNode

from nipype_datasink.configuration import explicit_value
from nipype_datasink.delivery.execution import deliver, without_optional
from nipype_datasink.delivery.outcomes import Outcomes
from nipype_datasink.errors import DataSinkError, SalvageError, SettingsError
from nipype_datasink.inputs import fields_of, known_inputs
from nipype_datasink.planning.validation import make_valid_plan
from nipype_datasink.sink_delivery import targets_of
from nipype_datasink.workflows.failed_nodes import FailedNode, failed_nodes
from nipype_datasink.workflows.graph import sink_runs
from nipype_datasink.workflows.own_directories import (
    DIRECTORIES,
    is_in_own_directory,
    make_directories_absolute,
)
from nipype_datasink.workflows.partial_results import PartialResults
from nipype_datasink.workflows.results import is_complete, is_partly_known
from nipype_datasink.workflows.salvage_report import SalvagedSink, SalvageReport, UndeliveredInput
from nipype_datasink.workflows.sink_run import Connection, SinkRun
from nipype_datasink.workflows.unused_copies import describe_unused_copies


def salvage(workflow: Workflow) -> SalvageReport:
    """Deliver what a workflow has computed before one of its nodes failed.

    nipype runs a sink only if all nodes before it have finished. For each sink that did not finish,
    this delivers the results that are in the working directory, by the sink's own rules: those of
    nodes that have finished, and of items of MapNodes that have. No node runs, nothing changes in
    the working directory, `remove_dest_dir` removes nothing, and no manifest is written. A later
    run of the workflow delivers the rest, and nothing twice.

    Parameters
    ----------
    workflow
        The workflow as it was run: with the same ``base_dir``, inputs and configuration. It must
        not be running. It is not changed.

    Returns
    -------
    SalvageReport
        `print` shows it.

    Raises
    ------
    SalvageError
        If anything could not be delivered, after everything else is delivered. It names the nodes
        that failed and their crash files; ``error.report`` is the report. Also if the working
        directory does not exist.
    SettingsError
        If nipype cannot expand the workflow.
    """
    report = salvage_sinks(workflow)
    report.raise_if_incomplete()
    return report


def salvage_sinks(workflow: Workflow) -> SalvageReport:
    """Do what `salvage` does; return the report, also if something could not be delivered."""
    _check(workflow)
    # All before the first delivery, which may write files that nodes have read.
    runs = list(sink_runs(workflow, PartialResults))
    unfinished = [run for run in runs if not _has_finished(run)]
    warnings = describe_unused_copies(runs)
    return SalvageReport(
        sinks=tuple(map(_salvage, unfinished)),
        finished=len(runs) - len(unfinished),
        warnings=warnings,
    )


def _check(workflow: Workflow) -> None:
    """Raise an error if no results of a workflow can be there."""
    if not isinstance(workflow, Workflow):
        raise SalvageError(
            f"only a workflow can be salvaged, and this is a {type(workflow).__name__}, which has "
            "no results of other nodes; run it again"
        )
    if workflow.base_dir is None:
        raise SalvageError(
            f"workflow {workflow.name} has no base_dir, so the results of its nodes are in "
            "temporary directories that nothing can find; set base_dir and run it again"
        )
    directory = os.path.join(os.path.abspath(workflow.base_dir), workflow.name)
    if not os.path.isdir(directory):
        raise SalvageError(
            f"the working directory {directory} does not exist, so there are no results; check "
            "base_dir, and that the program does not remove the directory before it runs the "
            "workflow"
        )


def _has_finished(run: SinkRun) -> bool:
    results, node = run.results, run.node
    assert isinstance(results, PartialResults)
    if node in results.finished:
        return True
    return bool(run.item) and any(each.name == run.item for each in results.finished_items(node))


def _salvage(run: SinkRun) -> SalvagedSink:
    """Deliver what is known of the inputs of one run of a sink."""
    undelivered = tuple(_undelivered_inputs(run))
    if obstacle := _obstacle(run, undelivered):
        return SalvagedSink(sink=str(run), undelivered=undelivered, error=obstacle)
    error, outcomes = _deliver(run)
    return SalvagedSink(sink=str(run), outcomes=outcomes, undelivered=undelivered, error=error)


def _obstacle(run: SinkRun, undelivered: Sequence[UndeliveredInput]) -> str:
    """Return why a sink cannot be salvaged, although some of its inputs may be known."""
    rules = sorted(
        {each.field for each in undelivered}.intersection(known_inputs(run.interface.inputs))
    )
    if rules:  # other values might mix the files of different subjects
        return f"not salvaged, because {' and '.join(rules)} cannot be known"
    if isinstance(run.node, MapNode) and not run.item:
        return "not salvaged, because the number of its items is not known"
    return f"not salvaged: {run.node_error}" if run.node_error else ""


def _undelivered_inputs(run: SinkRun) -> Iterator[UndeliveredInput]:
    for field, connections in run.unknown.items():
        value = getattr(run.interface.inputs, field, Undefined)
        is_of_item = (
            bool(run.item) and isinstance(run.node, MapNode) and field in run.node.iterfield
        )
        if is_of_item and is_complete(value):
            continue
        may_be_partial = is_of_item or len(connections) > 1  # a JoinNode has several
        for same in _group_by_output(connections):
            is_partial = is_partly_known(value) if may_be_partial else same[0].is_partial
            failed = (node for each in same for node in _failed(run, each, is_of_item=is_of_item))
            yield UndeliveredInput(
                field=field,
                output=same[0].name,
                is_partial=is_partial,
                failed=tuple(dict.fromkeys(failed)),
                error=same[0].error,
            )


def _group_by_output(connections: Iterable[Connection]) -> Iterable[list[Connection]]:
    """Return the connections that are not known; those of a JoinNode to one output are together."""
    groups: dict[tuple[str, str], list[Connection]] = {}
    for each in connections:
        if not each.is_known:
            groups.setdefault((each.name, each.error), []).append(each)
    return groups.values()


def _failed(run: SinkRun, connection: Connection, *, is_of_item: bool) -> Iterable[FailedNode]:
    """Return the nodes because of which the value of a connection is not known."""
    source, results = connection.node, run.results
    name = connection.name.rpartition(".")[2]
    if connection.error or not isinstance(results, PartialResults):
        return []
    is_paired = is_of_item and isinstance(source, MapNode) and not source.nested
    if is_paired and isinstance(run.node, MapNode) and not run.node.nested:
        position = int(run.item.removeprefix(f"_{run.node.name}"))
        return failed_nodes(results, source, name, position)
    return failed_nodes(results, source, name)


def _deliver(run: SinkRun) -> tuple[str, Outcomes]:
    """Deliver what is known; return why files did not arrive, and the result for each file."""
    try:
        return "", _deliver_all(run)
    except DataSinkError as error:
        return str(error), error.outcomes
    except Exception as error:  # noqa: BLE001 - subclasses of users may raise anything
        return f"{type(error).__name__}: {error}", Outcomes()


def _deliver_all(run: SinkRun) -> Outcomes:
    """Deliver as the sink does, but remove nothing, and write nothing into its directory."""
    sink = run.interface
    make_directories_absolute(run)
    if not any(explicit_value(sink.inputs, name) for name in DIRECTORIES):
        sink.inputs.base_directory = run.directory
    rules = replace(sink._make_rules(sink._substitute), remove_dest_dir=False)
    for location in rules.locations:
        if is_in_own_directory(run, location):
            raise SettingsError(
                f"not salvaged, because {location.label} is in the sink's own working directory, "
                "which its next run empties; set base_directory to an absolute path elsewhere"
            )
    names = known_inputs(sink.inputs)
    plan = make_valid_plan(fields_of(sink.inputs), rules, inputs=names, directory=run.directory)
    settings, _ = sink._read_settings()
    plan = without_optional(plan, skip_missing=settings.sink_missing == "skip")
    return deliver(plan, targets_of(sink, rules))
