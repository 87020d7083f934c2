"""Measure how long the plan of a large workflow takes beside nipype's own expansion.

Run it as ``python -m benchmarks.preview [RUNS] [FIELDS]``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from nipype import Function, IdentityInterface, Node, Workflow
from nipype.pipeline.engine.utils import generate_expanded_graph

from nipype_datasink import DataSink, plan


def make_workflow(runs: int, fields: int, directory: Path) -> Workflow:
    """Return a workflow in which a sink runs once for each subject."""
    workflow = Workflow(name="large", base_dir=str(directory))
    subjects = Node(IdentityInterface(["subject"]), name="subjects")
    subjects.iterables = ("subject", [f"sub-{number:04}" for number in range(runs)])
    tool = Node(Function(function=_no_tool, output_names=_names(fields)), name="tool")
    sink = Node(DataSink(base_directory="s3://bucket/prefix"), name="sink")
    sink.inputs.regexp_substitutions = [(r"/_subject_[^/]*", "")]
    workflow.connect(subjects, "subject", sink, "container")
    workflow.connect([(tool, sink, [(name, f"folder.@{name}") for name in _names(fields)])])
    workflow.connect(subjects, "subject", tool, "subject")
    return workflow


def _no_tool(subject: str) -> None:
    """Stand for a tool that never runs."""


def _names(fields: int) -> list[str]:
    return [f"out{number}" for number in range(fields)]


def _seconds(act: Callable[[], object]) -> float:
    begin = time.process_time()
    act()
    return time.process_time() - begin


def main() -> None:
    """Print both CPU times."""
    runs, fields = map(int, (*sys.argv[1:], "500", "4")[:2])
    with tempfile.TemporaryDirectory() as directory:
        workflow = make_workflow(runs, fields, Path(directory))
        expansion = _seconds(
            lambda: generate_expanded_graph(deepcopy(workflow._create_flat_graph()))
        )
        planning = _seconds(lambda: str(plan(workflow)))
    print(f"{runs} runs of a sink with {fields} fields, seconds of CPU time")
    print(f"nipype's expansion of the graph  {expansion:6.2f}")
    print(f"plan, which expands it as well   {planning:6.2f}")


if __name__ == "__main__":
    main()
