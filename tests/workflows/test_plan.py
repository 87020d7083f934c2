"""Test that a plan predicts what a run of the workflow delivers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Node, Workflow

from nipype_datasink import DataSink, Prediction, WorkflowPlan, plan
from nipype_datasink.demo.workflow import build_workflow
from tests.conftest import tree
from tests.workflows.examples import (
    SUBJECTS,
    bold_workflow,
    itersource_workflow,
    nested_workflow,
    sink_node,
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


BOLD = """\
wf.datasink -> s3://lab/deriv                                             2 runs
  subject_id=sub-01
    func  <- preproc.out    s3://lab/deriv/sub-01/func/_subject_id_sub-01/{preproc.out}
  subject_id=sub-02
    func  <- preproc.out    s3://lab/deriv/sub-02/func/_subject_id_sub-02/{preproc.out}
2 destinations; names in {braces} are known when the node has run"""


def test_plan_as_text(workdir: Path) -> None:
    planned = plan(bold_workflow(sink_node(base_directory="s3://lab/deriv")))

    assert str(planned) == BOLD
    assert (
        planned._repr_html_() == f"<pre>{BOLD.replace('->', '-&gt;').replace('<-', '&lt;-')}</pre>"
    )


def test_plan_as_json_has_each_destination(workdir: Path) -> None:
    planned = plan(bold_workflow())

    def found(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (text for key, text in value.items() if key == "destination")
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from found(item)

    value = json.loads(json.dumps(planned.as_json()))
    assert tuple(found(value)) == planned.destinations
    assert len(planned.destinations) == 2


# Clashes


def subjects_into_one_folder() -> Workflow:
    workflow = bold_workflow(sink_node(parameterization=False))
    workflow.disconnect(
        workflow.get_node("subjects"), "subject_id", workflow.get_node("datasink"), "container"
    )
    return workflow


def test_runs_with_equal_destinations_possibly_clash(workdir: Path) -> None:
    planned = plan(subjects_into_one_folder())

    (clash,) = planned.possible
    assert clash.destination == str(workdir / "out/func/{preproc.out}")
    assert clash.sinks == tuple(f"wf.datasink[subject_id={subject}]" for subject in SUBJECTS)
    assert f"POSSIBLE {clash.destination} " in str(planned)
    assert not planned.clashes
    assert planned.ok
    assert len(planned.destinations) == 1


def two_sinks(first: str, second: str) -> Workflow:
    workflow = Workflow("wf", base_dir="work")
    workflow.add_nodes([sink_node(name, x=path) for name, path in (("a", first), ("b", second))])
    return workflow


def make_file(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return str(Path(path).resolve())


def test_known_destinations_with_different_bytes_clash(workdir: Path) -> None:
    planned = plan(two_sinks(make_file("1/f", "one"), make_file("2/f", "two")))

    (clash,) = planned.clashes
    assert (clash.destination, clash.sinks) == (str(workdir / "out/x/f"), ("wf.a", "wf.b"))
    assert not planned.ok
    assert f"CLASH {workdir}/out/x/f is written by wf.a, wf.b" in str(planned)


def test_known_destinations_with_equal_bytes_do_not_clash(workdir: Path) -> None:
    planned = plan(two_sinks(make_file("1/f", "one"), make_file("2/f", "one")))

    assert planned.ok
    assert len(planned.destinations) == 1


def test_sources_that_do_not_exist_are_missing_and_may_clash(workdir: Path) -> None:
    planned = plan(two_sinks("/gone/1/f", "/gone/2/f"))

    assert [each.is_missing for sink in planned.sinks for each in sink.predictions] == [True, True]
    assert len(planned.clashes) == 1
    assert str(planned).count("(does not exist)") == 2


def test_one_output_in_two_sinks_does_not_clash(workdir: Path) -> None:
    workflow = bold_workflow()
    other = sink_node("other")
    workflow.connect(workflow.get_node("preproc"), "out", other, "func")
    workflow.connect(workflow.get_node("subjects"), "subject_id", other, "container")

    planned = plan(workflow)

    assert (planned.clashes, planned.possible) == ((), ())
    assert len(planned.destinations) == 2


# Errors


def test_sink_that_would_fail_is_an_error(workdir: Path) -> None:
    planned = plan(bold_workflow(sink_node(base_directory="gs://lab")))

    assert not planned.ok
    assert [sink.error.startswith("base_directory 'gs://lab'") for sink in planned.sinks] == (
        [True, True]
    )
    assert "ERROR wf.datasink[subject_id=sub-01]: base_directory 'gs://lab'" in str(planned)


def test_collision_in_one_sink_is_an_error(workdir: Path) -> None:
    sources = [make_file("1/f", "one"), make_file("2/f", "two")]

    planned = plan(sink_node(x=sources))

    assert "differ, and both would become" in planned.errors[0]
    assert planned.destinations == (str(workdir / "out/x/f"),)


class Failing(DataSink):
    def _get_dst(self, src: str) -> str:
        raise LookupError(src)


def test_error_of_an_overridden_method_is_that_of_its_sink(workdir: Path) -> None:
    planned = plan(bold_workflow(Node(Failing(base_directory="/out"), name="datasink")))

    assert planned.errors[0].startswith("wf.datasink[subject_id=sub-01]: LookupError: ")


# Other shapes


def test_sink_without_values_says_so(workdir: Path) -> None:
    assert str(plan(sink_node(base_directory="/out"))) == (
        "datasink -> /out\n  nothing is set or connected\n0 destinations"
    )


def test_workflow_without_sinks_says_so(workdir: Path) -> None:
    assert str(plan(Workflow("wf", base_dir="work"))) == "no sinks"


def test_relative_directories_are_those_of_the_node(workdir: Path) -> None:
    workflow = bold_workflow(sink_node(base_directory="out", anat="t1.nii"))

    planned = plan(workflow)

    node = workdir / "work/wf/_subject_id_sub-01/datasink"
    assert planned.sinks[0].bases == (str(node / "out"),)
    assert planned.sinks[0].predictions[0].source == str(node / "t1.nii")
