"""A package that reads its tree back gets a copy in S3 without being edited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import contents
from tests.readback import run_readback

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
