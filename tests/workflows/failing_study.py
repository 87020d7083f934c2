"""A study of which chosen nodes fail, and which counts how often each of its nodes runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from nipype import Function, IdentityInterface, JoinNode, MapNode, Node, Workflow
from nipype.interfaces.utility import Merge

from nipype_datasink import DataSink, SalvageError, salvage
from tests.workflows.examples import SUBJECTS, subjects_node


def compute(name: str, label: str, directory: str) -> str:
    """Write a file, or fail if `name` and `label` are in the list of what is to fail."""
    import uuid
    from pathlib import Path

    step = f"{name}-{label}"
    Path(directory, "ran", f"{step}.{uuid.uuid4().hex}").touch()
    if step in Path(directory, "failing").read_text().split():
        raise RuntimeError(f"{step} was to fail")
    path = Path(f"{label}_{name}.txt").resolve()
    path.write_text(step)
    return str(path)


def total(files: list[str]) -> str:
    """Write a file with the names of others."""
    from pathlib import Path

    path = Path("total.txt").resolve()
    path.write_text("".join(f"{Path(each).name}\n" for each in files))
    return str(path)


def runs_of(subject_id: str) -> list[str]:
    return [f"{subject_id}-run{number}" for number in (1, 2, 3)]


def in_list(path: str) -> list[str]:
    return [path]


class StudyDirectory:
    """A directory of a study: its working directory, its outputs, and what is to fail.

    Parameters
    ----------
    directory
        Empty directory.
    base
        Base directory of the sinks.
    """

    def __init__(self, directory: Path, base: str = "", **inputs: Any) -> None:
        self.directory = directory
        self.work = directory / "work"
        self.out = directory / "out"
        self.crash_format = "txt"
        self._inputs = {"base_directory": base or str(self.out), **inputs}
        (directory / "ran").mkdir()
        self.fail()

    def fail(self, *steps: str) -> None:
        """Let only these steps fail."""
        (self.directory / "failing").write_text("\n".join(steps))

    def executions(self) -> Counter[str]:
        """Return how often each step has run since the last call."""
        paths = list((self.directory / "ran").iterdir())
        for path in paths:
            path.unlink()
        return Counter(path.name.partition(".")[0] for path in paths)

    def beside_outputs(self) -> dict[str, tuple[int, ...]]:
        """Return what changes if anything is written, but to the outputs."""
        out = f"{self.out}"
        found = snapshot(self.directory)
        return {path: state for path, state in found.items() if not path.startswith(out)}

    def node(self, name: str, kind: type[Node] = Node, **arguments: Any) -> Node:
        """Return a node of the study."""
        node = kind(Function(function=compute, output_names=["out"]), name=name, **arguments)
        node.inputs.trait_set(name=name, directory=str(self.directory))
        return node

    def sink(self, name: str = "datasink", **inputs: Any) -> Node:
        """Return a node with a sink."""
        return Node(DataSink(**{**self._inputs, **inputs}), name=name)

    def empty_workflow(self) -> Workflow:
        """Return an empty workflow."""
        workflow = Workflow(name="study", base_dir=str(self.work))
        workflow.config["execution"] = {
            "crashdump_dir": str(self.directory / "crashes"),
            "crashfile_format": self.crash_format,
            "poll_sleep_duration": "0.05",
            "job_finished_timeout": "5",
        }
        return workflow

    def branched_workflow(self) -> Workflow:
        """Return a study with three branches, iterables, a MapNode, JoinNodes and four sinks."""
        workflow, subjects, sink = self.empty_workflow(), subjects_node(), self.sink()
        branches = [self.node(name) for name in ("anat", "func", "qa")]
        anat, func, _ = branches
        runs = self.node("runs", MapNode, iterfield=["label"])
        merged = Node(Merge(2), name="merged")
        joined = JoinNode(IdentityInterface(["func", "runs"]), joinsource="subjects", name="joined")
        group = JoinNode(
            Function(function=total, output_names=["out"]),
            joinsource="subjects",
            joinfield="files",
            name="group",
        )
        group_sink, finished_sink = self.sink("group_sink", container="group"), self.sink("raw")
        item_sink = MapNode(
            DataSink(infields=["@x"], **self._inputs), iterfield=["@x", "container"], name="items"
        )
        for branch in branches:
            workflow.connect(subjects, "subject_id", branch, "label")
            workflow.connect(branch, "out", sink, branch.name)
        workflow.connect(
            [
                (subjects, sink, [("subject_id", "container")]),
                (subjects, runs, [(("subject_id", runs_of), "label")]),
                (subjects, item_sink, [(("subject_id", runs_of), "container")]),
                (subjects, finished_sink, [("subject_id", "container")]),
                (func, sink, [(("out", in_list), "func.@listed.again")]),
                (runs, sink, [("out", "runs")]),
                (runs, item_sink, [("out", "@x")]),
                (anat, merged, [("out", "in1")]),
                (func, merged, [("out", "in2")]),
                (merged, sink, [("out", "merged")]),
                (anat, group, [("out", "files")]),
                (anat, finished_sink, [("out", "raw")]),
                (group, group_sink, [("out", "@total")]),
                (func, joined, [("out", "func")]),
                (runs, joined, [("out", "runs")]),
                (joined, group_sink, [("func", "func"), ("runs", "runs")]),
            ]
        )
        return workflow


STEPS = Counter(
    [f"{name}-{subject}" for name in ("anat", "func", "qa") for subject in SUBJECTS]
    + [f"runs-{run}" for subject in SUBJECTS for run in runs_of(subject)]
)


FAILING = ("func-sub-02", "runs-sub-01-run2")
# What the sinks deliver only when these steps have finished, below the base directory.
LATE = {
    "group/func/_subject_id_sub-02/sub-02_func.txt",
    "group/runs/_subject_id_sub-01/_runs1/sub-01-run2_runs.txt",
    "sub-01/runs/_subject_id_sub-01/_runs1/sub-01-run2_runs.txt",
    "sub-01-run2/_subject_id_sub-01/_runs1/sub-01-run2_runs.txt",
    "sub-02/func/_subject_id_sub-02/sub-02_func.txt",
    "sub-02/func/again/_subject_id_sub-02/sub-02_func.txt",
    "sub-02/merged/_subject_id_sub-02/sub-02_func.txt",
}
_FUNC, _RUN = "study/_subject_id_sub-02/func", "study/_subject_id_sub-01/runs/mapflow/_runs1"
# The sinks and inputs that are named instead, whether in part, and the nodes that failed.
NAMED = {
    ("study.items[subject_id=sub-01,_items1]", "@x", False, _RUN),
    ("study.datasink[subject_id=sub-01]", "runs", True, _RUN),
    ("study.datasink[subject_id=sub-02]", "func", False, _FUNC),
    ("study.datasink[subject_id=sub-02]", "func.@listed.again", False, _FUNC),
    ("study.datasink[subject_id=sub-02]", "merged", True, _FUNC),
    ("study.group_sink", "func", True, _FUNC),
    ("study.group_sink", "runs", True, _RUN),
}

Files = Mapping[str, bytes]


def snapshot(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return what changes if anything is written: times, inodes, sizes and modes."""
    return {
        str(path): (status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode)
        for path in (directory, *directory.rglob("*"))
        for status in [path.lstat()]
    }


def assert_salvage_delivers_what_is_there(
    study: StudyDirectory, run: Callable[[Workflow], object], delivered: Callable[[], Files]
) -> Files:
    """Let two steps fail, salvage, and compare with a complete run; return what was salvaged.

    Parameters
    ----------
    study
        Directory of the study.
    run
        Runs a workflow.
    delivered
        Returns what the sinks have delivered, by the path below their base directory.
    """
    study.fail(*FAILING)
    with pytest.raises(Exception, match=r"was to fail|raised"):
        run(study.branched_workflow())
    assert study.executions() == STEPS
    before = study.beside_outputs()
    with pytest.raises(SalvageError) as caught:
        salvage(study.branched_workflow())
    assert study.beside_outputs() == before
    salvaged = delivered()
    assert_names_what_failed(caught.value)
    study.fail()
    run(study.branched_workflow())
    complete = delivered()
    assert study.executions() == Counter(FAILING)
    assert salvaged == {name: data for name, data in complete.items() if name not in LATE}
    assert set(complete) > LATE
    assert not salvage(study.branched_workflow()).sinks
    return salvaged


def assert_names_what_failed(error: SalvageError) -> None:
    """Check that an error names each input that was not delivered, and the crash files."""
    report = error.report
    assert report is not None
    named = {
        (sink.sink, each.field, each.is_partial, failed.node)
        for sink in report.sinks
        for each in sink.undelivered
        for failed in each.failed
    }
    assert named == NAMED
    steps = {_FUNC: "func-sub-02", _RUN: "runs-sub-01-run2"}
    assert {failed.node for failed in report.failed} == set(steps)
    for failed in report.failed:
        assert f"{steps[failed.node]} was to fail" in Path(failed.crash_file).read_text()
        assert failed.crash_file in str(error)
