"""A full disk, a directory without write permission, and S3 that fails in the middle."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nipype_datasink import DataSink, DeliveryError, Status
from tests.conftest import as_user, contents, tree
from tests.faultproxy import Faults, Proxy

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

NOBODY = 65_534
DISK = 1 << 20  # bytes

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount, and be nobody")


def refused(sink: DataSink, why: str) -> dict[str, Status]:
    """Run `sink`; return the statuses in its error, after checking that they are true."""
    with pytest.raises(DeliveryError, match=why) as caught:
        sink.run()
    outcomes: Any = caught.value.outcomes
    for outcome in outcomes:
        transfer = outcome.transfer
        if not transfer.destination.startswith("s3://"):
            there, wanted = Path(transfer.destination), Path(transfer.source)
            same = there.exists() and there.read_bytes() == wanted.read_bytes()
            assert same == outcome.status.arrived, transfer.destination
    return {outcome.transfer.destination: outcome.status for outcome in outcomes}


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of one mebibyte."""
    place = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"DISK FULL IS NOT TESTED: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@needs_root
def test_a_disk_that_becomes_full_during_the_local_copy(
    workdir: Path, bucket: Bucket, endpoint: str, small_disk: Path
) -> None:
    sizes = {"a": DISK // 4, "b": DISK // 4, "c": DISK, "d": 10}
    for name, size in sizes.items():
        (workdir / name).write_bytes(os.urandom(size))
    sink = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=endpoint,
        local_copy=str(small_disk / "copy"),
        local_hardlink=False,
    )
    sink.inputs.x = [str(workdir / name) for name in sizes]
    said = refused(sink, "No space left")
    copies = {name: said[str(small_disk / "copy/x" / name)].value for name in sizes}
    assert copies["c"] == "failed"
    assert set(copies.values()) <= {"new", "failed", "not tried"}  # others race for the rest
    assert all(said[f"s3://mybucket/x/{name}"].arrived for name in sizes)
    assert contents(bucket) == {f"x/{name}": (workdir / name).read_bytes() for name in sizes}
    whole = {name: (workdir / name).read_bytes() for name in copies if copies[name] == "new"}
    assert tree(small_disk / "copy/x") == whole, "a temporary or incomplete file is left"


def test_s3_that_fails_in_the_middle_of_a_run(
    *,
    workdir: Path,
    bucket: Bucket,
    proxy: Proxy,
    sources: list[str],
    transport: str,
) -> None:
    sink = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=proxy.address,
        s3_transfer_client=transport,
        s3_max_concurrency=2,
        local_copy=str(workdir / "copy"),
    )
    sink.inputs.x = sources
    proxy.set(Faults(expires_after=5))
    said = refused(sink, "the credentials have expired")
    there = contents(bucket)
    assert {key for key in there if not said[f"s3://mybucket/{key}"].arrived} == set()
    assert sum(status.arrived for status in said.values()) == len(sources) + len(there)
    assert 0 < len(there) < len(sources)
    assert len(tree(workdir / "copy/x")) == len(sources)
    proxy.set(Faults())
    sink.run()
    assert len(contents(bucket)) == len(sources)


@pytest.fixture
def nobodys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that another user owns, with sources in it."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        os.chown(place, NOBODY, -1)
        monkeypatch.chdir(place)
        with as_user(NOBODY):
            for folder in ("in/one", "in/two", "in/three"):
                (place / folder).mkdir(parents=True)
                (place / folder / "file").write_text(folder)
        yield place


def read_only(out: Path) -> None:
    out.mkdir()
    out.chmod(0o555)


def read_only_in_the_middle(out: Path) -> None:
    (out / "two").mkdir(parents=True)
    (out / "two").chmod(0o555)


def somebody_elses_in_the_middle(out: Path) -> None:
    out.mkdir()
    with as_user(0):
        (out / "two").mkdir()


@needs_root
@pytest.mark.parametrize(
    ("prepare", "arrive"),
    [
        (read_only, []),
        (read_only_in_the_middle, ["one/file", "three/file"]),
        (somebody_elses_in_the_middle, ["one/file", "three/file"]),
    ],
)
def test_a_directory_without_write_permission(
    nobodys: Path, prepare: Callable[[Path], None], arrive: list[str]
) -> None:
    out = nobodys / "out"
    sink = DataSink(base_directory=str(out))
    for folder in ("one", "two", "three"):
        setattr(sink.inputs, f"@{folder}", str(nobodys / "in" / folder / ""))
    with as_user(NOBODY):
        prepare(out)
        said = refused(sink, "Permission denied")
    assert {str(out / name) for name in arrive} == {
        place for place, status in said.items() if status.arrived
    }
    assert sorted(name for name, data in tree(out).items() if data) == sorted(arrive)
    for path in (out, *out.rglob("*")):
        path.chmod(0o777)
    with as_user(NOBODY):
        sink.run()
    assert len([name for name, data in tree(out).items() if data]) == 3
