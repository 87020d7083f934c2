"""Salvage delivers what failed workflows have computed, and changes nothing else."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Function, JoinNode, MapNode, Node, Workflow
from nipype.interfaces import io as nipype_io
from nipype.interfaces.utility import Merge

from nipype_datasink import DataSink, SalvageError, SalvageReport, salvage
from nipype_datasink.workflows import crash_files
from nipype_datasink.workflows.salvage import salvage_sinks
from tests.conftest import contents, tree
from tests.workflows.examples import subjects_node
from tests.workflows.failing_study import (
    LATE,
    Files,
    StudyDirectory,
    assert_salvage_delivers_what_is_there,
    in_list,
    snapshot,
)

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


def files(directory: Path) -> Files:
    return {name: data for name, data in tree(directory).items() if data is not None}


@pytest.fixture
def study(workdir: Path) -> StudyDirectory:
    return StudyDirectory(workdir)


def run_and_fail(workflow: Workflow) -> None:
    with pytest.raises(Exception, match=r"was to fail|raised|Error"):
        workflow.run(plugin="Linear")


def test_salvage_delivers_what_a_complete_run_does_less_what_it_names(
    study: StudyDirectory,
) -> None:
    times: dict[str, tuple[int, ...]] = {}

    def delivered() -> Files:
        times.update({**snapshot(study.out), **times})
        return files(study.out)

    assert_salvage_delivers_what_is_there(
        study, lambda workflow: workflow.run(plugin="Linear"), delivered
    )

    now = snapshot(study.out)
    assert {path for path in now if now[path] != times[path]} <= {
        path for path in now if Path(path).is_dir()
    }


def test_objects_are_sent_once(
    workdir: Path, bucket: Bucket, endpoint: str, requests: Counter[str]
) -> None:
    study = StudyDirectory(workdir, "s3://mybucket/out", s3_endpoint_url=endpoint)
    counts: list[int] = []

    def delivered() -> Files:
        counts.append(requests["PutObject"])
        return {name.removeprefix("out/"): data for name, data in contents(bucket).items()}

    salvaged = assert_salvage_delivers_what_is_there(
        study, lambda workflow: workflow.run(plugin="Linear"), delivered
    )

    assert counts == [len(salvaged), len(salvaged) + len(LATE)]


def two_branches(study: StudyDirectory, sink: Node | None = None) -> Workflow:
    """Return a workflow with a sink of two nodes, of which ``bad`` fails."""
    workflow, sink = study.empty_workflow(), sink or study.sink()
    study.fail("bad-x")
    for name in ("good", "bad"):
        node = study.node(name)
        node.inputs.label = "x"
        workflow.connect(node, "out", sink, f"{name}.@out")
    return workflow


def salvaged(workflow: Workflow) -> SalvageReport:
    """Salvage a workflow; check that nothing changes in the working directory."""
    work = Path(workflow.base_dir)
    before = snapshot(work)
    report = salvage_sinks(workflow)
    assert snapshot(work) == before
    return report


def undelivered(report: SalvageReport) -> list[str]:
    return [str(each) for sink in report.sinks for each in sink.undelivered]


@pytest.mark.parametrize("crash_format", ["txt", "pklz"])
def test_newest_crash_file_of_the_node_is_named(study: StudyDirectory, crash_format: str) -> None:
    study.crash_format = crash_format
    workflow = two_branches(study)
    run_and_fail(workflow)
    (older,) = (study.directory / "crashes").iterdir()
    run_and_fail(two_branches(study))
    (newer,) = set((study.directory / "crashes").iterdir()) - {older}
    older.rename(older.with_name(older.name.replace("crash-2", "crash-1")))
    # A node of the same name in another workflow.
    other = newer.name[: -len("00000.") - len(crash_format)] + f"fffff.{crash_format}"
    newer.with_name(other).write_text("Working directory: /other\n")

    (failed,) = salvaged(two_branches(study)).failed

    assert failed.crash_file == str(newer)


def test_node_that_has_not_run_is_named_without_a_crash_file(study: StudyDirectory) -> None:
    workflow = two_branches(study)
    run_and_fail(workflow)
    for path in (study.directory / "crashes").iterdir():
        path.unlink()
    assert str(salvaged(two_branches(study)).failed[0]) == "study/bad did not finish"
    workflow = two_branches(study)
    new = study.node("new")
    workflow.connect(new, "out", workflow.get_node("datasink"), "new")
    assert "study/new has not run" in str(salvaged(workflow))


@pytest.mark.parametrize("rule", ["container", "base_directory", "substitutions"])
def test_sink_with_rules_of_a_failed_node_is_not_salvaged(study: StudyDirectory, rule: str) -> None:
    workflow = two_branches(study)
    workflow.disconnect(workflow.get_node("bad"), "out", workflow.get_node("datasink"), "bad.@out")
    workflow.connect(workflow.get_node("bad"), "out", workflow.get_node("datasink"), rule)
    run_and_fail(workflow)

    (sink,) = salvaged(workflow).sinks

    assert sink.error == f"not salvaged, because {rule} cannot be known"
    assert [each.field for each in sink.undelivered] == [rule]
    assert not study.out.exists()


def test_sink_that_failed_alone_is_delivered_completely(study: StudyDirectory) -> None:
    workflow = two_branches(study)
    study.fail()
    study.out.touch()  # where a directory is needed
    run_and_fail(workflow)
    study.out.unlink()

    report = salvage(two_branches(study))

    assert report.ok
    assert str(report) == "study.datasink: 2 new\n1 sink: 1 complete now; 2 files delivered"
    assert report.delivered == tuple(
        str(study.out / f"{name}/x_{name}.txt") for name in ("good", "bad")
    )
    assert set(files(study.out)) == {"good/x_good.txt", "bad/x_bad.txt"}


def test_failures_of_delivery_are_named(study: StudyDirectory) -> None:
    workflow = two_branches(study)
    study.out.touch()
    run_and_fail(workflow)

    with pytest.raises(SalvageError) as caught:
        salvage(workflow)

    assert f"{study.out} is not a directory" in str(caught.value)


def test_nothing_is_removed_and_no_manifest_is_written(study: StudyDirectory) -> None:
    def build() -> Workflow:
        workflow = two_branches(
            study, study.sink(remove_dest_dir=True, sink_manifest_dir=f"{study.directory}/m")
        )
        folder = Node(Function(function=write_folder, output_names=["out"]), name="folder")
        workflow.connect(folder, "out", workflow.get_node("datasink"), "folder")
        workflow.config["execution"]["datasink_manifest_dir"] = f"{study.directory}/m"
        return workflow

    run_and_fail(build())
    kept = study.out / "folder/folder/kept"
    kept.parent.mkdir(parents=True)
    kept.touch()

    salvaged(build())

    assert set(files(study.out)) == {"folder/folder/kept", "folder/folder/new", "good/x_good.txt"}
    assert not (study.directory / "m").exists()


def write_folder() -> str:
    from pathlib import Path

    folder = Path("folder").resolve()
    folder.mkdir()
    (folder / "new").touch()
    return str(folder)


@pytest.mark.parametrize("mode", ["error", "skip"])
def test_missing_sources_are_errors_unless_they_are_optional(
    study: StudyDirectory, mode: str
) -> None:
    workflow = two_branches(study, study.sink(sink_missing=mode))
    study.fail()
    workflow.get_node("datasink").inputs.none = "/none/a.nii"
    study.out.touch()
    run_and_fail(workflow)
    study.out.unlink()

    report = salvaged(workflow)

    assert report.ok == (mode == "skip")
    assert ("/none/a.nii" in str(report)) == (mode == "error")
    assert len(files(study.out)) == 2


@pytest.mark.parametrize("base", [None, "results"])
def test_sink_that_delivers_into_its_own_directory_is_not_salvaged(
    study: StudyDirectory, base: str | None
) -> None:
    interface = DataSink(base_directory=base) if base else DataSink()
    sink = Node(interface, name="datasink")
    run_and_fail(two_branches(study, sink))

    (done,) = salvaged(two_branches(study, sink)).sinks

    assert "is in the sink's own working directory" in done.error
    assert not done.outcomes


@pytest.mark.parametrize("is_configured", [False, True])
def test_s3_copy_receives_the_same_files_once(
    study: StudyDirectory,
    bucket: Bucket,
    endpoint: str,
    requests: Counter[str],
    is_configured: bool,
) -> None:
    def build() -> Workflow:
        place = {} if is_configured else {"s3_copy": "s3://mybucket/copy"}
        workflow = two_branches(study, study.sink(s3_endpoint_url=endpoint, **place))
        if is_configured:
            option = f"{study.out}=s3://mybucket/copy"
            workflow.config["execution"]["datasink_s3_copy"] = option
        return workflow

    def copied() -> Files:
        return {name.removeprefix("copy/"): data for name, data in contents(bucket).items()}

    run_and_fail(build())
    assert not copied()

    report = salvaged(build())

    assert copied() == files(study.out) == {"good/x_good.txt": b"good-x"}
    assert report.delivered == (
        str(study.out / "good/x_good.txt"),
        "s3://mybucket/copy/good/x_good.txt",
    )
    workflow = build()
    study.fail()
    workflow.run(plugin="Linear")
    assert set(copied()) == {"good/x_good.txt", "bad/x_bad.txt"}
    assert requests["PutObject"] == len(copied())


def first_of(paths: list[str]) -> str:
    return paths[0]


def refuse(path: str) -> str:
    raise ValueError("this function fails")


def test_functions_are_called_with_whole_values_only(study: StudyDirectory) -> None:
    def build() -> Workflow:
        workflow, sink = study.empty_workflow(), study.sink()
        runs = study.node("runs", MapNode, iterfield=["label"])
        runs.inputs.label = ["a", "b"]
        workflow.connect(runs, ("out", first_of), sink, "first")
        workflow.connect(runs, "out", sink, "all")
        good = study.node("good")
        good.inputs.label = "x"
        workflow.connect(good, ("out", refuse), sink, "refused")
        workflow.connect(good, ("out", in_list), sink, "listed")
        return workflow

    study.fail("runs-b")
    run_and_fail(build())

    report = salvaged(build())

    failed = "study/runs/mapflow/_runs1"
    assert undelivered(report) == [
        f"first <- runs.out, because of {failed}",
        f"part of all <- runs.out, because of {failed}",
        "refused <- good.out, because of function refuse failed: ValueError: this function fails",
    ]
    assert set(files(study.out)) == {"all/_runs0/a_runs.txt", "listed/x_good.txt"}


def test_map_node_of_finished_items_counts_as_finished(study: StudyDirectory) -> None:
    workflow, sink = study.empty_workflow(), study.sink()
    runs = study.node("runs", MapNode, iterfield=["label"], nested=True)
    runs.inputs.label = [["a", "b"], ["c"]]
    workflow.connect(runs, ("out", first_of), sink, "first")
    study.out.touch()
    run_and_fail(workflow)
    study.out.unlink()
    (hash_file,) = (study.work / "study/runs").glob("_0x*.json")
    hash_file.unlink()

    assert salvaged(workflow).ok
    assert set(files(study.out)) == {"first/_runs0/a_runs.txt", "first/_runs1/b_runs.txt"}


def test_results_of_other_inputs_are_not_delivered_and_named_so(study: StudyDirectory) -> None:
    workflow = two_branches(study)
    study.fail("good-x", "bad-x")
    run_and_fail(workflow)  # its crash file is older than the result
    run_and_fail(two_branches(study))
    workflow = two_branches(study)
    workflow.get_node("good").inputs.label = "y"

    report = salvaged(workflow)

    assert len(undelivered(report)) == 2
    assert report.delivered == ()
    assert str(report.failed[0]) == (
        "study/good finished, but with other inputs than it has now, or its result cannot be read"
    )


def test_each_crash_file_is_read_once(
    study: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"subject_{number}" for number in range(6)]

    def build() -> Workflow:
        workflow, merged = study.empty_workflow(), Node(Merge(len(names)), name="merged")
        for number, name in enumerate(names, start=1):
            each, bad = Workflow(name=name), study.node("bad")
            bad.inputs.label = "x"
            each.add_nodes([bad])
            workflow.connect(each, "bad.out", merged, f"in{number}")
        for name in ("first", "second"):
            workflow.connect(merged, "out", study.sink(name), "all")
        return workflow

    study.fail("bad-x")
    run_and_fail(build())
    read: list[str] = []
    read_file = crash_files._read_node_directory

    def count(path: str) -> str:
        read.append(path)
        return read_file(path)

    monkeypatch.setattr(crash_files, "_read_node_directory", count)

    report = salvaged(build())

    assert sorted(read) == sorted(map(str, (study.directory / "crashes").iterdir()))
    assert {failed.crash_file for failed in report.failed} == set(read)
    shown = ", ".join(f"study/{name}/bad" for name in names[:4])
    assert undelivered(report) == [f"all <- merged.out, because of {shown}, 2 more"] * 2


def test_result_of_a_node_that_always_runs_counts(study: StudyDirectory) -> None:
    workflow = two_branches(study)
    workflow.get_node("good").overwrite = True
    run_and_fail(workflow)

    assert salvaged(workflow).delivered == (str(study.out / "good/x_good.txt"),)


def test_sink_without_known_items_is_not_salvaged(study: StudyDirectory) -> None:
    def build() -> Workflow:
        sink = MapNode(
            DataSink(infields=["x", "y"], base_directory=str(study.out)),
            iterfield=["x"],
            name="datasink",
        )
        workflow = study.empty_workflow()
        for name, field in (("bad", "x"), ("good", "y")):
            node = study.node(name)
            node.inputs.label = "x"
            workflow.connect(node, ("out", in_list) if field == "x" else "out", sink, field)
        return workflow

    study.fail("bad-x")
    run_and_fail(build())

    (done,) = salvaged(build()).sinks

    assert done.error == "not salvaged, because the number of its items is not known"
    assert not study.out.exists()


def test_items_of_a_sink_that_finished_are_counted(study: StudyDirectory) -> None:
    sink = MapNode(
        DataSink(infields=["x"], base_directory=str(study.out)),
        iterfield=["x", "container"],
        name="s",
    )
    workflow = study.empty_workflow()
    runs = study.node("runs", MapNode, iterfield=["label"])
    runs.inputs.label = sink.inputs.container = ["a", "b"]
    workflow.connect(runs, "out", sink, "x")
    study.out.mkdir()
    (study.out / "b").touch()
    run_and_fail(workflow)
    (study.out / "b").unlink()

    report = salvaged(workflow)

    assert str(report) == (
        "study.s[_s1]: 1 new\n2 sinks: 1 finished before, 1 complete now; 1 file delivered"
    )


def test_join_node_delivers_the_items_that_are_known_in_order(study: StudyDirectory) -> None:
    def build() -> Workflow:
        workflow, subjects, node = (
            study.empty_workflow(),
            subjects_node(["c", "b", "a", "d"]),
            study.node("each"),
        )
        sink = JoinNode(
            DataSink(infields=["x"], base_directory=str(study.out), parameterization=False),
            joinsource="subjects",
            joinfield=["x"],
            name="datasink",
        )
        workflow.connect(subjects, "subject_id", node, "label")
        workflow.connect(node, "out", sink, "x")
        return workflow

    study.fail("each-b", "each-d")
    run_and_fail(build())

    report = salvaged(build())

    failed = "study/_subject_id_b/each, study/_subject_id_d/each"
    assert undelivered(report) == [f"part of x <- each.out, because of {failed}"]
    assert report.delivered == tuple(str(study.out / f"x/{name}_each.txt") for name in "ca")


def test_merged_value_with_gaps_is_not_split_into_items(study: StudyDirectory) -> None:
    def build() -> Workflow:
        workflow = two_branches(study)
        merged = Node(Merge(2), name="merged")
        sink = MapNode(
            DataSink(infields=["x"], base_directory=str(study.out)),
            iterfield=["x", "container"],
            name="items",
        )
        sink.inputs.container = ["bad", "good"]
        workflow.connect(workflow.get_node("bad"), "out", merged, "in1")
        workflow.connect(workflow.get_node("good"), "out", merged, "in2")
        workflow.connect(merged, "out", sink, "x")
        return workflow

    run_and_fail(build())

    report = salvaged(build())

    assert report.delivered == (str(study.out / "good/x_good.txt"),)
    assert {sink.sink for sink in report.sinks if sink.undelivered} == {
        "study.items[_items0]",
        "study.items[_items1]",
        "study.datasink",
    }


def test_sink_of_nipypes_class_in_a_nested_workflow_is_salvaged(study: StudyDirectory) -> None:
    def build() -> Workflow:
        outer, inner = study.empty_workflow(), Workflow(name="inner")
        runs = study.node("runs", MapNode, iterfield=["label"])
        runs.inputs.label = ["a", "b"]
        inner.add_nodes([runs])
        sink = Node(nipype_io.DataSink(base_directory=str(study.out)), name="datasink")
        outer.connect(inner, "runs.out", sink, "x")
        return outer

    study.fail("runs-a")
    run_and_fail(build())

    report = salvaged(build())

    assert undelivered(report) == [
        "part of x <- inner.runs.out, because of study/inner/runs/mapflow/_runs0"
    ]
    assert set(files(study.out)) == {"x/_runs1/b_runs.txt"}


def test_what_cannot_be_salvaged_is_said(study: StudyDirectory) -> None:
    workflow = two_branches(study)
    with pytest.raises(SalvageError, match="work/study does not exist"):
        salvage(workflow)
    workflow.base_dir = None
    with pytest.raises(SalvageError, match="no base_dir"):
        salvage(workflow)
    with pytest.raises(SalvageError, match="this is a DataSink"):
        salvage(DataSink())


def test_report_and_error_can_be_sent_and_shown(study: StudyDirectory) -> None:
    run_and_fail(two_branches(study))
    with pytest.raises(SalvageError) as caught:
        salvage(two_branches(study))

    error = pickle.loads(pickle.dumps(caught.value))

    assert str(error).splitlines()[0] == str(error).splitlines()[-1]
    report = error.report
    assert str(report) == str(caught.value.report)
    assert [outcome.transfer.destination for outcome in error.outcomes] == list(report.delivered)
    assert "&lt;- bad.out" in report._repr_html_()
    values: dict[str, Any] = json.loads(json.dumps(report.as_json()))
    assert values["ok"] is False
    assert values["failed"] == [
        {
            "node": "study/bad",
            "crash_file": report.failed[0].crash_file,
            "has_run": True,
            "has_old_result": False,
        }
    ]
    (sink,) = values["sinks"]
    assert sink["files"] == [{"destination": str(study.out / "good/x_good.txt"), "status": "new"}]
    assert [each["failed"] for each in sink["undelivered"]] == [["study/bad"]]
