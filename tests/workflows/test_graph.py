"""Test what is known of each sink of a workflow before it runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from nipype import IdentityInterface, JoinNode, MapNode, Node, Workflow
from nipype.interfaces import io as nipype_io
from nipype.interfaces.base import (
    BaseInterface,
    BaseInterfaceInputSpec,
    Directory,
    File,
    TraitedSpec,
    isdefined,
)
from nipype.interfaces.utility import Merge

from nipype_datasink import DataSink
from nipype_datasink.configuration import read_options
from nipype_datasink.workflows.graph import sink_runs
from nipype_datasink.workflows.origins import Origin
from nipype_datasink.workflows.sink_run import SinkRun
from tests.conftest import tree
from tests.workflows.examples import (
    SUBJECTS,
    bold_workflow,
    first,
    function_node,
    in_folder,
    itersource_workflow,
    nested_workflow,
    new_workflow,
    runs_of,
    sink_node,
    subjects_node,
    write_bold,
    write_pair,
)


def fields(run: SinkRun) -> dict[str, Any]:
    values = run.interface.inputs._outputs
    return {name: value for name, value in values.items() if isdefined(value)}


def sources(run: SinkRun) -> dict[str, list[str]]:
    return {name: [each.name for each in found] for name, found in run.connections.items()}


def test_runs_are_named_by_their_iterables(workdir: Path) -> None:
    runs = list(sink_runs(bold_workflow()))

    assert [str(run) for run in runs] == [
        "wf.datasink[subject_id=sub-01]",
        "wf.datasink[subject_id=sub-02]",
    ]
    assert [run.interface.inputs.container for run in runs] == SUBJECTS
    assert [sources(run) for run in runs] == [{"func": ["preproc.out"]}] * 2
    assert runs[0].directory == str(workdir / "work/wf/_subject_id_sub-01/datasink")


def test_itersource_and_synchronize_name_every_run(workdir: Path) -> None:
    names = [run.label for run in sink_runs(itersource_workflow())]

    assert names == [
        f"subject_id={subject},high={high},low={low},session={session}"
        for subject, sessions in [("sub-01", "ab"), ("sub-02", "c")]
        for low, high in [(1, 10), (2, 20)]
        for session in sessions
    ]


def test_more_than_ten_runs_are_in_the_order_of_their_iterables(workdir: Path) -> None:
    subjects = [f"s{number}" for number in range(12)]

    assert [run.interface.inputs.container for run in sink_runs(bold_workflow(None, subjects))] == (
        subjects
    )


def test_sinks_are_in_the_order_of_the_graph(workdir: Path) -> None:
    workflow, bold = new_workflow(), function_node(write_bold)
    raw, copies = sink_node("raw"), sink_node("copies")
    workflow.connect(raw, "out_file", copies, "x")
    workflow.connect(bold, "out", raw, "x")

    assert [run.name for run in sink_runs(workflow)] == ["wf.raw", "wf.copies"]


def test_functions_of_connections_are_evaluated_for_known_values(workdir: Path) -> None:
    runs = list(sink_runs(nested_workflow()))

    assert [run.interface.inputs.container for run in runs] == [
        "group",
        "subjects/sub-01",
        "subjects/sub-02",
    ]


def test_nested_nodes_are_named_with_their_workflow(workdir: Path) -> None:
    _, run, _ = sink_runs(nested_workflow())

    assert run.unknown["stats.tables"][0].name == "inner.stats.table"
    assert run.unknown["stats.tables"][0].origins == {
        Origin(str(workdir / "work/wf/inner/_subject_id_sub-01/stats"), has_folders=True)
    }


def test_merged_and_joined_outputs_lie_where_other_nodes_wrote_them(workdir: Path) -> None:
    group, first_run, _ = sink_runs(nested_workflow())

    assert first_run.unknown["merged"][0].origins == {
        Origin(str(workdir / "work/wf/_subject_id_sub-01/preproc")),
        Origin(str(workdir / "work/wf/inner/_subject_id_sub-01/stats"), has_folders=True),
    }
    assert group.unknown["bold"][0].origins == {
        Origin(str(workdir / f"work/wf/_subject_id_{subject}/preproc")) for subject in SUBJECTS
    }
    assert group.unknown["@total"][0].origins == {Origin(str(workdir / "work/wf/total"))}


def test_outputs_of_data_grabbers_lie_elsewhere(workdir: Path) -> None:
    workflow, sink = new_workflow(), sink_node()
    grabber = Node(nipype_io.SelectFiles({"anat": "*.nii"}), name="grabber")
    workflow.connect(grabber, "anat", sink, "anat")

    (run,) = sink_runs(workflow)

    directory = str(workdir / "work/wf/grabber")
    assert run.unknown["anat"][0].origins == {Origin(None, has_folders=True, node=directory)}


class FolderOutputSpec(TraitedSpec):
    folder = Directory()
    table = File()


class Folder(BaseInterface):
    output_spec = FolderOutputSpec
    input_spec = BaseInterfaceInputSpec


def test_directories_are_outputs_with_folders(workdir: Path) -> None:
    workflow, sink, node = new_workflow(), sink_node(), Node(Folder(), name="node")
    workflow.connect([(node, sink, [("folder", "folder"), ("table", "table")])])

    (run,) = sink_runs(workflow)

    directory = str(workdir / "work/wf/node")
    assert run.unknown["folder"][0].origins == {Origin(directory, has_folders=True)}
    assert run.unknown["table"][0].origins == {Origin(directory)}


def test_values_of_merged_inputs_lie_elsewhere(workdir: Path) -> None:
    workflow, sink, merged = new_workflow(), sink_node(), Node(Merge(2), name="merged")
    merged.inputs.in1 = "/a"
    workflow.connect(function_node(write_bold, name="preproc"), "out", merged, "in2")
    workflow.connect(merged, "out", sink, "x")

    (run,) = sink_runs(workflow)

    assert run.unknown["x"][0].origins == {
        Origin(None, has_folders=True, node=str(workdir / "work/wf/merged")),
        Origin(str(workdir / "work/wf/preproc")),
    }


@pytest.fixture
def finished(workdir: Path) -> Workflow:
    """A workflow that has run; its sink delivers nothing new in the next run."""
    workflow = nested_workflow()
    workflow.run(plugin="Linear")
    return workflow


def test_results_of_finished_nodes_are_known(finished: Workflow) -> None:
    before = tree(Path("work"))
    runs = list(sink_runs(finished))

    assert [run.unknown for run in runs] == [{}, {}, {}]
    assert fields(runs[2])["stats.tables"] == [
        str(Path(f"work/wf/inner/_subject_id_sub-02/stats/mapflow/_stats{item}").resolve())
        + f"/statsub-02-{item + 1}.tsv"
        for item in (0, 1)
    ]
    assert [Path(each).name for each in fields(runs[0])["bold"]] == [
        "sub-01_bold.nii.gz",
        "sub-02_bold.nii.gz",
    ]
    assert tree(Path("work")) == before


def test_results_of_nodes_with_other_inputs_are_not_known(finished: Workflow) -> None:
    before = tree(Path("work"))
    finished.get_node("preproc").interface.inputs.function_str = function_node(
        write_bold_again
    ).inputs.function_str
    unknown = [set(run.unknown) for run in sink_runs(finished)]

    assert unknown == [{"bold", "@total"}, {"merged"}, {"merged"}]
    assert tree(Path("work")) == before


def write_bold_again(subject_id: str) -> str:
    from pathlib import Path

    path = Path(f"{subject_id}_other.nii.gz").resolve()
    path.touch()
    return str(path)


@pytest.mark.parametrize("damage", ["unfinished", "no-hash", "truncated", "overwrite"])
def test_results_that_nipype_would_not_use_are_not_known(finished: Workflow, damage: str) -> None:
    directory = Path("work/wf/_subject_id_sub-01/write_report")
    (hash_file,) = directory.glob("_0x*.json")
    if damage == "unfinished":
        hash_file.rename(directory / f"{hash_file.stem}_unfinished.json")
    elif damage == "no-hash":
        hash_file.unlink()
    elif damage == "truncated":
        (directory / "result_write_report.pklz").write_bytes(b"")
    else:
        finished.get_node("write_report").overwrite = True

    _, damaged, other = sink_runs(finished)
    assert set(damaged.unknown) == {"@qa"}
    assert set(other.unknown) == ({"@qa"} if damage == "overwrite" else set())


def test_workflow_runs_afterwards_as_without(workdir: Path) -> None:
    workflow = nested_workflow()
    inputs = [repr(node.inputs) for node in workflow._get_all_nodes()]
    iterables = workflow.get_node("subjects").iterables
    list(sink_runs(workflow))

    assert tree(workdir) == {}
    assert [repr(node.inputs) for node in workflow._get_all_nodes()] == inputs
    assert workflow.get_node("subjects").iterables == iterables
    workflow.run(plugin="Linear")
    with_plan = tree(Path("out"))
    Path("out").rename("first")
    nested_workflow().run(plugin="Linear")
    assert tree(Path("out")) == with_plan


def test_items_of_a_map_node_are_runs(workdir: Path) -> None:
    sink = MapNode(
        DataSink(infields=["x"], base_directory="/out"), iterfield=["x", "container"], name="sink"
    )
    sink.inputs.container = ["a", "b"]
    workflow, bold = new_workflow(), function_node(write_bold)
    workflow.connect(bold, "out", sink, "x")

    runs = list(sink_runs(workflow))

    assert [str(run) for run in runs] == ["wf.sink[_sink0]", "wf.sink[_sink1]"]
    assert [run.interface.inputs.container for run in runs] == ["a", "b"]
    assert [set(run.unknown) for run in runs] == [{"x"}, {"x"}]
    assert runs[1].directory == str(workdir / "work/wf/sink/mapflow/_sink1")


def test_join_node_has_several_connections_for_one_input(workdir: Path) -> None:
    sink = JoinNode(
        DataSink(infields=["x"], base_directory="/out"),
        joinsource="subjects",
        joinfield=["x"],
        name="sink",
    )
    workflow, bold = new_workflow(), function_node(write_bold, name="preproc")
    subjects = subjects_node()
    workflow.connect(
        [(subjects, bold, [("subject_id", "subject_id")]), (bold, sink, [("out", "x")])]
    )

    (run,) = sink_runs(workflow)

    assert [each.node.output_dir() for each in run.unknown["x"]] == [
        str(workdir / f"work/wf/_subject_id_{subject}/preproc") for subject in SUBJECTS
    ]


class Renaming(nipype_io.DataSink):
    def _get_dst(self, src: str) -> str:
        return f"renamed/{Path(src).name}/{self.inputs.container}"


@pytest.mark.parametrize("kind", [nipype_io.DataSink, Renaming])
def test_sinks_of_nipypes_class_are_seen_as_ours(workdir: Path, kind: type[Any]) -> None:
    sink = Node(kind(base_directory="/out", parameterization=False, anat="/a/t1.nii"), name="sink")
    sink.inputs.substitutions = [("a", "b")]
    sink.inputs.scan = "/a/scan.nii"
    (run, _) = sink_runs(bold_workflow(sink))

    assert isinstance(run.interface, DataSink)
    assert fields(run) == {"anat": "/a/t1.nii", "scan": "/a/scan.nii"}
    assert run.interface.inputs.base_directory == "/out"
    assert run.interface.inputs.parameterization is False
    assert run.interface.inputs.substitutions == [("a", "b")]
    expected = "renamed/t1.nii/sub-01" if kind is Renaming else "t1.nii"
    assert run.interface._get_dst("/a/t1.nii") == expected


def test_configuration_of_the_workflow_reaches_its_sinks(workdir: Path) -> None:
    workflow = bold_workflow()
    workflow.config["execution"]["datasink_s3_profile"] = "lab"

    run = next(sink_runs(workflow))

    assert read_options(run.interface.inputs, ["s3_profile"]) == {"s3_profile": "lab"}


def test_a_node_and_a_sink_have_one_run(workdir: Path) -> None:
    node = sink_node(container="a", anat="/a.nii")

    (run,) = sink_runs(node)
    assert (str(run), fields(run)) == ("datasink", {"anat": "/a.nii"})
    (run,) = sink_runs(node.interface)
    assert (str(run), run.directory) == ("DataSink", str(workdir))


def test_other_objects_are_rejected() -> None:
    with pytest.raises(TypeError, match="not a workflow"):
        list(sink_runs("wf"))


def test_workflow_without_base_directory_leaves_no_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(workdir / "tmp"))
    workflow = bold_workflow()
    workflow.base_dir = None

    assert len(list(sink_runs(workflow))) == 2
    assert tree(workdir) == {"tmp": None}


def test_node_without_base_directory_leaves_no_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(workdir))
    monkeypatch.setattr(tempfile, "tempdir", None)
    node = sink_node(base_directory="out", anat="t1.nii")

    (run,) = sink_runs(node)

    assert run.directory.startswith(str(workdir))
    assert tree(workdir) == {}
    assert node.base_dir is None


def test_known_items_of_joined_identities_are_values(workdir: Path) -> None:
    workflow, sink, subjects = new_workflow(), sink_node(), subjects_node()
    joined = JoinNode(
        IdentityInterface(["names"]), joinsource="subjects", joinfield="names", name="joined"
    )
    pair = function_node(write_pair, "image", "tsv")
    workflow.connect(subjects, ("subject_id", in_folder), joined, "names")
    workflow.connect(joined, ("names", first), sink, "container")
    workflow.connect(joined, "names", pair, "name")
    workflow.connect(pair, "tsv", sink, "tsv")

    (run,) = sink_runs(workflow)

    assert run.interface.inputs.container == "subjects/sub-01"
    assert run.connections["container"][0].is_known


def test_known_fields_of_a_joined_identity_are_values(workdir: Path) -> None:
    workflow, sink = bold_workflow(), sink_node("group")
    joined = JoinNode(
        IdentityInterface(["files", "names"]),
        joinsource="subjects",
        joinfield=["files", "names"],
        name="joined",
    )
    workflow.connect(workflow.get_node("subjects"), "subject_id", joined, "names")
    workflow.connect(workflow.get_node("preproc"), "out", joined, "files")
    workflow.connect(joined, ("names", first), sink, "container")
    workflow.connect(joined, "files", sink, "func")

    *_, run = sink_runs(workflow)

    assert run.interface.inputs.container == "sub-01"
    assert list(run.unknown) == ["func"]


def test_join_node_without_items_gets_nothing(workdir: Path) -> None:
    def build() -> Workflow:
        workflow = bold_workflow()
        alone = function_node(write_bold, name="alone")
        alone.inputs.subject_id = "sub-03"
        passing = JoinNode(
            IdentityInterface(["x"]), joinsource="subjects", joinfield="x", name="passing"
        )
        interface = DataSink(infields=["func"], base_directory=str(workdir / "out"))
        group = JoinNode(interface, joinsource="subjects", joinfield="func", name="group")
        workflow.connect(alone, "out", group, "func")
        workflow.connect(alone, "out", passing, "x")
        workflow.connect(passing, "x", group, "@x")
        return workflow

    planned = {run.name: run for run in sink_runs(build())}["wf.group"]
    graph = build().run(plugin="Linear")

    (ran,) = [node for node in graph if node.name.startswith("group")]
    assert not any(ran.result.outputs.out_file)
    assert planned.unknown == {}
    assert fields(planned) == {"func": []}


def take_last(values: list[str]) -> str:
    return values.pop()


def test_functions_get_their_own_copy_of_a_result(workdir: Path) -> None:
    workflow, runs, sink = new_workflow(), function_node(runs_of, name="runs"), sink_node()
    runs.inputs.subject_id = "sub-01"
    workflow.connect(runs, ("out", take_last), sink, "@a")
    workflow.connect(runs, ("out", take_last), sink, "@b")
    workflow.run(plugin="Linear")

    (run,) = sink_runs(workflow)

    assert fields(run) == {"@a": "sub-01-2", "@b": "sub-01-2"}
