"""After SIGKILL or SIGTERM at any moment, files are complete, and a rerun delivers the rest."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nipype_datasink import DataSink
from tests.conftest import contents, tree
from tests.faultproxy import Fault, Faults, Proxy
from tests.integration.conftest import Count, Record

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket, MultipartUpload

FILES = 200
_fork = multiprocessing.get_context("fork")


def make_sources(directory: Path, *, large: int, size: int) -> dict[str, bytes]:
    """Write `FILES` files, `large` of them of `size` bytes; return the expected destinations."""
    directory.mkdir()
    block = random.Random(1).randbytes(1 << 16)
    for number in range(FILES):
        is_large = number % (FILES // large) == 0
        data = b"%d " % number + block * (size // len(block)) if is_large else block[:number]
        (directory / f"{number:03}.dat").write_bytes(data)
    return {f"run/{name}": data or b"" for name, data in tree(directory).items()}


def killed(
    sink: DataSink,
    *,
    by: signal.Signals = signal.SIGKILL,
    after: float = 0,
    once: Callable[[], object] | None = None,
    then: float = 0,
) -> bool:
    """Run in a process and send it a signal; return whether the signal ended it.

    The signal is sent `after` some seconds. If `once` is given, it is sent `then` seconds after
    that function returns something true.
    """

    def run() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # coverage sets a handler
        sink.run()
        os._exit(0)

    process = _fork.Process(target=run)
    process.start()
    process.join(after)
    while once and not once() and process.is_alive():
        pass
    process.join(then)
    if process.is_alive():
        os.kill(process.pid or 0, by)
    process.join()
    assert process.exitcode in (0, -by)
    return process.exitcode != 0


def duration(sink: DataSink, start_over: Callable[[], object]) -> float:
    """Return the seconds that the fastest of three runs takes."""
    seconds = []
    for _ in range(3):
        start_over()
        begin = time.monotonic()
        sink.run()
        seconds.append(time.monotonic() - begin)
    return min(seconds)


def sink_of(directory: Path, base: str, **inputs: Any) -> DataSink:
    return DataSink(base_directory=base, infields=["@x"], **{"@x": f"{directory}/", **inputs})


def start_over(out: Path, old: dict[str, bytes]) -> None:
    """Remove `out`, and write an old version of some files."""
    shutil.rmtree(out)
    (out / "run").mkdir(parents=True)
    for name, data in old.items():
        (out / name).write_bytes(data)


@pytest.mark.parametrize(
    ("by", "ended"), [(signal.SIGKILL, "Killed"), (signal.SIGTERM, "Terminated")]
)
def test_killed_while_writing_to_disk(
    *, workdir: Path, by: signal.Signals, ended: str, count: Count, record: Record
) -> None:
    out = workdir / "out"
    wanted = make_sources(workdir / "run", large=10, size=24 << 20)
    old = dict.fromkeys(list(wanted)[::10], b"old")
    sink = sink_of(workdir / "run", str(out))
    out.mkdir()
    longest = duration(sink, lambda: start_over(out, old))
    rounds, interrupted, writing = count(100, 10), 0, 0
    chance = random.Random(rounds)

    def temporary_files() -> set[Path]:
        return set((out / "run").glob(".datasink-*"))

    for number in range(rounds):
        start_over(out, old)
        interrupted += killed(
            sink,
            by=by,
            after=chance.uniform(0, longest),
            once=temporary_files if number % 4 else None,
        )
        writing += bool(temporary_files())
        for name, data in files(out).items():
            whole = data in (wanted.get(name), old.get(name))
            temporary = out / name in temporary_files()
            assert whole or temporary, f"{name} is incomplete"
        for path in temporary_files():  # only old ones are removed
            os.utime(path, (1, 1))
        sink.run()
        assert files(out) == wanted
    record(
        f"{ended} while writing to disk",
        {
            "random moments": rounds,
            "runs interrupted": interrupted,
            "left a temporary file": writing,
        },
    )
    assert writing >= count(60, 1) if by is signal.SIGKILL else not writing


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
    # The store is on this machine: without a pause, parts would be sent too fast to interrupt.
    slowly = Faults(kinds=(Fault.TRICKLE,), only="partNumber=", pause=0.5)
    proxy.set(slowly)
    longest = duration(sink, bucket.objects.all().delete)
    rounds, interrupted, sending = count(100, 6), 0, 0
    chance = random.Random(rounds)

    def uploads() -> list[MultipartUpload]:
        return list(bucket.multipart_uploads.all())

    for number in range(rounds):
        bucket.objects.all().delete()
        if number % 4:
            interrupted += killed(sink, once=uploads, then=chance.uniform(0, slowly.pause))
        else:
            interrupted += killed(sink, after=chance.uniform(0, longest))
        arrived, left = contents(bucket), uploads()
        assert arrived.items() <= wanted.items(), "an object is incomplete"
        sending += bool(left)
        proxy.set(Faults())
        sink.run()
        proxy.set(slowly)
        assert contents(bucket) == wanted
        assert uploads() == left  # another process may own them
        for upload in left:
            upload.abort()
    record(
        f"Killed while sending, {transport}",
        {"random moments": rounds, "runs interrupted": interrupted, "upload open": sending},
    )
    assert sending >= count(60, 1)
