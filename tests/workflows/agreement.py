"""Check that the plan of a workflow agrees with what a run of it delivers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nipype import Workflow

from nipype_datasink import DataSink, Prediction, WorkflowPlan, plan
from tests.conftest import tree

Build = Callable[..., Workflow]
PLUGINS: dict[str, dict[str, Any]] = {
    "linear": {"plugin": "Linear"},
    "multiproc": {"plugin": "MultiProc", "plugin_args": {"n_procs": 2}},
}


def pattern_of(prediction: Prediction) -> str:
    """Return a regular expression that matches what a destination with braces stands for."""
    names = ".+" if prediction.has_folders else "[^/]+"
    parts = re.split(r"\{[^}]*\}", prediction.destination)
    return names.join(map(re.escape, parts))


def delivered(graph: Any) -> dict[str, list[str]]:
    """Return ``out_file`` of every run of a sink, by the working directory of the run."""
    return {
        node.output_dir(): node.result.outputs.out_file
        for node in graph
        if isinstance(node.interface, DataSink)
    }


def assert_predicts(planned: WorkflowPlan, graph: Any, *, empty: tuple[str, ...] = ()) -> None:
    """Check that a plan has each destination of a run, and no others but those of empty fields."""
    expected = delivered(graph)
    assert all(expected.values())
    assert sorted(expected) == sorted(sink.run.directory for sink in planned.sinks)
    for sink in planned.sinks:
        paths = expected[sink.run.directory]
        patterns = [pattern_of(each) for each in sink.predictions]
        for path in paths:
            assert any(re.fullmatch(pattern, path) for pattern in patterns), path
        for prediction, pattern in zip(sink.predictions, patterns, strict=True):
            is_found = any(re.fullmatch(pattern, path) for path in paths)
            assert is_found or prediction.field in empty, prediction.destination


def assert_run_is_planned(
    build: Build, inputs: dict[str, Any], plugin: dict[str, Any], *, empty: tuple[str, ...] = ()
) -> WorkflowPlan:
    """Run a workflow that has not run before, and check its plan; return the plan."""
    before = tree(Path.cwd())
    planned = plan(build(**inputs))
    assert tree(Path.cwd()) == before

    graph = build(**inputs).run(**plugin)

    assert_predicts(planned, graph, empty=empty)
    return planned
