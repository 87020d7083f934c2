"""Test usage patterns of public pipelines, and nipype's other functions for nodes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner
from nipype import Function, IdentityInterface, MapNode, Node, Workflow
from nipype.caching import Memory
from nipype.interfaces import io as nipype_io
from nipype.interfaces.base import Str
from nipype.pipeline.engine.nodes import NodeExecutionError
from nipype.scripts.cli import cli

import nipype_datasink
import nipype_datasink.io
from nipype_datasink import DataSink
from nipype_datasink.s3.pickling import describe_bucket
from tests.conftest import tree
from tests.stores import SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


def make_files(workdir: Path, *names: str) -> list[str]:
    """Create files in a working directory, and return their paths."""
    paths = [workdir / "work" / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return [str(path) for path in paths]


def files(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(directory).items() if data is not None}


def make_workflow(workdir: Path, *nodes: Node, **execution: str) -> Workflow:
    workflow = Workflow(name="study", base_dir=str(workdir / "work"))
    workflow.config["execution"] = {"crashdump_dir": str(workdir / "crashes"), **execution}
    workflow.add_nodes(nodes)
    return workflow


# Usage patterns, which must give the same result with both classes.


def base_anchored(sink: Any, workdir: Path) -> None:
    sink.inputs.container = "sub001"
    sink.inputs.regexp_substitutions = [(rf"^{workdir}/out/sub(\d+)/", rf"{workdir}/out/S\1_")]
    sink.inputs.anat = make_files(workdir, "T1.nii")[0]


def bare_at_name(sink: Any, workdir: Path) -> None:
    setattr(sink.inputs, "@anat", make_files(workdir, "T1.nii")[0])
    setattr(sink.inputs, "@func", make_files(workdir, "_run_1/bold.nii", "_run_2/bold.nii"))


def strip_dir(sink: Any, workdir: Path) -> None:
    sink.inputs.strip_dir = str(workdir / "work")
    setattr(sink.inputs, "func.@run", make_files(workdir, "_run_1/_echo_2/bold.nii"))


def without_parameterization(sink: Any, workdir: Path) -> None:
    sink.inputs.parameterization = False
    sink.inputs.func = make_files(workdir, "_run_1/a.nii", "_run_2/b.nii")


def deep_names(sink: Any, workdir: Path) -> None:
    for name in ("func.motion.@par", "func.motion.plots.@png", "func.@mean"):
        setattr(sink.inputs, name, make_files(workdir, f"{name.strip('@').rpartition('.')[2]}.out"))


def substitutions_grow(sink: Any, workdir: Path) -> None:
    sink.inputs.substitutions = [("_subject_id_", "")]
    sink.inputs.substitutions.append((".out", ".txt"))
    sink.inputs.substitutions += [("func", "FUNC")]
    sink.inputs.func = make_files(workdir, "_subject_id_s1/a.out")


PATTERNS = [
    base_anchored,
    bare_at_name,
    strip_dir,
    without_parameterization,
    deep_names,
    substitutions_grow,
]


def run_pattern(
    kind: type, pattern: Callable[[Any, Path], None], workdir: Path
) -> dict[str, bytes]:
    sink = kind(base_directory=str(workdir / "out"))
    pattern(sink, workdir)
    sink.run()
    result = files(workdir / "out")
    for path in sorted((workdir / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return result


@pytest.mark.parametrize("pattern", PATTERNS)
def test_usage_patterns_give_the_tree_of_nipype(
    workdir: Path, pattern: Callable[[Any, Path], None]
) -> None:
    ours = run_pattern(DataSink, pattern, workdir)

    assert ours
    assert ours == run_pattern(nipype_io.DataSink, pattern, workdir)


def write_bold(subject: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a file of a subject, and a substitution for its name."""
    from pathlib import Path

    path = Path(f"{subject}_bold.nii").resolve()
    path.write_text(subject)
    return str(path), [("_bold", "_rest")]


def all_connected(kind: type, workdir: Path) -> Workflow:
    given = Node(IdentityInterface(["subject", "place"]), name="given")
    given.iterables = [("subject", ["s1", "s2"]), ("place", [str(workdir / "out")])]
    made = Node(Function(function=write_bold, output_names=["out", "rules"]), name="made")
    sink = Node(kind(), name="sink")
    workflow = make_workflow(workdir, sink)
    workflow.connect(given, "subject", made, "subject")
    workflow.connect(given, "subject", sink, "container")
    workflow.connect(given, "place", sink, "base_directory")
    workflow.connect(made, "rules", sink, "substitutions")
    workflow.connect(made, "out", sink, "func.@bold")
    return workflow


def rules_grow(kind: type, workdir: Path) -> Workflow:
    sink = Node(kind(base_directory=str(workdir / "out"), parameterization=False), name="sink")
    sink.inputs.substitutions = [("a.nii", "b.nii")]
    sink.inputs.substitutions.append(("anat", "T1"))
    sink.inputs.anat = make_files(workdir, "_run_1/a.nii")
    return make_workflow(workdir, sink)


def a_container_each(kind: type, workdir: Path) -> Workflow:
    given = Node(IdentityInterface(["names"], names=["s1", "s2"]), name="given")
    sink = MapNode(
        kind(infields=["anat"], base_directory=str(workdir / "out")),
        iterfield=["container", "anat"],
        name="sink",
    )
    sink.inputs.anat = make_files(workdir, "a.nii", "b.nii")
    workflow = make_workflow(workdir, sink)
    workflow.connect(given, "names", sink, "container")
    return workflow


@pytest.mark.parametrize("build", [all_connected, rules_grow, a_container_each])
def test_workflows_give_the_tree_of_nipype(
    workdir: Path, build: Callable[[type, Path], Workflow]
) -> None:
    trees = []
    for kind in (DataSink, nipype_io.DataSink):
        build(kind, workdir).run(plugin="Linear")
        trees.append(files(workdir / "out"))
        for name in ("work", "out"):
            shutil.rmtree(workdir / name)

    assert trees[0]
    assert trees[0] == trees[1]


# Subclasses.


def substituting(nio: Any) -> type:
    class Own(nio.DataSink):
        def _substitute(self, path: str) -> str:
            return super()._substitute(path).replace("sub-", "subject_")

    return Own


def routing(nio: Any) -> type:
    class Own(nio.DataSink):
        def _get_dst(self, source: str) -> str:
            return Path(source).parent.name.strip("_") + "/" + Path(source).name

    return Own


def reporting(nio: Any) -> type:
    class Own(nio.DataSink):
        def _list_outputs(self) -> Any:
            outputs = super()._list_outputs()
            Path(self.inputs.base_directory, "sunk.txt").write_text(str(outputs["out_file"]))
            return outputs

    return Own


def extending(nio: Any) -> type:
    class Spec(nio.DataSinkInputSpec):
        suffix = Str("", usedefault=True, desc="Added to each name")

    class Own(nio.DataSink):
        input_spec = Spec

        def _substitute(self, path: str) -> str:
            return super()._substitute(path) + self.inputs.suffix

    return Own


@pytest.mark.parametrize("make", [substituting, routing, reporting, extending])
def test_subclasses_give_the_tree_of_nipype(workdir: Path, make: Callable[[Any], type]) -> None:
    def use(sink: Any, workdir: Path) -> None:
        sink.inputs.anat = make_files(workdir, "_run_1/sub-1.nii")
        if make is extending:
            sink.inputs.suffix = ".orig"

    ours = run_pattern(make(nipype_datasink.io), use, workdir)

    assert ours
    assert ours == run_pattern(make(nipype_io), use, workdir)


# Nodes in a workflow.


def test_sink_in_a_memory_runs_every_time(workdir: Path) -> None:
    (source,) = make_files(workdir, "a.nii")
    (workdir / "memory").mkdir()
    cached = Memory(str(workdir / "memory")).cache(DataSink)

    for _ in range(2):
        result = cached(base_directory=str(workdir / "out"), anat=source)
        assert result.outputs.out_file == [str(workdir / "out/anat/a.nii")]
        (workdir / "out/anat/a.nii").unlink()


def nipypecli(*arguments: object) -> str:
    """Return what nipype's command line prints."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_nipypecli_shows_the_inputs() -> None:
    output = nipypecli("run", "nipype_datasink.io", "DataSink", "--help")

    assert "--s3_endpoint_url" in output
    assert "--base_directory" in output


@pytest.mark.parametrize("module", ["nipype_datasink.io", "nipype.interfaces.io"])
def test_nipypecli_runs_a_sink(workdir: Path, module: str) -> None:
    output = nipypecli("run", module, "DataSink", "--base_directory", workdir / "out")

    assert output.endswith("out_file = []\n\n")


def test_nipypecli_shows_results_and_crashes(workdir: Path) -> None:
    (source,) = make_files(workdir, "a.nii")
    good, bad = (
        Node(DataSink(base_directory=str(workdir / "out")), name=name) for name in ("good", "bad")
    )
    good.inputs.anat, bad.inputs.anat = source, str(workdir / "gone.nii")
    with pytest.raises(NodeExecutionError):
        make_workflow(workdir, good, bad).run(plugin="Linear")

    (result,) = workdir.rglob("result_good.pklz")
    assert "InterfaceResult" in nipypecli("show", result)
    (crash,) = (workdir / "crashes").iterdir()
    assert "gone.nii does not exist" in nipypecli("crash", crash)


def test_report_of_a_node_lists_out_file(workdir: Path) -> None:
    (source,) = make_files(workdir, "a.nii")
    node = Node(DataSink(base_directory=str(workdir / "out")), name="sink")
    node.inputs.anat = source

    make_workflow(workdir, node, create_report="true").run(plugin="Linear")

    (report,) = (workdir / "work").rglob("report.rst")
    assert "study.sink" in report.read_text()
    assert str(workdir / "out/anat/a.nii") in report.read_text()


def unneeded(name: str) -> tuple[str, str]:
    from pathlib import Path

    for each in (name, f"other_{name}"):
        Path(each).write_text(each)
    return str(Path(name).resolve()), str(Path(f"other_{name}").resolve())


def function_node(**inputs: Any) -> Node:
    node = Node(Function(function=unneeded, output_names=["out", "other"]), name="source")
    node.inputs.trait_set(**inputs)
    return node


@pytest.mark.parametrize("remove", ["true", "false"])
def test_sources_are_not_removed_before_the_sink_runs(workdir: Path, remove: str) -> None:
    node = Node(DataSink(base_directory=str(workdir / "out")), name="sink")
    workflow = make_workflow(workdir, node, remove_unnecessary_outputs=remove)
    workflow.connect(function_node(name="a.nii"), "out", node, "anat")

    workflow.run(plugin="Linear")

    assert files(workdir / "out") == {"anat/a.nii": b"a.nii"}


def test_sink_with_run_without_submitting_runs_in_this_process(workdir: Path) -> None:
    (source,) = make_files(workdir, "a.nii")
    node = Node(DataSink(base_directory=str(workdir / "out")), name="sink")
    node.inputs.anat = source
    node.run_without_submitting = True

    make_workflow(workdir, node).run(plugin="MultiProc", plugin_args={"n_procs": 2})

    assert files(workdir / "out") == {"anat/a.nii": b"a.nii"}


@pytest.mark.parametrize("stop", ["true", "false"])
def test_nipype_decides_which_nodes_run_after_a_crash(workdir: Path, stop: str) -> None:
    (source,) = make_files(workdir, "a.nii")
    bad = Node(DataSink(base_directory=str(workdir / "out")), name="a_bad")
    bad.inputs.anat = str(workdir / "gone.nii")
    good = Node(DataSink(base_directory=str(workdir / "out")), name="good")
    good.inputs.anat = source

    with pytest.raises(NodeExecutionError, match=r"gone\.nii does not exist"):
        make_workflow(workdir, bad, good, stop_on_first_crash=stop).run(plugin="Linear")

    assert files(workdir / "out") == ({} if stop == "true" else {"anat/a.nii": b"a.nii"})


@pytest.mark.filterwarnings("ignore")  # of rdflib and of files that prov leaves open
def test_provenance_is_written(workdir: Path, provenance: None) -> None:
    (source,) = make_files(workdir, "a.nii")
    node = Node(DataSink(base_directory=str(workdir / "out")), name="sink")
    node.inputs.anat = source

    make_workflow(workdir, node, write_provenance="true").run(plugin="Linear")

    assert "DataSink" in "".join(path.read_text() for path in workdir.rglob("*.provn"))


def injected_bucket(bucket: Bucket) -> Any:
    return bucket


def injected_mock(bucket: Bucket) -> Any:
    return MagicMock()


@pytest.mark.filterwarnings("ignore")  # of rdflib and of files that prov leaves open
@pytest.mark.parametrize("injected", [injected_bucket, injected_mock])
def test_provenance_is_written_of_an_injected_bucket(
    workdir: Path, bucket: Bucket, provenance: None, injected: Callable[[Bucket], Any]
) -> None:
    sources = make_files(workdir, "a.nii", "b.nii")
    inputs = {"base_directory": "s3://mybucket/out", "bucket": injected(bucket)}
    sink = Node(DataSink(**inputs), name="sink")
    sink.inputs.anat = sources
    mapped = MapNode(DataSink(infields=["anat"], **inputs), iterfield=["anat"], name="mapped")
    mapped.inputs.anat = sources

    make_workflow(workdir, sink, mapped, write_provenance="true").run(plugin="Linear")

    (written,) = (workdir / "work").glob("workflow_provenance_*.provn")
    description = describe_bucket(inputs["bucket"])
    assert written.read_text().count(f'value="{description}"') == 3
    assert SECRET_KEY not in written.read_text()


def test_reading_the_input_returns_the_injected_bucket(bucket: Bucket) -> None:
    inputs = DataSink(base_directory="s3://mybucket/out", bucket=bucket).inputs

    assert inputs.bucket is inputs.get()["bucket"] is inputs.get_traitsfree()["bucket"] is bucket
