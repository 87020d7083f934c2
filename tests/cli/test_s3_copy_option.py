"""The option that gives a package a copy in S3."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from nipype import config

from nipype_datasink.cli import main
from nipype_datasink.cli.programs import _has_copies
from tests.forks import RunPython
from tests.readback import SCRIPT

PACKAGE = """
import os
import sys
from nipype import Node, Workflow
from nipype.interfaces.io import DataSink
workflow = Workflow("study", base_dir=os.path.abspath("work"))
sink = Node(DataSink(base_directory=os.path.abspath("derivatives/mytool")), name="sink")
sink.inputs.anat = os.path.abspath(__file__)
workflow.add_nodes([sink])
workflow.run(plugin="Linear")
sys.exit(3)
"""


def test_a_copy_that_is_not_valid_is_incorrect_use(workdir: Path) -> None:
    (workdir / "script.py").write_text(SCRIPT)
    for value, expected in (
        ("derivatives", "--s3-copy: 'derivatives' is not valid; write 'DIR=s3://bucket/prefix'"),
        ("derivatives=s3://x", "--s3-copy: 'x' is not a valid bucket name"),
    ):
        done = CliRunner().invoke(main, ["run", "--s3-copy", value, "script.py", "out"])
        assert done.exit_code == 2
        assert expected in " ".join(done.output.split())
    assert [path.name for path in workdir.iterdir()] == ["script.py"]


def test_a_directory_without_a_base_directory_is_named_at_the_end(
    workdir: Path, fork_python: RunPython
) -> None:
    (workdir / "package.py").write_text(PACKAGE)
    options = ("--s3-copy", "derivative=s3://mybucket/p")

    done = fork_python("-m", "nipype_datasink", "run", *options, "package.py")

    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        f"warning: no sink has its base directory in {workdir}/derivative, which does not exist; "
        f"nothing is copied to s3://mybucket/p; base directories of the sinks: "
        f"{workdir}/derivatives/mytool"
    )
    assert done.stderr.count("warning: no sink") == 1


@pytest.mark.parametrize(
    ("script", "status", "last"),
    [
        ("raise ValueError('mine')", 1, "ValueError: mine"),
        ("import sys; sys.exit(3)", 3, ""),
        ("pass", 0, "warning: no sink was seen"),
    ],
)
def test_a_program_that_fails_before_its_sinks_has_no_warning(
    workdir: Path, fork_python: RunPython, script: str, status: int, last: str
) -> None:
    (workdir / "script.py").write_text(script)
    options = ("--s3-copy", "out=s3://mybucket/p")
    done = fork_python("-m", "nipype_datasink", "run", *options, "script.py")
    assert done.returncode == status
    assert (done.stderr.splitlines() or [""])[-1].startswith(last)
    assert ("warning" in done.stderr) == ("warning" in last)


def test_a_configured_copy_that_is_not_valid_is_named_before_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config.set("execution", "datasink_s3_copy", "out=s3://mybucket/p")
    assert not _has_copies()
    expected = "datasink_s3_copy: the directory 'out' is relative; write an absolute path"
    assert expected in capsys.readouterr().err
