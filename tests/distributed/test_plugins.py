"""One real workflow gives the same tree with every plugin of nipype."""

from __future__ import annotations

import copy
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Workflow
from nipype.interfaces import io as nipype_io

from tests.conftest import contents, tree
from tests.distributed.study import study

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

Files = Mapping[str, bytes]

PLUGINS: dict[str, dict[str, Any]] = {
    "Linear": {"plugin": "Linear"},
    "LegacyMultiProc": {"plugin": "LegacyMultiProc", "plugin_args": {"n_procs": 2}},
    **{
        f"MultiProc-{method}": {
            "plugin": "MultiProc",
            "plugin_args": {"n_procs": 2, "mp_context": method},
        }
        for method in ("fork", "spawn", "forkserver")
    },
    "IPython": {"plugin": "IPython", "plugin_args": {"profile": "default"}},
    "SLURM": {"plugin": "SLURM"},
    # Without arguments the constructor of this plugin fails.
    "SLURMGraph": {
        "plugin": "SLURMGraph",
        "plugin_args": {"dont_resubmit_completed_jobs": True},
    },
}


def files_of(directory: Path) -> Files:
    return {name: data for name, data in tree(directory).items() if data is not None}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return the files that nipype's own class delivers."""
    directory = tmp_path_factory.mktemp("nipype")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nipype_datasink.demo.workflow.DataSink", nipype_io.DataSink)
        workflow = study(str(directory / "out"), directory / "work")
    assert type(workflow.get_node("datasink").interface) is nipype_io.DataSink
    graph = workflow.run(plugin="Linear")
    assert len(graph) >= 50
    files = files_of(directory / "out")
    assert max(map(len, files.values())) > 8 << 20
    return files


@pytest.fixture(params=PLUGINS)
def run(request: pytest.FixtureRequest) -> Callable[[Workflow], None]:
    """Return a function that runs a workflow with a plugin and waits for its end."""
    how = copy.deepcopy(PLUGINS[request.param])
    if request.param.startswith("SLURM"):
        request.getfixturevalue("cluster")
    if request.param == "IPython":
        how["plugin_args"]["cluster_id"] = request.getfixturevalue("engines")

    def run(workflow: Workflow) -> None:
        workflow.run(**how)
        while (
            request.param == "SLURMGraph" and queue()
        ):  # it submits jobs and does not wait for them
            time.sleep(0.5)

    return run


def queue() -> list[str]:
    done = subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_tree_matches_nipype_in_s3_and_on_disk(
    run: Callable[[Workflow], None],
    workdir: Path,
    endpoint: str,
    bucket: Bucket,
    expected: Files,
) -> None:
    work = workdir / "work"

    run(study("s3://mybucket/out", work, local_copy=workdir / "copy", endpoint_url=endpoint))
    run(study(str(workdir / "local"), work))

    assert contents(bucket) == {f"out/{name}": data for name, data in expected.items()}
    assert files_of(workdir / "copy") == expected
    assert files_of(workdir / "local") == expected
