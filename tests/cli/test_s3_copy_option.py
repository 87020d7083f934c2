"""The option that gives a package a copy in S3."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from nipype_datasink.cli import main
from tests.readback import SCRIPT


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
