"""Workflows like those of public packages give the same tree as with nipype's class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.shapes import INSTALLATIONS, run_shapes

LINEAR: dict[str, Any] = {"plugin": "Linear"}


@pytest.fixture(scope="module")
def expected_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that nipype's own class delivers."""
    files = run_shapes(None, LINEAR, tmp_path_factory.mktemp("nipype"))
    assert len(files) == 7
    return files


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_public_packages_give_the_same_tree_as_with_nipype(
    installation: str, expected_files: dict[str, bytes], workdir: Path
) -> None:
    assert run_shapes(installation, LINEAR, workdir) == expected_files
