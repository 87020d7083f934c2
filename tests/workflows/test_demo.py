"""Test that the plan of the demo agrees with its run, for many inputs of its sink."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Workflow

from nipype_datasink import plan
from nipype_datasink.demo.workflow import build_workflow
from tests.conftest import tree
from tests.workflows.agreement import PLUGINS, assert_predicts

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

RULES: dict[str, Any] = {
    "substitutions": [("sub0", "sub-"), ("framewise", "fd")],
    "regexp_substitutions": [("_subject_id_([^/]*)", r"of-\1"), ("/mean/.*_pair", "/pairs")],
}
# Any two settings occur together in at least one case.
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("linear", "disk", "connected", {}),
    ("linear", "s3", "connected", {"parameterization": False, **RULES}),
    ("linear", "s3", "set", {"parameterization": False}),
    ("linear", "disk", "set", RULES),
    ("multiproc", "disk", "connected", {"parameterization": False, **RULES}),
    ("multiproc", "s3", "set", {}),
]


def demo_workflow(directory: Path, base: str, copy: Path) -> Workflow:
    """Return the demo with two subjects."""
    workflow = build_workflow(base, copy, directory / "work")
    workflow.config["execution"]["poll_sleep_duration"] = "0.05"
    subjects = workflow.get_node("subjects")
    field, values = subjects.iterables
    subjects.iterables = (field, values[:2])
    return workflow


def set_container(workflow: Workflow) -> None:
    """Set the container of the sink, instead of connecting it."""
    sink = workflow.get_node("datasink")
    workflow.disconnect(workflow.get_node("subjects"), "subject_id", sink, "container")
    sink.inputs.container = "group/a"


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a demo that has run, so that only its sinks run again."""
    directory = tmp_path_factory.mktemp("demo")
    workflow = demo_workflow(directory, str(directory / "out"), directory / "copy")
    workflow.run(**PLUGINS["linear"])
    return directory


@pytest.mark.parametrize("case", CASES)
def test_plan_of_the_demo_agrees_with_its_run(
    workdir: Path,
    computed: Path,
    case: tuple[str, str, str, dict[str, Any]],
    bucket: Bucket,
    endpoint: str,
) -> None:
    plugin, place, container, inputs = case
    base = "s3://mybucket/deriv" if place == "s3" else str(workdir / "out")
    workflow = demo_workflow(computed, base, workdir / "copy")
    workflow.get_node("datasink").inputs.trait_set(s3_endpoint_url=endpoint, **inputs)
    if container == "set":
        set_container(workflow)
    results = (computed / "work").rename(computed / "hidden")
    planned = plan(workflow)
    assert tree(workdir) == {}
    assert not (computed / "work").exists()
    results.rename(computed / "work")

    arguments = PLUGINS[plugin]
    if plugin == "multiproc" and container == "set":
        # The sinks of both subjects have some of their destinations in common, so that each may
        # find the other's object after its upload: they must not run at the same time.
        arguments = {**arguments, "plugin_args": {"n_procs": 1}}

    graph = workflow.run(**arguments)

    assert_predicts(planned, graph)
    assert planned.ok
