"""The command `nipype-datasink salvage`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import contents, tree
from tests.forks import RunPython

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

PIPELINE = """
import os
import sys
from nipype import Node, Workflow
from nipype.interfaces.io import DataSink
from nipype.interfaces.utility import Function

def write(name, broken):
    import os
    if os.path.exists(broken):
        raise RuntimeError(f"{name} fails")
    with open(f"{name}.txt", "w") as file:
        file.write(name)
    return os.path.abspath(f"{name}.txt")

print("building")
workflow = Workflow("study", base_dir=os.path.abspath("work"))
workflow.config["execution"]["crashdump_dir"] = os.path.abspath("crashes")
sink = Node(DataSink(base_directory=os.path.abspath("out")), name="datasink")
for name in ("anat", "func"):
    node = Node(Function(output_names=["out"], function=write), name=name)
    node.inputs.name, node.inputs.broken = name, os.path.abspath(f"broken-{name}")
    workflow.connect(node, "out", sink, name)
workflow.run()
"""


@pytest.fixture
def run_command(workdir: Path, fork_python: RunPython) -> RunPython:
    """Return a function that runs the command, beside a script that has failed."""
    (workdir / "pipeline.py").write_text(PIPELINE)
    (workdir / "broken-func").touch()
    run = partial(fork_python, "-m", "nipype_datasink")
    assert run("run", "pipeline.py").returncode == 1
    return run


_STOPPED = f"stopped at pipeline.py:{PIPELINE.count(chr(10))}; workflows after it were not seen"


def test_what_is_there_is_delivered_and_the_rest_is_named(
    run_command: RunPython, workdir: Path
) -> None:
    done = run_command("salvage", "pipeline.py")

    (crash,) = (workdir / "crashes").iterdir()
    assert done.returncode == 1
    assert done.stdout.splitlines()[-5:] == [
        "study.datasink: 1 new",
        "  not delivered: func <- func.out, because of study/func",
        f"study/func failed: {crash}",
        "1 sink: 1 incomplete; 1 file delivered",
        _STOPPED,
    ]
    assert set(tree(workdir / "out")) == {"anat", "anat/anat.txt"}


def test_what_is_there_is_copied_to_s3(
    run_command: RunPython, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    done = run_command("salvage", "--s3-copy", "out=s3://mybucket/p", "pipeline.py")
    assert done.returncode == 1
    assert "study.datasink: 2 new" in done.stdout
    assert contents(bucket) == {"p/anat/anat.txt": b"anat"}


def test_json_is_one_document_and_complete_sinks_exit_with_0(
    run_command: RunPython, workdir: Path
) -> None:
    done = run_command("salvage", "--json", "pipeline.py")
    assert done.returncode == 1
    files = [{"destination": str(workdir / "out/anat/anat.txt"), "status": "new"}]
    assert json.loads(done.stdout)["sinks"][0]["files"] == files
    assert "building" in done.stderr

    (workdir / "broken-func").unlink()
    assert run_command("run", "pipeline.py").returncode == 0
    done = run_command("salvage", "--json", "pipeline.py")
    assert done.returncode == 0
    expected = {"ok": True, "finished": 1, "warnings": [], "sinks": [], "failed": []}
    assert json.loads(done.stdout) == expected


def test_wrong_uses_and_lost_results_are_errors(run_command: RunPython, workdir: Path) -> None:
    (workdir / "nothing.py").touch()
    assert run_command("salvage", "nothing.py").returncode == 2
    (workdir / "work").rename(workdir / "moved")
    done = run_command("salvage", "pipeline.py")
    assert done.returncode == 1
    assert f"Error: the working directory {workdir}/work/study does not exist" in done.stderr
