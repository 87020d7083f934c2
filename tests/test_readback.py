"""A package that reads its tree back gets a copy in S3 without being edited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from nipype_datasink.cli import main
from tests.conftest import contents
from tests.readback import SCRIPT, run_readback

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

COPY = ("-m", "nipype_datasink", "run", "--s3-copy")
LINEAR = {"plugin": "Linear"}


def test_tree_on_disk_equals_that_of_nipype_and_the_keys_equal_it(
    workdir: Path, endpoint: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_readback(workdir / "nipype", LINEAR)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    inner = "derivatives/mytool/group=s3://mybucket/group"
    python = (*COPY, "derivatives=s3://mybucket/50%", COPY[-1], inner)

    assert run_readback(workdir / "ours", LINEAR, python) == expected

    # The base directory of all sinks is "mytool", not "group".
    assert contents(bucket) == {f"50%/{name}": data for name, data in expected.items()}


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
