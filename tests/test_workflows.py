"""Test sinks in real nipype workflows, in this process and in workers."""

from __future__ import annotations

import gc
import gzip
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import getsource, signature
from itertools import chain
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import boto3
import pytest
from botocore.exceptions import ClientError
from nipype import Function, IdentityInterface, JoinNode, MapNode, Node, Workflow
from nipype.interfaces import io as nipype_io

import nipype_datasink.io
from nipype_datasink import DataSink, S3Error
from tests.conftest import contents, tree
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

SUBJECTS = ["sub001", "sub002"]

PLUGINS: dict[str, dict[str, Any]] = {
    "linear": {"plugin": "Linear"},
    "multiproc": {"plugin": "MultiProc", "plugin_args": {"n_procs": 2}},
}

Run = Callable[[Workflow], Any]
MakeSink = Callable[[Any], Node]


def motion_of(subject_id: str) -> str:
    from pathlib import Path

    path = Path(f"{subject_id}.par").resolve()
    path.write_text(f"motion of {subject_id}")
    return str(path)


def copy_of(in_file: str) -> str:
    import shutil
    from pathlib import Path

    return str(Path(shutil.copy(in_file, ".")).resolve())


def report_of(subject_id: str) -> str:
    from pathlib import Path

    folder = Path("qa").resolve()
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(subject_id)
    (folder / "figures" / "plot.svg").write_text(f"<svg>{subject_id}</svg>")
    return str(folder)


def rules_of(subject_id: str) -> list[tuple[str, str]]:
    return [(subject_id + ".par", "realigned.par")]


def directory_of(subject_id: str) -> str:
    from pathlib import Path

    return str(Path("..").resolve().parents[1] / "places" / subject_id)


def function_node(function: Callable[..., object], **inputs: object) -> Node:
    node = Node(Function(function=function, output_names=["out"]), name=function.__name__)
    node.inputs.trait_set(**inputs)
    return node


def identity_node(**values: Any) -> Node:
    return Node(IdentityInterface(list(values), **values), name="given")


def make_workflow() -> Workflow:
    workflow = Workflow(name="study", base_dir=str(Path("work").resolve()))
    workflow.config["execution"] = {
        "crashdump_dir": str(Path("crashes").resolve()),
        "poll_sleep_duration": "0.05",
    }
    return workflow


def subjects_node(**iterables: Any) -> Node:
    iterables = {"subject_id": SUBJECTS, **iterables}
    subjects = Node(IdentityInterface(list(iterables)), name="inputnode")
    subjects.iterables = list(iterables.items())
    return subjects


def motion_workflow(sink: Node, **iterables: Any) -> Workflow:
    """Return a workflow that sinks one file of each subject into a container of that name."""
    workflow = make_workflow()
    subjects, motion = subjects_node(**iterables), function_node(motion_of)
    workflow.connect(subjects, "subject_id", motion, "subject_id")
    workflow.connect(subjects, "subject_id", sink, "container")
    workflow.connect(motion, "out", sink, "motion")
    return workflow


def local_sink(**inputs: Any) -> Node:
    inputs.setdefault("base_directory", str(Path("out").resolve()))
    return Node(DataSink(**inputs), name="datasink")


def out_files(graph: Any) -> dict[str, list[str]]:
    """Return ``out_file`` of every sink that ran, by the name of its iterable."""
    return {node.itername: node.result.outputs.out_file for node in graph if "sink" in node.name}


def all_out_files(graph: Any) -> list[str]:
    return sorted(chain.from_iterable(out_files(graph).values()))


MOTION = {
    f"{subject}/motion/_subject_id_{subject}/{subject}.par": f"motion of {subject}".encode()
    for subject in SUBJECTS
}


def files(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(directory).items() if data is not None}


@pytest.fixture(params=list(PLUGINS.values()), ids=list(PLUGINS))
def run(request: pytest.FixtureRequest, workdir: Path) -> Run:
    def run(workflow: Workflow) -> Any:
        return workflow.run(**request.param)

    return run


@pytest.fixture
def linear(workdir: Path) -> Run:
    def run(workflow: Workflow) -> Any:
        return workflow.run(**PLUGINS["linear"])

    return run


@pytest.fixture
def writes(bucket: Bucket) -> Iterator[Callable[[], Counter[str]]]:
    """A function that returns how often each object was written, by any process."""
    bucket.Versioning().enable()
    yield lambda: Counter(version.key for version in bucket.object_versions.all())
    bucket.object_versions.all().delete()


# Destinations.


def test_iterables_set_the_container(run: Run) -> None:
    graph = run(motion_workflow(local_sink()))

    assert files(Path("out")) == MOTION
    assert all_out_files(graph) == [str(Path("out").resolve() / name) for name in MOTION]


def test_several_iterables_make_nested_folders(linear: Run) -> None:
    linear(motion_workflow(local_sink(), session=[1, 2]))

    assert set(files(Path("out"))) == {
        f"{name}/motion/_session_{session}_subject_id_{name}/{name}.par"
        for name in SUBJECTS
        for session in (1, 2)
    }


def test_without_parameterization_no_folder_is_added(linear: Run) -> None:
    linear(motion_workflow(local_sink(parameterization=False)))

    assert set(files(Path("out"))) == {f"{name}/motion/{name}.par" for name in SUBJECTS}


def mapped_motion() -> MapNode:
    node = MapNode(
        Function(function=motion_of, output_names=["out"]), iterfield="subject_id", name="mapped"
    )
    node.inputs.subject_id = SUBJECTS
    return node


def test_list_of_a_mapnode_is_sunk_in_order(run: Run) -> None:
    workflow, sink = make_workflow(), local_sink()
    workflow.connect(mapped_motion(), "out", sink, "motion.@par")

    graph = run(workflow)

    places = [f"motion/_mapped{index}/{name}.par" for index, name in enumerate(SUBJECTS)]
    assert list(out_files(graph).values()) == [[str(Path("out").resolve() / p) for p in places]]
    assert set(files(Path("out"))) == set(places)


def mapnode_sink(**inputs: Any) -> MapNode:
    sink = MapNode(
        DataSink(infields=["motion"], **inputs), iterfield=["container", "motion"], name="datasink"
    )
    sink.inputs.container = SUBJECTS
    return sink


def test_a_mapnode_of_sinks_has_a_container_for_each(run: Run) -> None:
    workflow = make_workflow()
    sink = mapnode_sink(base_directory=str(Path("out").resolve()))
    workflow.connect(mapped_motion(), "out", sink, "motion")

    graph = run(workflow)

    places = [f"{name}/motion/_mapped{index}/{name}.par" for index, name in enumerate(SUBJECTS)]
    assert list(out_files(graph).values()) == [[[str(Path("out").resolve() / p)] for p in places]]
    assert set(files(Path("out"))) == set(places)


def test_a_joined_list_is_sunk_by_one_sink(linear: Run) -> None:
    workflow, sink = make_workflow(), local_sink(parameterization=False)
    subjects, motion = subjects_node(), function_node(motion_of)
    join = JoinNode(
        IdentityInterface(["motion"]), joinsource="inputnode", joinfield="motion", name="join"
    )
    workflow.connect(subjects, "subject_id", motion, "subject_id")
    workflow.connect(motion, "out", join, "motion")
    workflow.connect(join, "motion", sink, "motion")

    linear(workflow)

    assert set(files(Path("out"))) == {"motion/sub001.par", "motion/sub002.par"}


def joining_sink(**inputs: Any) -> JoinNode:
    return JoinNode(
        DataSink(infields=["motion"], **inputs),
        joinsource="inputnode",
        joinfield="motion",
        name="datasink",
    )


def joined_workflow(sink: JoinNode) -> Workflow:
    workflow = make_workflow()
    subjects, motion = subjects_node(), function_node(motion_of)
    workflow.connect(subjects, "subject_id", motion, "subject_id")
    workflow.connect(motion, "out", sink, "motion")
    return workflow


def test_a_joinnode_can_be_the_sink(run: Run) -> None:
    graph = run(joined_workflow(joining_sink(base_directory=str(Path("out").resolve()))))

    places = [f"motion/_subject_id_{name}/{name}.par" for name in SUBJECTS]
    assert list(out_files(graph).values()) == [[str(Path("out").resolve() / p) for p in places]]
    assert set(files(Path("out"))) == set(places)


def test_the_base_directory_can_be_connected(linear: Run) -> None:
    workflow = motion_workflow(Node(DataSink(), name="datasink"))
    place = function_node(directory_of)
    workflow.connect(workflow.get_node("inputnode"), "subject_id", place, "subject_id")
    workflow.connect(place, "out", workflow.get_node("datasink"), "base_directory")

    linear(workflow)

    assert {name.partition("/")[0] for name in files(next(Path().rglob("places")))} == set(SUBJECTS)


# Substitutions.


def assigned(sink: Node) -> None:
    sink.inputs.substitutions = [("_subject_id_", ""), (".par", ".txt")]


def appended(sink: Node) -> None:
    sink.inputs.substitutions = [("_subject_id_", "")]
    sink.inputs.substitutions.append((".par", ".txt"))


def added(sink: Node) -> None:
    sink.inputs.substitutions = [("_subject_id_", "")]
    sink.inputs.substitutions += [(".par", ".txt")]


def regular(sink: Node) -> None:
    sink.inputs.substitutions = [(".par", ".txt")]
    sink.inputs.regexp_substitutions = [(r"_subject_id_(sub\d+)", r"\1")]


@pytest.mark.parametrize("set_rules", [assigned, appended, added, regular])
def test_substitutions_set_on_the_node_are_applied(
    linear: Run, set_rules: Callable[[Node], None]
) -> None:
    sink = local_sink()
    set_rules(sink)

    linear(motion_workflow(sink))

    assert set(files(Path("out"))) == {f"{name}/motion/{name}/{name}.txt" for name in SUBJECTS}


def test_substitutions_can_be_connected(linear: Run) -> None:
    workflow = motion_workflow(local_sink(parameterization=False))
    rules = function_node(rules_of)
    workflow.connect(workflow.get_node("inputnode"), "subject_id", rules, "subject_id")
    workflow.connect(rules, "out", workflow.get_node("datasink"), "substitutions")

    linear(workflow)

    assert set(files(Path("out"))) == {f"{name}/motion/realigned.par" for name in SUBJECTS}


# Comparison with nipype's class.


def full_workflow(sink_class: type) -> Workflow:
    sink = Node(sink_class(), name="datasink")
    sink.inputs.base_directory = str(Path("out").resolve())
    sink.inputs.substitutions = [("qa", "quality")]
    sink.inputs.regexp_substitutions = [(r"_subject_id_sub0*", "run-")]
    workflow = motion_workflow(sink)
    report, subjects = function_node(report_of), workflow.get_node("inputnode")
    workflow.connect(subjects, "subject_id", report, "subject_id")
    workflow.connect(report, "out", sink, "@qa")
    workflow.connect(mapped_motion(), "out", sink, "mapped.deep")
    workflow.connect(workflow.get_node("motion_of"), "out", sink, "motion.@par")
    return workflow


def run_full_workflow(sink_class: type, run: Run) -> tuple[object, object]:
    for name in ("work", "out"):
        shutil.rmtree(name, ignore_errors=True)
    graph = run(full_workflow(sink_class))
    return out_files(graph), tree(Path("out"))


def test_tree_equals_that_of_nipype(run: Run) -> None:
    ours = run_full_workflow(DataSink, run)
    theirs = run_full_workflow(nipype_io.DataSink, run)

    assert ours == theirs
    assert len(files(Path("out"))) == 10


# Second runs.


def copying_workflow(sink: Node) -> Workflow:
    """Return a workflow of two nodes that each copy a file of the working directory."""
    workflow = make_workflow()
    for name in ("a", "b"):
        path = Path(f"{name}.nii").resolve()
        path.write_text(name)
        node = Node(Function(function=copy_of, output_names=["out"]), name=f"copy_{name}")
        node.inputs.in_file = str(path)
        workflow.connect(node, "out", sink, name)
    return workflow


def s3_sink(endpoint: str, **inputs: Any) -> Node:
    return Node(
        DataSink(base_directory="s3://mybucket/out", s3_endpoint_url=endpoint, **inputs),
        name="datasink",
    )


def test_a_second_run_changes_nothing_on_disk(linear: Run) -> None:
    first = out_files(linear(motion_workflow(local_sink())))
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}

    second = out_files(linear(motion_workflow(local_sink())))

    assert second == first
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before


def test_a_second_run_sends_nothing(
    run: Run, endpoint: str, writes: Callable[[], Counter[str]]
) -> None:
    first = out_files(run(motion_workflow(s3_sink(endpoint))))
    second = out_files(run(motion_workflow(s3_sink(endpoint))))

    assert second == first
    assert writes() == {f"out/{name}": 1 for name in MOTION}


def test_only_files_that_depend_on_a_changed_input_are_sent_again(
    linear: Run, endpoint: str, bucket: Bucket, writes: Callable[[], Counter[str]]
) -> None:
    workflow = copying_workflow(s3_sink(endpoint))
    linear(workflow)
    Path("other").mkdir()
    changed = Path("other/a.nii").resolve()
    changed.write_text("A")

    workflow.get_node("copy_a").inputs.in_file = str(changed)
    linear(workflow)

    assert writes() == {"out/a/a.nii": 2, "out/b/b.nii": 1}
    assert contents(bucket) == {"out/a/a.nii": b"A", "out/b/b.nii": b"b"}


def test_a_changed_input_replaces_the_file_on_disk(linear: Run) -> None:
    workflow = copying_workflow(local_sink())
    linear(workflow)
    Path("other").mkdir()
    changed = Path("other/a.nii").resolve()
    changed.write_text("A")

    workflow.get_node("copy_a").inputs.in_file = str(changed)
    linear(workflow)

    assert files(Path("out")) == {"a/a.nii": b"A", "b/b.nii": b"b"}


def test_sink_without_force_run_uses_its_cached_result(run: Run) -> None:
    workflow = copying_workflow(local_sink(force_run=False))
    first = out_files(run(workflow))
    shutil.rmtree("out")

    second = out_files(run(workflow))

    assert second == first
    assert not Path("out").exists()


@pytest.mark.parametrize("kind", [Node, MapNode, JoinNode])
def test_sink_without_force_run_ignores_another_bucket_of_the_same_name(
    linear: Run, bucket: Bucket, requests: Counter[str], kind: type
) -> None:
    again = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1").resource(
        "s3", endpoint_url=bucket.meta.client.meta.endpoint_url
    )
    make = {Node: injected_node, MapNode: injected_mapnode, JoinNode: injected_joinnode}[kind]
    first = out_files(linear(make(bucket, force_run=False)))
    assert requests["PutObject"] == 2
    requests.clear()

    second = out_files(linear(make(again.Bucket("mybucket"), force_run=False)))

    assert second == first
    assert not requests


def test_sink_without_force_run_ignores_another_fake_of_the_same_name(linear: Run) -> None:
    fakes = FakeBucket(), FakeBucket()

    for fake in fakes:
        linear(injected_node(fake, force_run=False))

    assert [len(fake.uploaded) for fake in fakes] == [2, 0]


def test_forced_sink_restores_removed_files(linear: Run) -> None:
    workflow = copying_workflow(local_sink())
    linear(workflow)
    shutil.rmtree("out")

    linear(workflow)

    assert set(files(Path("out"))) == {"a/a.nii", "b/b.nii"}


def test_lost_result_file_is_restored_without_a_run(linear: Run) -> None:
    workflow = copying_workflow(local_sink(force_run=False))
    first = out_files(linear(workflow))
    Path("work/study/datasink/result_datasink.pklz").unlink()

    assert out_files(linear(workflow)) == first


def test_downstream_nodes_get_the_list_of_files(run: Run) -> None:
    workflow = copying_workflow(local_sink())
    joined = function_node(joined_names)
    workflow.connect(workflow.get_node("datasink"), "out_file", joined, "paths")

    graph = run(workflow)

    result = next(node.result for node in graph if node.name == "joined_names")
    assert result.outputs.out == "a/a.nii b/b.nii"


def joined_names(paths: list[str]) -> str:
    return " ".join(path.split("/out/")[1] for path in paths)


# S3.


@pytest.mark.needs("AES256")
def test_workers_use_the_credentials_of_the_environment(
    run: Run, endpoint: str, bucket: Bucket
) -> None:
    graph = run(motion_workflow(s3_sink(endpoint, encrypt_bucket_keys=True)))

    assert contents(bucket) == {f"out/{name}": data for name, data in MOTION.items()}
    assert {item.Object().server_side_encryption for item in bucket.objects.all()} == {"AES256"}
    assert all_out_files(graph) == [f"s3://mybucket/out/{n}" for n in MOTION]


def injected_node(bucket: object, **options: Any) -> Workflow:
    sink = DataSink(bucket=bucket, base_directory=S3, **options)
    return motion_workflow(Node(sink, name="datasink"))


def injected_later(bucket: object) -> Workflow:
    sink = Node(DataSink(), name="datasink")
    sink.inputs.base_directory = S3
    workflow = motion_workflow(sink)
    sink.inputs.bucket = bucket
    return workflow


def injected_mapnode(bucket: object, **options: Any) -> Workflow:
    workflow = make_workflow()
    sink = mapnode_sink(base_directory=S3, **options)
    sink.inputs.bucket = bucket
    workflow.connect(mapped_motion(), "out", sink, "motion")
    return workflow


def injected_joinnode(bucket: object, **options: Any) -> Workflow:
    sink = joining_sink(base_directory=S3, **options)
    sink.inputs.bucket = bucket
    return joined_workflow(sink)


S3 = "s3://mybucket/out"
INJECTED: dict[str, Callable[[object], Workflow]] = {
    "node": injected_node,
    "set-later": injected_later,
    "mapnode": injected_mapnode,
    "joinnode": injected_joinnode,
}


@pytest.mark.parametrize("make", INJECTED.values(), ids=INJECTED)
def test_an_injected_bucket_needs_no_credentials_of_the_environment(
    run: Run, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, make: Callable[[object], Workflow]
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    graph = run(make(bucket))

    assert sorted(contents(bucket).values()) == [b"motion of sub001", b"motion of sub002"]
    keys = re.findall(r"s3://mybucket/([^']+)'", repr(out_files(graph)))
    assert sorted(keys) == sorted(contents(bucket))


@pytest.mark.parametrize("make", INJECTED.values(), ids=INJECTED)
def test_an_injected_bucket_leaves_no_secret_on_disk(
    linear: Run, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, make: Callable[[object], Workflow]
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    linear(make(bucket))

    written = [path for path in Path("work").rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if SECRET_KEY.encode() in read(path)] == []


def read(path: Path) -> bytes:
    """Return the bytes of a file that nipype wrote."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".pklz" else data


class MissingObject:
    """An object that does not exist."""

    @property
    def e_tag(self) -> str:
        raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")


class FakeBucket:
    """A bucket with only the attributes that nipype uses."""

    name = "mybucket"

    def __init__(self) -> None:
        self.uploaded: dict[str, bytes] = {}

    def Object(self, key: str) -> MissingObject:  # noqa: N802 - boto3's name
        return MissingObject()

    def upload_file(self, source: str, key: str, **_: object) -> None:
        self.uploaded[key] = Path(source).read_bytes()


def constructed_joinnode(bucket: object) -> Workflow:
    return joined_workflow(joining_sink(base_directory=S3, bucket=bucket))


FAKE_INJECTED = {**INJECTED, "joinnode": constructed_joinnode}


@pytest.mark.parametrize("make", FAKE_INJECTED.values(), ids=FAKE_INJECTED)
def test_a_mock_injected_into_a_node_gets_the_uploads(
    linear: Run, make: Callable[[object], Workflow]
) -> None:
    mock = MagicMock()
    mock.name = "mybucket"

    linear(make(mock))

    sent = sorted(call.args[1] for call in mock.upload_file.call_args_list)
    assert [key.rpartition("/")[2] for key in sent] == ["sub001.par", "sub002.par"]
    assert all(key.startswith("out/") for key in sent)


@pytest.mark.parametrize("make", FAKE_INJECTED.values(), ids=FAKE_INJECTED)
def test_a_fake_injected_into_a_node_is_shared(
    linear: Run, make: Callable[[object], Workflow]
) -> None:
    fake = FakeBucket()

    linear(make(fake))

    assert sorted(fake.uploaded.values()) == [b"motion of sub001", b"motion of sub002"]


class FolderBucket(FakeBucket):
    """A bucket that writes to a directory, which all processes share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def upload_file(self, source: str, key: str, **_: object) -> None:
        shutil.copy(source, self.folder / key.rpartition("/")[2])


SPAWN = {"plugin": "MultiProc", "plugin_args": {"n_procs": 1, "mp_context": "spawn"}}


def test_a_fake_that_can_be_pickled_reaches_a_spawned_worker(workdir: Path) -> None:
    folder = workdir / "folder"
    folder.mkdir()

    injected_node(FolderBucket(folder)).run(**SPAWN)

    assert set(files(folder)) == {"sub001.par", "sub002.par"}


def test_a_spawned_worker_uses_its_own_credentials(workdir: Path, bucket: Bucket) -> None:
    injected_node(bucket).run(**SPAWN)

    assert contents(bucket) == {f"out/{name}": data for name, data in MOTION.items()}


def test_a_spawned_worker_without_credentials_leaves_a_crash_file(
    workdir: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    workflow = injected_node(bucket)
    workflow.get_node("inputnode").iterables = ("subject_id", ["sub001"])

    with pytest.raises(RuntimeError, match="CredentialsError"):
        workflow.run(**SPAWN)

    assert "'mybucket'" in crash_report()


# Graphs, clones and exported scripts.


@pytest.fixture
def graphviz(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace Graphviz by a program that does nothing; nipype writes its input before."""
    dot = workdir / "bin" / "dot"
    dot.parent.mkdir()
    dot.write_text("#!/bin/sh\n")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", f"{dot.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("graph2use", ["orig", "colored", "flat", "exec", "hierarchical"])
def test_graph_equals_that_of_nipype_except_for_the_module(graphviz: None, graph2use: str) -> None:
    ours = drawn_graphs(DataSink, graph2use)
    theirs = drawn_graphs(nipype_io.DataSink, graph2use)

    assert ours
    assert ours == theirs


def drawn_graphs(sink_class: type, graph2use: str) -> list[str]:
    inner = full_workflow(sink_class)
    outer = Workflow(name="outer", base_dir=str(Path("work").resolve()))
    outer.add_nodes([inner])
    outer.write_graph(graph2use=graph2use, simple_form=True)
    graphs = [path.read_text() for path in sorted(Path("work").rglob("*.dot"))]
    return [re.sub(r"\bio\b|[ .()|]", "", graph) for graph in graphs]


def test_clone_sinks_independently(linear: Run) -> None:
    workflow = motion_workflow(local_sink())
    clone = workflow.clone("clone")
    clone.get_node("datasink").inputs.base_directory = str(Path("other").resolve())

    linear(workflow)
    linear(clone)

    assert files(Path("out")) == files(Path("other")) == MOTION


def test_a_clone_shares_the_injected_bucket(bucket: Bucket) -> None:
    clone = injected_node(bucket).clone("clone")

    assert clone.get_node("datasink").inputs.bucket is bucket


def test_an_exported_script_sinks_the_same(linear: Run) -> None:
    source = Path("a.nii").resolve()
    source.write_text("a")
    sink = local_sink(substitutions=[("a.nii", "b.nii")])
    setattr(sink.inputs, "motion.@par", str(source))
    workflow = make_workflow()
    workflow.connect(identity_node(in_file=str(source)), "in_file", sink, "anat")

    workflow.export("exported.py")
    exported = runpy.run_path("exported.py")["study"]
    linear(exported)

    assert files(Path("out")) == {"motion/b.nii": b"a", "anat/b.nii": b"a"}
    assert isinstance(exported.get_node("study_datasink").interface, DataSink)


# Errors.


def crash_report() -> str:
    (path,) = Path("crashes").glob("crash-*-datasink*")
    return read(path).decode(errors="replace")


def test_a_missing_source_is_named_in_the_crash_file(run: Run) -> None:
    workflow, sink = make_workflow(), local_sink(anat=str(Path("gone.nii").resolve()))
    workflow.connect(mapped_motion(), "out", sink, "motion")

    with pytest.raises(Exception, match=r"gone\.nii does not exist"):
        run(workflow)

    assert f"{Path('gone.nii').resolve()} does not exist" in crash_report()
    assert "MissingSourceError" in crash_report()
    assert set(files(Path("out"))) == {
        f"motion/_mapped{index}/{name}.par" for index, name in enumerate(SUBJECTS)
    }


def test_s3_error_is_in_the_crash_file(linear: Run, endpoint: str, credentials: None) -> None:
    sink = Node(DataSink(base_directory="s3://nowhere/out"), name="datasink")
    sink.inputs.s3_endpoint_url = endpoint
    workflow = motion_workflow(sink)
    workflow.get_node("inputnode").iterables = ("subject_id", ["sub001"])

    with pytest.raises(Exception, match="the bucket does not exist"):
        linear(workflow)

    assert "NoSuchBucket" in crash_report()


# Secrets.

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-key",
    "AWS_SESSION_TOKEN": "secret-of-the-session",
    "AWS_SECURITY_TOKEN": "secret-of-old-times",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret-of-the-container",
}


def sinking_node(source: str) -> Node:
    return local_sink(anat=source)


def sinking_mapnode(source: str) -> MapNode:
    sink = mapnode_sink(base_directory=str(Path("out").resolve()))
    sink.inputs.motion = [source, source]
    return sink


@pytest.mark.parametrize("make", [sinking_node, sinking_mapnode])
def test_reports_and_results_hold_no_secret_of_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, make: Callable[[str], Node]
) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "public-part")
    Path("a.nii").write_text("a")
    workflow = make_workflow()
    workflow.add_nodes([make(str(Path("a.nii").resolve()))])

    run(workflow)

    written = b"".join(read(path) for path in Path("work").rglob("*") if path.is_file())
    assert b"public-part" in written
    assert b"secret-of" not in written


def test_the_environment_keeps_its_secrets(linear: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")

    linear(motion_workflow(local_sink()))

    assert os.environ["AWS_SESSION_TOKEN"] == "token"


# nipype's own tests of its class. Two of them need the program fakes3; here the store of these
# tests replaces it. The other tests in that file are about other interfaces.

NIPYPE_TESTS = [
    "test_datasink",
    "test_datasink_to_s3",
    "test_aws_keys_from_env",
    "test_datasink_localcopy",
    "test_datasink_substitutions",
    "test_datasink_copydir_1",
    "test_datasink_copydir_2",
]


def nipypes_tests() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = import_module("nipype.interfaces.tests.test_io")
        gc.collect()  # it leaves a file open
    return module


@pytest.fixture
def fakes3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nipype's tests use the store of these tests instead of starting their own."""
    session = boto3.session.Session(region_name="us-east-1")

    def resource(*, endpoint_url: str, **options: Any) -> Any:
        return session.resource(endpoint_url=endpoint, **options)

    module = nipypes_tests()
    monkeypatch.setattr(module, "Popen", lambda *_, **__: MagicMock())
    monkeypatch.setattr(module, "boto3", SimpleNamespace(resource=resource))
    yield
    for bucket in session.resource("s3", endpoint_url=endpoint).buckets.all():
        bucket.objects.all().delete()
        bucket.delete()


@pytest.mark.needs("any credentials")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", NIPYPE_TESTS)
def test_tests_of_nipype_pass(
    name: str, tmpdir: Any, fakes3: None, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nipypes_tests()
    monkeypatch.setattr(module, "nio", nipype_datasink.io)
    image, header = tmpdir.join("img", "orig.img"), tmpdir.join("img", "orig.hdr")
    for path in (image, header):
        path.write("image", ensure=True)
    text = tmpdir.join("datasink_test_s3.txt")
    text.write("ABCD1234")
    fixtures = {
        "tmpdir": tmpdir,
        "dummy_input": str(text),
        "_temp_analyze_files": (str(image), str(header)),
    }
    test = getattr(module, name)

    test(**{fixture: fixtures[fixture] for fixture in signature(test).parameters})


def test_all_tests_of_nipype_for_its_sink_are_run() -> None:
    tests = {
        name: getsource(test)
        for name, test in vars(nipypes_tests()).items()
        if name.startswith("test_")
    }

    assert {name for name, text in tests.items() if "nio.DataSink(" in text} == set(NIPYPE_TESTS)


# Workers.

IN_A_WORKER = """
import os
from unittest.mock import MagicMock

import boto3
from moto import mock_aws
from nipype import Node, Workflow

from nipype_datasink import DataSink


def mock():
    mock = MagicMock()
    mock.name = "mybucket"
    return mock, lambda: mock.upload_file.call_count


def moto():
    mock_aws().start()
    bucket = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="mybucket")
    return bucket, lambda: len(list(bucket.objects.all()))


if __name__ == "__main__":
    bucket, count = {make}()
    sink = Node(DataSink({inputs}base_directory="s3://mybucket/out"), name="datasink")
    sink.inputs.x = os.path.abspath("a.txt")
    workflow = Workflow("study", base_dir=os.path.abspath("work"))
    workflow.add_nodes([sink])
    try:
        workflow.run(plugin={plugin!r}, plugin_args={{"n_procs": 1, "mp_context": {context!r}}})
    finally:
        print("seen:", count())
"""

MOCKS = {
    "mock": ("mock", "bucket=bucket, ", "the injected MagicMock"),
    "moto-injected": ("moto", "bucket=bucket, ", "moto's mock_aws"),
    "moto": ("moto", "", "moto's mock_aws"),
}


def run_in_a_worker(**parts: str) -> subprocess.CompletedProcess[str]:
    Path("a.txt").write_text("a")
    Path("script.py").write_text(IN_A_WORKER.format(**parts))
    command = [sys.executable, "script.py"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.usefixtures("workdir", "credentials")
@pytest.mark.parametrize(("plugin", "seen"), [("MultiProc", 0), ("Linear", 1)])
@pytest.mark.parametrize(("make", "inputs", "who"), MOCKS.values(), ids=MOCKS)
def test_mock_copied_into_a_worker_logs_a_warning(
    make: str, inputs: str, who: str, plugin: str, seen: int
) -> None:
    done = run_in_a_worker(make=make, inputs=inputs, plugin=plugin, context="fork")

    assert done.returncode == 0, done.stderr
    assert f"seen: {seen}" in done.stdout
    assert done.stdout.count(f"{who} was copied into worker process") == 1 - seen


def test_moto_bucket_never_becomes_a_real_bucket(workdir: Path, credentials: None) -> None:
    inputs = "bucket=bucket, "
    done = run_in_a_worker(make="moto", inputs=inputs, plugin="MultiProc", context="spawn")

    assert "the injected bucket 'mybucket' is moto's, and exists only in the process" in done.stderr
    assert "seen: 0" in done.stdout


@pytest.mark.parametrize(
    ("inputs", "source"),
    [
        ({}, "AWS_ACCESS_KEY_ID in the environment"),
        ({"creds_path": "keys.csv"}, "creds_path keys.csv"),
        ({"s3_profile": "lab"}, "s3_profile lab"),
    ],
)
def test_s3_error_names_process_and_credential_source(
    workdir: Path, endpoint: str, credentials: None, inputs: dict[str, str], source: str
) -> None:
    Path("keys.csv").write_text(f"AWSAccessKeyId={ACCESS_KEY}\nAWSSecretKey={SECRET_KEY}\n")
    profile = f"[lab]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n"
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(profile)
    Path("a.txt").write_text("a")
    sink = DataSink(base_directory="s3://nowhere/out", s3_endpoint_url=endpoint)
    sink.inputs.trait_set(**inputs)
    sink.inputs.x = str(Path("a.txt").resolve())

    with pytest.raises(S3Error, match="the bucket does not exist") as caught:
        sink.run()

    lines = str(caught.value).splitlines()
    assert f"  run by: process {os.getpid()} on {socket.gethostname()}" in lines
    assert any(line.startswith("  credentials: ") and f"({source})" in line for line in lines)
    assert SECRET_KEY not in str(caught.value)


def test_batch_job_logs_a_warning_for_relative_directories(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Path("a.txt").write_text("a")
    sink = DataSink(base_directory="out", x=str(Path("a.txt").resolve()), infields=["x"])

    sink.run()
    assert not caplog.records or "relative" not in caplog.text

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    sink.run()
    assert "SLURM job 7: base_directory 'out' is relative" in caplog.text
