"""What processes and jobs of SLURM have computed is salvaged as with the plugin Linear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import tree
from tests.distributed.test_shapes import PLUGINS
from tests.workflows.failing_study import StudyDirectory, assert_salvage_delivers_what_is_there


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
