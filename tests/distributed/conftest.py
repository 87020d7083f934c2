"""Fixtures of the cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.cluster import slurm
from tests.distributed.proxy import Proxy


@pytest.fixture(scope="session")
def _slurm() -> Iterator[dict[str, str]]:
    with slurm() as environment:
        yield environment


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: None) -> Iterator[str]:
    """Start two engines of IPython with this environment; yield the ID of their cluster."""
    import ipyparallel

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # nipype asks the hub to delete results that a busy hub has not recorded yet, which fails.
    monkeypatch.setattr(ipyparallel.Client, "purge_results", lambda *_: None)
    with ipyparallel.Cluster(n=2) as client:
        client.wait_for_engines(2, timeout=60)
        yield client.cluster.cluster_id


@pytest.fixture
def cluster(_slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Start SLURM with two nodes."""
    for name, value in _slurm.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    proxy = Proxy(endpoint, limit=20 << 20)
    yield proxy
    proxy.close()


@pytest.fixture
def large(workdir: Path) -> Path:
    path = workdir / "large.nii"
    path.write_bytes(os.urandom(40 << 20))
    return path
