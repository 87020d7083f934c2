"""Test that the plans of workflows like those of public packages agree with their runs."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Workflow

from nipype_datasink import plan
from tests.shapes import IMPORT, SCRIPT
from tests.workflows.agreement import PLUGINS, Build, assert_run_is_planned
from tests.workflows.package_examples import (
    deface_workflow,
    results_workflow,
    tracking_workflow,
)

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

NO_PICTURES = ("sub-01.anat.@before", "sub-01.anat.@after")


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the workflows of a script that other tests run as a program."""
    path = tmp_path_factory.mktemp("script") / "shapes.py"
    path.write_text(SCRIPT.replace(IMPORT, "from nipype_datasink import DataSink"))
    return runpy.run_path(str(path))


@pytest.mark.parametrize("name", ["t1_linear", "connectivity"])
def test_plans_of_clinica_and_niflow(workdir: Path, name: str, scripted: dict[str, Any]) -> None:
    def build() -> Workflow:
        workflow = scripted[name]()
        workflow.config["execution"]["datasink_missing"] = "skip"
        return workflow

    assert assert_run_is_planned(build, {}, PLUGINS["linear"]).ok


@pytest.mark.parametrize("build", [deface_workflow, results_workflow, tracking_workflow])
def test_plans_of_petdeface_lyman_and_trampolino(workdir: Path, build: Build) -> None:
    planned = assert_run_is_planned(build, {}, PLUGINS["linear"], empty=NO_PICTURES)

    assert planned.ok
    after = plan(build())
    assert all(sink.is_known for sink in after.sinks)
    assert (after.errors, after.clashes, after.possible) == ((), (), ())


@pytest.mark.parametrize("build", [deface_workflow, tracking_workflow])
def test_plans_of_petdeface_and_trampolino_in_s3(
    workdir: Path, build: Build, bucket: Bucket, endpoint: str
) -> None:
    place = {"base_directory": "s3://mybucket/deriv", "s3_endpoint_url": endpoint}

    assert assert_run_is_planned(build, place, PLUGINS["linear"], empty=NO_PICTURES).ok


def test_outputs_of_one_node_in_several_runs_do_not_clash(workdir: Path) -> None:
    planned = plan(tracking_workflow())

    assert planned.possible == ()
    assert len(planned.destinations) == 6
