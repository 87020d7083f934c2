"""What jobs of SLURM have computed is salvaged as with other plugins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import tree
from tests.workflows.failing_study import StudyDirectory, assert_salvage_delivers_what_is_there

pytestmark = pytest.mark.usefixtures("cluster")


def test_salvage_delivers_what_jobs_have_computed(workdir: Path) -> None:
    study = StudyDirectory(workdir, "")

    def delivered() -> Mapping[str, bytes]:
        return {name: data for name, data in tree(study.out).items() if data is not None}

    assert_salvage_delivers_what_is_there(
        study, lambda workflow: workflow.run(plugin="SLURM"), delivered
    )
