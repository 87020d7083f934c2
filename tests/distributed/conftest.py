"""The cluster that the tests here run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.distributed.cluster import slurm


@pytest.fixture(scope="session")
def _slurm() -> Iterator[dict[str, str]]:
    with slurm() as environment:
        yield environment


@pytest.fixture
def cluster(_slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A SLURM of two nodes."""
    for name, value in _slurm.items():
        monkeypatch.setenv(name, value)
