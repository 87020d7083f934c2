"""What processes and jobs of SLURM have computed is salvaged as with the plugin Linear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nipype import Workflow

from nipype_datasink import SalvageError, salvage
from tests.conftest import contents, tree
from tests.distributed.test_shapes import PLUGINS
from tests.workflows.failing_study import StudyDirectory, assert_salvage_delivers_what_is_there

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


@pytest.mark.parametrize("plugin", PLUGINS)
def test_salvage_delivers_what_jobs_have_computed(
    plugin: str, workdir: Path, request: pytest.FixtureRequest
) -> None:
    if plugin == "SLURM":
        request.getfixturevalue("cluster")
    study = StudyDirectory(workdir, "")

    def delivered() -> Mapping[str, bytes]:
        return {name: data for name, data in tree(study.out).items() if data is not None}

    assert_salvage_delivers_what_is_there(
        study, lambda workflow: workflow.run(**PLUGINS[plugin]), delivered
    )


@pytest.mark.usefixtures("cluster")
def test_jobs_complete_what_was_salvaged_into_a_bucket(
    workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    study = StudyDirectory(workdir, "s3://mybucket/out", s3_endpoint_url=endpoint)

    def build() -> Workflow:
        workflow, sink = study.empty_workflow(), study.sink()
        for name in ("good", "bad"):
            node = study.node(name)
            node.inputs.label = "x"
            workflow.connect(node, "out", sink, name)
        return workflow

    study.fail("bad-x")
    with pytest.raises(Exception, match=r"was to fail|raised"):
        build().run(**PLUGINS["SLURM"])
    assert contents(bucket) == {}

    with pytest.raises(SalvageError, match="study/bad failed"):
        salvage(build())
    assert contents(bucket) == {"out/good/x_good.txt": b"good-x"}
    sent = bucket.Object("out/good/x_good.txt").last_modified
    study.executions()

    study.fail()
    build().run(**PLUGINS["SLURM"])
    assert contents(bucket) == {
        "out/good/x_good.txt": b"good-x",
        "out/bad/x_bad.txt": b"bad-x",
    }
    assert bucket.Object("out/good/x_good.txt").last_modified == sent
    assert study.executions() == {"bad-x": 1}
