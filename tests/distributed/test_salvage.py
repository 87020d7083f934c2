"""What jobs of SLURM have computed is salvaged as with other plugins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import contents, tree
from tests.workflows.failing_study import Lab, assert_salvage_delivers_what_is_there

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.mark.parametrize("place", ["disk", "S3"])
def test_salvage_delivers_what_jobs_have_computed(
    workdir: Path, place: str, endpoint: str, bucket: Bucket
) -> None:
    def delivered() -> Mapping[str, bytes]:
        if place == "S3":
            return {name.removeprefix("out/"): data for name, data in contents(bucket).items()}
        return {name: data for name, data in tree(lab.out).items() if data is not None}

    base = "s3://mybucket/out" if place == "S3" else ""
    lab = Lab(workdir, base, s3_endpoint_url=endpoint)

    assert_salvage_delivers_what_is_there(
        lab, lambda workflow: workflow.run(plugin="SLURM"), delivered
    )
