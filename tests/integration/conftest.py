"""A store with a proxy before it that spoils requests, and counts that `--soak` makes larger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nipype_datasink import DataSinkInputSpec
from tests import stores
from tests.faultproxy import Faults, Proxy

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

Count = Callable[[int, int], int]
Record = Callable[[str, Mapping[str, int]], None]

_CHOICES = DataSinkInputSpec.class_traits()["s3_transfer_client"].trait_type.values
TRANSPORTS = [choice for choice in _CHOICES if choice != "auto"]


@pytest.fixture(scope="session")
def _proxy(endpoint: str) -> Iterator[Proxy]:
    with stores.faulty(endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(_proxy: Proxy) -> Iterator[Proxy]:
    """A proxy in front of the store; nothing goes wrong until a test says so."""
    _proxy.set(Faults())
    yield _proxy
    _proxy.set(Faults())


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each value of ``s3_transfer_client`` that names a way of sending."""
    return request.param


@pytest.fixture
def inputs(bucket: Bucket, endpoint: str, transport: str) -> dict[str, Any]:
    """Inputs of a sink into ``mybucket``."""
    return {
        "base_directory": f"s3://{bucket.name}",
        "s3_endpoint_url": endpoint,
        "s3_transfer_client": transport,
    }


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Count:
    """Chooses between what a soak and what an everyday run repeats."""
    soak = request.config.getoption("--soak")

    def choose(many: int, few: int) -> int:
        return many if soak else few

    return choose


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """Keeps the numbers of a test for the end of the session."""
    return record_property


@pytest.fixture
def sources(workdir: Path) -> list[str]:
    """Nine small files, the first of them empty, and one that goes in parts."""
    sizes = [0, 1, 100, 4096, 65_536, 65_537, 200_000, 5, 5, (8 << 20) + 5]
    paths = [workdir / "in" / f"{number}.dat" for number in range(len(sizes))]
    paths[0].parent.mkdir()
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.write_bytes((number.to_bytes(2, "big") + b"brain" * (size // 5 + 1))[:size])
    return [str(path) for path in paths]


_records: dict[str, Any] = {}  # of each title, names and numbers


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect what tests have recorded, in whatever process they ran; add numbers of one title."""
    if report.when == "call" and report.passed:
        added: dict[str, Any] = dict(report.user_properties)
        for title, numbers in added.items():
            known = _records.get(title, {})
            _records[title] = {
                name: known.get(name, 0) + numbers.get(name, 0) for name in {**known, **numbers}
            }


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the numbers; those of a soak, or of a part of it, go into the documentation."""
    terminalreporter.write_line(_table(_records))
    if config.getoption("--soak"):
        kept = config.rootpath / "docs" / "reliability-numbers.json"
        records = {**(json.loads(kept.read_text()) if kept.exists() else {}), **_records}
        records = dict(sorted(records.items()))
        kept.write_text(json.dumps(records, indent=2) + "\n")
        kept.with_suffix(".md").write_text(_table(records))


def _table(records: Mapping[str, Mapping[str, int]]) -> str:
    tables = []
    for title, numbers in records.items():
        rows = [f"| {name} | {number:,} |\n" for name, number in numbers.items()]
        tables.append("".join([f"| {title} | |\n", "|---|--:|\n", *rows]))
    return "\n".join(tables)
