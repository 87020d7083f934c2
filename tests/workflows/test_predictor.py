"""Test that each destination of a run is predicted, and what stands in braces."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import JoinNode, MapNode, Node, Workflow

from nipype_datasink import DataSink, plan
from tests.conftest import tree
from tests.workflows.agreement import (
    PLUGINS,
    Build,
    assert_predicts,
    assert_run_is_planned,
    delivered,
    pattern_of,
)
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


WORKFLOWS: dict[str, Build] = {"nested": nested_workflow, "itersource": itersource_workflow}
INPUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-parameterization": {"parameterization": False},
    "rules": {
        "substitutions": [("_subject_id_", "subject-"), ("bold", "BOLD")],
        "regexp_substitutions": [(r"/_[^/]*", ""), (r"(subjects|out)/sub-(\d)", r"\1/s\2")],
    },
}


CASES = [("linear", *case) for case in itertools.product(WORKFLOWS, INPUTS)]
NAMES = ("plugin", "build", "inputs")


@pytest.mark.parametrize(NAMES, [*CASES, ("multiproc", "nested", "rules")])
def test_each_delivered_path_is_predicted(
    workdir: Path, plugin: str, build: str, inputs: str
) -> None:
    assert_run_is_planned(WORKFLOWS[build], INPUTS[inputs], PLUGINS[plugin], empty=("nothing",))


@pytest.mark.parametrize(NAMES, [*CASES, ("multiproc", "itersource", "plain")])
def test_each_delivered_object_is_predicted(
    workdir: Path, plugin: str, build: str, inputs: str, bucket: Bucket, endpoint: str
) -> None:
    place = {"base_directory": "s3://mybucket/deriv", "s3_endpoint_url": endpoint}
    values = {**INPUTS[inputs], **place}

    assert_run_is_planned(WORKFLOWS[build], values, PLUGINS[plugin], empty=("nothing",))


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

    assert_run_is_planned(nested_workflow, inputs, PLUGINS["linear"], empty=("nothing",))


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


def write_echo(subject_id: str) -> str:
    from pathlib import Path

    path = Path("echoes/_echo-1/bold.nii").resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(subject_id)
    return str(path)


def test_folders_of_a_node_that_look_like_iterables_are_known_when_it_has_run(
    workdir: Path,
) -> None:
    workflow, node = new_workflow(), function_node(write_echo)
    node.inputs.subject_id = "sub-01"
    workflow.connect(node, "out", sink_node(), "func")
    assert plan(workflow).destinations == (str(workdir / "out/func/{write_echo.out}"),)

    (paths,) = delivered(workflow.run(plugin="Linear")).values()

    assert paths == [str(workdir / "out/func/_echo-1/bold.nii")]
    assert plan(workflow).destinations == tuple(paths)


def test_containers_of_a_node_may_be_absolute(workdir: Path) -> None:
    workflow = connected(container="/elsewhere")

    assert "{given.container}" in plan(workflow).destinations[0]
    node = workflow.get_node("given")
    node.inputs.values = [str(workdir / "elsewhere")]
    workflow.run(plugin="Linear")

    assert plan(workflow).destinations[0].startswith(str(workdir / "elsewhere/func"))


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
    assert "the substitutions will also apply to the names in braces" in str(planned)


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
