"""Real workflows for the tests of this folder; functions take the place of tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nipype import Function, IdentityInterface, JoinNode, MapNode, Node, Workflow
from nipype.interfaces.utility import Merge

from nipype_datasink import DataSink

SUBJECTS = ["sub-01", "sub-02"]


def write_bold(subject_id: str) -> str:
    from pathlib import Path

    path = Path(f"{subject_id}_bold.nii.gz").resolve()
    path.write_text(f"bold of {subject_id}")
    return str(path)


def write_pair(name: object) -> tuple[str, str]:
    """Write an image with its companion, and a table."""
    from pathlib import Path

    stem = Path(f"stat{name}").resolve()
    stem.with_suffix(".img").write_text(f"image {name}")
    stem.with_suffix(".hdr").write_text(f"header {name}")
    stem.with_suffix(".tsv").write_text(f"table {name}")
    return str(stem.with_suffix(".img")), str(stem.with_suffix(".tsv"))


def write_report(subject_id: str) -> str:
    from pathlib import Path

    folder = Path("qa").resolve()
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(subject_id)
    (folder / "figures" / "plot.svg").write_text(f"<svg>{subject_id}</svg>")
    return str(folder)


def write_nothing(subject_id: str) -> list[str]:
    return []


def concatenate(files: list[str]) -> str:
    from pathlib import Path

    path = Path("all.txt").resolve()
    path.write_text("".join(Path(each).read_text() for each in sorted(files)))
    return str(path)


def in_folder(subject_id: str) -> str:
    return "subjects/" + subject_id


def first(values: list[str]) -> str:
    return values[0]


def runs_of(subject_id: str) -> list[str]:
    return [f"{subject_id}-{run}" for run in (1, 2)]


def function_node(function: Callable[..., object], *outputs: str, name: str = "") -> Node:
    interface = Function(function=function, output_names=list(outputs) or ["out"])
    return Node(interface, name=name or function.__name__)


def new_workflow(name: str = "wf") -> Workflow:
    workflow = Workflow(name=name, base_dir=str(Path("work").resolve()))
    workflow.config["execution"] = {
        "crashdump_dir": str(Path("crashes").resolve()),
        "poll_sleep_duration": "0.05",
        "stop_on_first_crash": "true",
    }
    return workflow


def subjects_node(values: list[str] | None = None) -> Node:
    node = Node(IdentityInterface(["subject_id"]), name="subjects")
    node.iterables = ("subject_id", values or SUBJECTS)
    return node


def sink_node(name: str = "datasink", **inputs: Any) -> Node:
    inputs.setdefault("base_directory", str(Path("out").resolve()))
    return Node(DataSink(**inputs), name=name)


def bold_workflow(sink: Node | None = None, subjects: list[str] | None = None) -> Workflow:
    """Return a workflow that sinks one file for each subject, the container set by iterables."""
    workflow, sink = new_workflow(), sink or sink_node()
    nodes = subjects_node(subjects), function_node(write_bold, name="preproc")
    workflow.connect(nodes[0], "subject_id", nodes[1], "subject_id")
    workflow.connect(nodes[0], "subject_id", sink, "container")
    workflow.connect(nodes[1], "out", sink, "func")
    return workflow


def nested_workflow(**inputs: Any) -> Workflow:
    """Return a workflow with a nested workflow, MapNode, JoinNodes, a directory and two sinks."""
    workflow, inner = new_workflow(), new_workflow("inner")
    subjects, sink = subjects_node(), sink_node(**inputs)
    group_sink = sink_node("group", **{**inputs, "container": "group"})
    runs = function_node(runs_of, name="runs")
    stats = MapNode(
        Function(function=write_pair, output_names=["image", "table"]),
        iterfield="name",
        name="stats",
    )
    report, nothing = function_node(write_report), function_node(write_nothing)
    bold = function_node(write_bold, name="preproc")
    merged = Node(Merge(2), name="merged")
    joined = JoinNode(
        IdentityInterface(["files"]), joinsource="subjects", joinfield="files", name="joined"
    )
    total = JoinNode(
        Function(function=concatenate, output_names=["out"]),
        joinsource="subjects",
        joinfield="files",
        name="total",
    )
    inner.connect(runs, "out", stats, "name")
    workflow.connect(
        [
            (subjects, inner, [("subject_id", "runs.subject_id")]),
            (subjects, bold, [("subject_id", "subject_id")]),
            (subjects, report, [("subject_id", "subject_id")]),
            (subjects, nothing, [("subject_id", "subject_id")]),
            (subjects, sink, [(("subject_id", in_folder), "container")]),
            (bold, merged, [("out", "in1")]),
            (inner, merged, [(("stats.table", first), "in2")]),
            (inner, sink, [("stats.image", "stats.@image"), ("stats.table", "stats.tables")]),
            (report, sink, [("out", "@qa")]),
            (nothing, sink, [("out", "nothing")]),
            (merged, sink, [("out", "merged")]),
            (bold, joined, [("out", "files")]),
            (bold, total, [("out", "files")]),
            (joined, group_sink, [("files", "bold")]),
            (total, group_sink, [("out", "@total")]),
        ]
    )
    return workflow


def itersource_workflow(**inputs: Any) -> Workflow:
    """Return a workflow with iterables that depend on others, and synchronized ones."""
    workflow, sink = new_workflow(), sink_node(**inputs)
    subjects = subjects_node()
    sessions = Node(IdentityInterface(["subject_id", "session"]), name="sessions")
    sessions.itersource = ("subjects", "subject_id")
    sessions.iterables = [("session", {"sub-01": ["a", "b"], "sub-02": ["c"]})]
    limits = Node(IdentityInterface(["low", "high"]), name="limits")
    limits.iterables = [("low", [1, 2]), ("high", [10, 20])]
    limits.synchronize = True
    bold, pair = (
        function_node(write_bold, name="preproc"),
        function_node(write_pair, "image", "tsv"),
    )
    workflow.connect(
        [
            (subjects, sessions, [("subject_id", "subject_id")]),
            (sessions, bold, [("session", "subject_id")]),
            (limits, pair, [("low", "name")]),
            (sessions, sink, [("subject_id", "container")]),
            (bold, sink, [("out", "bold")]),
            (pair, sink, [("image", "limits.image"), ("tsv", "limits.@tsv")]),
        ]
    )
    return workflow


def make_file(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return str(Path(path).resolve())
