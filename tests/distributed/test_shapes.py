"""Workflows of the shapes of public packages end as with nipype's class under its plugins, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.shapes import WAYS, run_shapes

PLUGINS: dict[str, dict[str, Any]] = {
    **{
        method: {"plugin": "MultiProc", "plugin_args": {"n_procs": 2, "mp_context": method}}
        for method in ("fork", "spawn")
    },
    "SLURM": {"plugin": "SLURM"},
}


@pytest.fixture(scope="module")
def nipypes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What nipype's own class delivers."""
    return run_shapes(None, {"plugin": "Linear"}, tmp_path_factory.mktemp("nipype"))


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("way", WAYS)
def test_public_packages_end_as_with_nipypes_class(
    way: str,
    plugin: str,
    nipypes: dict[str, bytes],
    workdir: Path,
    request: pytest.FixtureRequest,
) -> None:
    if plugin == "SLURM":
        request.getfixturevalue("cluster")
    assert run_shapes(way, PLUGINS[plugin], workdir) == nipypes
