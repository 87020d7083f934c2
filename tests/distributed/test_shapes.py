"""Workflows like those of public packages give the same tree under nipype's plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.shapes import INSTALLATIONS, run_shapes

PLUGINS: dict[str, dict[str, Any]] = {
    **{
        method: {"plugin": "MultiProc", "plugin_args": {"n_procs": 2, "mp_context": method}}
        for method in ("fork", "spawn")
    },
    "SLURM": {"plugin": "SLURM"},
}


@pytest.fixture(scope="module")
def expected_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that nipype's own class delivers."""
    return run_shapes(None, {"plugin": "Linear"}, tmp_path_factory.mktemp("nipype"))


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_public_packages_give_the_same_tree_as_with_nipype(
    installation: str,
    plugin: str,
    expected_files: dict[str, bytes],
    workdir: Path,
    request: pytest.FixtureRequest,
) -> None:
    if plugin == "SLURM":
        request.getfixturevalue("cluster")
    assert run_shapes(installation, PLUGINS[plugin], workdir) == expected_files
