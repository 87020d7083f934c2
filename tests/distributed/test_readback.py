"""A package that reads its tree back gets a copy in S3 under nipype's plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import contents
from tests.distributed.test_shapes import PLUGINS
from tests.readback import run_readback

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


@pytest.mark.parametrize("plugin", PLUGINS)
def test_tree_on_disk_equals_that_of_nipype_and_the_keys_equal_it(
    plugin: str,
    workdir: Path,
    endpoint: str,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if plugin == "SLURM":
        request.getfixturevalue("cluster")
    expected = run_readback(workdir / "nipype", {"plugin": "Linear"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    copy = f"{workdir}/ours/derivatives=s3://mybucket/50%"
    python = ("-m", "nipype_datasink", "run", "--s3-copy", copy)

    assert run_readback(workdir / "ours", PLUGINS[plugin], python) == expected

    assert contents(bucket) == {f"50%/{name}": data for name, data in expected.items()}
