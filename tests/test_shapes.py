"""Workflows of the shapes of public packages end as with nipype's class, however ours is put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.shapes import WAYS, run_shapes

LINEAR: dict[str, Any] = {"plugin": "Linear"}


@pytest.fixture(scope="module")
def nipypes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What nipype's own class delivers."""
    files = run_shapes(None, LINEAR, tmp_path_factory.mktemp("nipype"))
    assert len(files) == 7
    return files


@pytest.mark.parametrize("way", WAYS)
def test_public_packages_end_as_with_nipypes_class(
    way: str, nipypes: dict[str, bytes], workdir: Path
) -> None:
    assert run_shapes(way, LINEAR, workdir) == nipypes
