"""Killed at any moment: what is there is whole, and a rerun completes the rest."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype_datasink import DataSink
from tests.conftest import contents, tree
from tests.faultproxy import Fault, Faults, Proxy
from tests.integration.conftest import Count, Record

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

FILES = 200
_fork = multiprocessing.get_context("fork")


def make_sources(directory: Path, *, large: int, size: int) -> dict[str, bytes]:
    """Write `FILES` files, every so many of them with `size` bytes; return the tree to be sunk."""
    directory.mkdir()
    block = random.Random(1).randbytes(1 << 16)
    for number in range(FILES):
        is_large = number % (FILES // large) == 0
        data = b"%d " % number + block * (size // len(block)) if is_large else block[:number]
        (directory / f"{number:03}.dat").write_bytes(data)
    return {f"run/{name}": data or b"" for name, data in tree(directory).items()}


def run_until(moment: float, sink: DataSink) -> bool:
    """Run in a process that is killed after so many seconds; return whether it was."""
    begun = _fork.Event()

    def run() -> None:
        begun.set()
        sink.run()
        os._exit(0)

    process = _fork.Process(target=run)
    process.start()
    begun.wait()
    process.join(moment)
    process.kill()
    process.join()
    return process.exitcode != 0


def duration(sink: DataSink) -> float:
    begin = time.monotonic()
    sink.run()
    return time.monotonic() - begin


def moments(rounds: int, longest: float) -> Iterator[float]:
    """Yield random times, one in each of as many equal parts of `longest` seconds."""
    chance = random.Random(rounds)
    for number in range(rounds):
        yield longest * (number + chance.random()) / rounds


def sink_of(directory: Path, base: str, **inputs: Any) -> DataSink:
    return DataSink(base_directory=base, infields=["@x"], **{"@x": f"{directory}/", **inputs})


def start_over(out: Path, old: dict[str, bytes]) -> None:
    """Leave nothing in `out` but an older version of some files."""
    shutil.rmtree(out)
    (out / "run").mkdir(parents=True)
    for name, data in old.items():
        (out / name).write_bytes(data)


def test_killed_while_writing_to_disk(workdir: Path, count: Count, record: Record) -> None:
    out = workdir / "out"
    wanted = make_sources(workdir / "run", large=10, size=16 << 20)
    old = dict.fromkeys(list(wanted)[::2], b"old")
    sink = sink_of(workdir / "run", str(out))
    longest = duration(sink)
    rounds, killed, writing = count(100, 10), 0, 0
    for moment in moments(rounds, longest):
        start_over(out, old)
        killed += run_until(moment, sink)
        litter = set(map(str, (out / "run").glob(".datasink-*")))
        writing += bool(litter)
        for name, data in files(out).items():
            whole = data in (wanted.get(name), old.get(name))
            assert whole or str(out / name) in litter, f"{name} is torn"
        sink.run()
        assert files(out) == wanted
    record(
        "Killed while writing to disk",
        {"random moments": rounds, "runs cut off": killed, "temporary file open": writing},
    )
    assert writing >= count(60, 1)


def files(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(directory).items() if data is not None}


def test_killed_while_sending(
    *,
    bucket: Bucket,
    proxy: Proxy,
    workdir: Path,
    transport: str,
    count: Count,
    record: Record,
) -> None:
    wanted = make_sources(workdir / "run", large=5, size=9 << 20)
    sink = sink_of(
        workdir / "run",
        "s3://mybucket",
        s3_endpoint_url=proxy.address,
        s3_transfer_client=transport,
    )
    # The store is on this machine: without this, parts would be sent in no time.
    slowly = Faults(kinds=(Fault.TRICKLE,), only="partNumber=", pause=2)
    proxy.set(slowly)
    longest = duration(sink)
    rounds, killed, sending = count(100, 6), 0, 0
    for moment in moments(rounds, longest):
        bucket.objects.all().delete()
        killed += run_until(moment, sink)
        there = contents(bucket)
        assert there.items() <= wanted.items(), "an object is torn"
        uploads = list(bucket.multipart_uploads.all())
        sending += bool(uploads)
        proxy.set(Faults())
        sink.run()
        proxy.set(slowly)
        assert contents(bucket) == wanted
        for upload in uploads:  # they might be somebody else's
            upload.abort()
        assert list(bucket.multipart_uploads.all()) == []
    record(
        f"Killed while sending, {transport}",
        {"random moments": rounds, "runs cut off": killed, "upload open": sending},
    )
    assert sending >= count(60, 1)
