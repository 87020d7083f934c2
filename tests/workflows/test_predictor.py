"""Test that each destination of a run is predicted, and what stands in braces."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import JoinNode, MapNode, Node, Workflow

from nipype_datasink import DataSink, Prediction, WorkflowPlan, plan
from nipype_datasink.demo.workflow import build_workflow
from tests.conftest import tree
from tests.shapes import IMPORT, SCRIPT
from tests.workflows.examples import (
    bold_workflow,
    function_node,
    itersource_workflow,
    make_file,
    nested_workflow,
    new_workflow,
    sink_node,
    subjects_node,
    write_bold,
    write_pair,
)

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

PLUGINS: dict[str, dict[str, Any]] = {
    "linear": {"plugin": "Linear"},
    "multiproc": {"plugin": "MultiProc", "plugin_args": {"n_procs": 2}},
}


def demo_workflow(**inputs: Any) -> Workflow:
    base = inputs.pop("base_directory", str(Path("out").resolve()))
    work, copy = Path("work").resolve(), Path("copy").resolve()
    workflow = build_workflow(base, copy, work, endpoint_url=inputs.pop("s3_endpoint_url", None))
    workflow.get_node("datasink").inputs.trait_set(**inputs)
    return workflow


Build = Callable[..., Workflow]
WORKFLOWS: dict[str, Build] = {"nested": nested_workflow, "itersource": itersource_workflow}
INPUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-parameterization": {"parameterization": False},
    "rules": {
        "substitutions": [("_subject_id_", "subject-"), ("bold", "BOLD")],
        "regexp_substitutions": [(r"/_[^/]*", ""), (r"(subjects|out)/sub-(\d)", r"\1/s\2")],
    },
}


def pattern_of(prediction: Prediction) -> str:
    """Return a regular expression that matches what a destination with braces stands for."""
    names = ".+" if prediction.has_folders else "[^/]+"
    parts = re.split(r"\{[^}]*\}", prediction.destination)
    return names.join(map(re.escape, parts))


def delivered(graph: Any) -> dict[str, list[str]]:
    """Return ``out_file`` of every run of a sink, by the name of the sink."""
    found: dict[str, list[str]] = {}
    for node in graph:
        if isinstance(node.interface, DataSink):
            found.setdefault(node.fullname, []).extend(node.result.outputs.out_file)
    return found


def assert_predicts(planned: WorkflowPlan, graph: Any, *, empty: tuple[str, ...] = ()) -> None:
    """Check that a plan has each destination of a run, and no others but empty fields."""
    expected = delivered(graph)
    assert all(expected.values())
    for name, paths in expected.items():
        predictions = [
            each for sink in planned.sinks if sink.run.name == name for each in sink.predictions
        ]
        patterns = [pattern_of(each) for each in predictions]
        for path in paths:
            assert any(re.fullmatch(pattern, path) for pattern in patterns), path
        for prediction, pattern in zip(predictions, patterns, strict=True):
            if prediction.field not in empty:
                assert any(re.fullmatch(pattern, path) for path in paths), prediction.destination


every_workflow = pytest.mark.parametrize("build", WORKFLOWS.values(), ids=WORKFLOWS)
every_input = pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
every_plugin = pytest.mark.parametrize("plugin", PLUGINS.values(), ids=PLUGINS)


def assert_run_is_planned(build: Build, inputs: dict[str, Any], plugin: dict[str, Any]) -> None:
    planned = plan(build(**inputs))
    assert tree(Path.cwd()) == {}

    graph = build(**inputs).run(**plugin)

    assert_predicts(planned, graph, empty=("nothing",))


@every_plugin
@every_input
@every_workflow
def test_each_delivered_path_is_predicted(
    workdir: Path, build: Build, inputs: dict[str, Any], plugin: dict[str, Any]
) -> None:
    assert_run_is_planned(build, inputs, plugin)


@every_plugin
@every_input
@every_workflow
def test_each_delivered_object_is_predicted(
    workdir: Path,
    build: Build,
    inputs: dict[str, Any],
    plugin: dict[str, Any],
    bucket: Bucket,
    endpoint: str,
) -> None:
    place = {"base_directory": "s3://mybucket/deriv", "s3_endpoint_url": endpoint}

    assert_run_is_planned(build, {**inputs, **place}, plugin)


@pytest.mark.slow
@every_plugin
def test_each_destination_of_the_demo_is_predicted(
    workdir: Path, plugin: dict[str, Any], bucket: Bucket, endpoint: str
) -> None:
    place = {"base_directory": "s3://mybucket/deriv", "s3_endpoint_url": endpoint}

    assert_run_is_planned(demo_workflow, place, plugin)


@every_plugin
@pytest.mark.parametrize("name", ["t1_linear", "connectivity"])
def test_each_path_of_public_packages_is_predicted(
    workdir: Path, name: str, plugin: dict[str, Any]
) -> None:
    path = workdir / "shapes.py"
    path.write_text(SCRIPT.replace(IMPORT, "from nipype_datasink import DataSink"))
    build = runpy.run_path(str(path))[name]
    planned = plan(build())
    assert set(tree(workdir)) == {"shapes.py"}
    workflow = build()
    workflow.config["execution"]["datasink_missing"] = "skip"

    graph = workflow.run(**plugin)

    assert_predicts(planned, graph)
    assert planned.ok


@pytest.mark.parametrize("parameterize", ["true", "false"])
def test_long_values_of_iterables_are_predicted(workdir: Path, parameterize: str) -> None:
    workflow = bold_workflow(subjects=["s" * 40, "t" * 40, "u"])
    workflow.config["execution"]["parameterize_dirs"] = parameterize
    planned = plan(workflow)

    assert_predicts(planned, workflow.run(plugin="Linear"))
    folders = sum("_subject_id_" in path for path in planned.destinations)
    assert folders == (3 if parameterize == "true" else 1)


def test_strip_dir_is_applied(workdir: Path) -> None:
    inputs = {"strip_dir": str(workdir / "work/wf/_subject_id_sub-01")}

    assert_run_is_planned(nested_workflow, inputs, PLUGINS["linear"])


def test_plan_after_a_run_knows_every_destination(workdir: Path) -> None:
    graph = nested_workflow().run(plugin="Linear")
    before = tree(workdir)

    planned = plan(nested_workflow())

    assert tree(workdir) == before
    assert all(sink.is_known for sink in planned.sinks)
    destinations = [path for paths in delivered(graph).values() for path in paths]
    assert sorted(planned.destinations) == sorted(destinations)
    assert planned.ok
    assert "{" not in str(planned)


def test_items_of_map_nodes_and_joins_are_predicted(workdir: Path) -> None:
    workflow, subjects = new_workflow(), subjects_node()
    bold, pair = (
        function_node(write_bold, name="preproc"),
        function_node(write_pair, "image", "tsv"),
    )
    pair.inputs.name = 1
    join = JoinNode(
        DataSink(infields=["x"], base_directory=str(workdir / "out")),
        joinsource="subjects",
        joinfield=["x"],
        name="join",
    )
    items = MapNode(
        DataSink(infields=["x"], base_directory=str(workdir / "out"), parameterization=False),
        iterfield=["x", "container"],
        name="items",
    )
    items.inputs.container = ["a", "b"]
    workflow.connect(subjects, "subject_id", bold, "subject_id")
    workflow.connect(bold, "out", join, "x")
    workflow.connect(pair, ("image", twice), items, "x")
    planned = plan(workflow)
    assert tree(workdir) == {}

    graph = workflow.run(plugin="Linear")

    patterns = [pattern_of(each) for sink in planned.sinks for each in sink.predictions]
    (paths,) = [node.result.outputs.out_file for node in graph if node.name == "join"]
    paths = [*paths, *(str(path) for path in (workdir / "out").glob("[ab]/x/*.img"))]
    assert len(paths) == len(patterns) == 4
    for pattern in patterns:
        assert len([path for path in paths if re.fullmatch(pattern, path)]) == 1


def twice(path: str) -> list[str]:
    return [path, path]


# Inputs that nodes decide


def given(**values: Any) -> Node:
    """Return a node of which only a run can tell the outputs."""
    node = function_node(give, *values, name="given")
    node.inputs.values = list(values.values())
    return node


def give(values: list[object]) -> object:
    return values[0] if len(values) == 1 else tuple(values)


def connected(**values: Any) -> Workflow:
    """Return a workflow whose sinks get these inputs from a node."""
    workflow = bold_workflow(sink_node(parameterization=False))
    sink, node = workflow.get_node("datasink"), given(**values)
    if "container" in values:
        workflow.disconnect(workflow.get_node("subjects"), "subject_id", sink, "container")
    workflow.connect([(node, sink, [(name, name) for name in values])])
    return workflow


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param(
            {"base_directory": "/a"}, "{given.base_directory}/sub-01/func/{preproc.out}", id="base"
        ),
        pytest.param(
            {"container": "subjects/a"},
            "/out/{given.container}/func/{preproc.out}",
            id="container",
        ),
        pytest.param(
            {"substitutions": [("a", "b")], "regexp_substitutions": [("c", "d")]},
            "{given.regexp_substitutions(given.substitutions(/out/sub-01/func/preproc.out))}",
            id="rules",
        ),
        pytest.param(
            {"container": "a", "strip_dir": "/a"},
            "{given.strip_dir(/out/given.container/func/preproc.out)}",
            id="container-and-strip-dir",
        ),
    ],
)
def test_inputs_of_nodes_without_a_result_are_in_braces(
    workdir: Path, inputs: dict[str, Any], expected: str
) -> None:
    destination = plan(connected(**inputs)).sinks[0].predictions[0].destination

    assert destination == expected.replace("/out", str(workdir / "out"))


@pytest.mark.parametrize("base", ["/out", "s3://bucket/out"])
def test_rules_of_a_node_do_not_change_the_bucket(workdir: Path, base: str) -> None:
    workflow = connected(substitutions=[("a", "b")])
    workflow.get_node("datasink").inputs.base_directory = base

    destination = plan(workflow).sinks[0].predictions[0].destination

    root = "s3://bucket/" if base.startswith("s3") else "/"
    assert destination in (
        "s3://bucket/{given.substitutions(out/sub-01/func/preproc.out)}",
        "{given.substitutions(/out/sub-01/func/preproc.out)}",
    )
    assert destination.startswith(root) or base == "/out"


def test_local_copy_of_a_node_is_in_braces(workdir: Path) -> None:
    workflow = connected(local_copy="/copy")
    workflow.get_node("datasink").inputs.anat = make_file("t1.nii", "x")

    planned = plan(workflow)

    assert planned.sinks[0].bases == (str(workdir / "out"), "{given.local_copy}")
    assert [each.destination for each in planned.sinks[0].predictions] == [
        str(workdir / "out/sub-01/anat/t1.nii"),
        "{given.local_copy}/sub-01/anat/t1.nii",
        str(workdir / "out/sub-01/func/{preproc.out}"),
        "{given.local_copy}/sub-01/func/{preproc.out}",
    ]
    assert [each.is_copy for each in planned.sinks[0].predictions] == [False, True] * 2


def test_rules_never_change_what_is_in_braces(workdir: Path) -> None:
    rules: dict[str, Any] = {
        "substitutions": [("preproc", "x"), ("{", "("), ("out", "y")],
        "regexp_substitutions": [(r"[^/]+$", "renamed"), (r"/_subject_id_[^/]*", "")],
    }
    planned = plan(bold_workflow(sink_node(base_directory="/data", **rules)))

    assert planned.destinations == (
        "/data/sub-01/func/{preproc.out}",
        "/data/sub-02/func/{preproc.out}",
    )
    assert "its substitutions will also apply to the names in braces" in str(planned)


class Renaming(DataSink):
    def _substitute(self, pathstr: str) -> str:
        return pathstr.rpartition("/")[0].replace("func", "bold") + "/renamed"


def test_overridden_substitutions_do_not_remove_braces(workdir: Path) -> None:
    sink = Node(Renaming(base_directory="/out", anat=make_file("t1.nii", "x")), name="datasink")

    destinations = plan(bold_workflow(sink)).destinations

    assert destinations[:2] == (
        "/out/sub-01/anat/renamed",
        "/out/sub-01/bold/_subject_id_sub-01/{preproc.out}",
    )
