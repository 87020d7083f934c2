"""Many runs in one process: neither memory nor open files grow."""

from __future__ import annotations

import gc
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nipype_datasink import DataSink
from tests.conftest import tree
from tests.integration.conftest import Count, Record

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

FILES = 400  # of each run
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
GROWTH = 16 * MIB  # in a soak, a leak of 1 KiB a file would be more
CONNECTIONS = 10  # come and go
PROC = Path("/proc/self")


def sink_often(directory: Path, runs: int, inputs: dict[str, Any]) -> list[tuple[int, int]]:
    """Return the memory in bytes and the number of open files after each run."""
    source = directory / "in"
    source.mkdir()
    grown = []
    for number in range(runs):
        for name in range(FILES):
            (source / f"{name}.dat").write_bytes(b"%d " % number * (name + 1))
        sink = DataSink(local_copy=str(directory / "copy"), container=f"run{number}", **inputs)
        setattr(sink.inputs, "@data", f"{source}/")
        sink.run()
        gc.collect()
        pages = int((PROC / "statm").read_text().split()[1])
        grown.append((pages * PAGE, len(list((PROC / "fd").iterdir()))))
    return grown


@pytest.mark.skipif(not PROC.exists(), reason="memory is read from /proc")
def test_memory_and_open_files_do_not_grow(
    *,
    workdir: Path,
    bucket: Bucket,
    inputs: dict[str, Any],
    transport: str,
    count: Count,
    record: Record,
) -> None:
    runs = count(50, 5)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        grown = pool.submit(sink_often, workdir, runs, inputs).result()
    memory, files = zip(*grown[runs // 5 :], strict=True)
    keys = {item.key for item in bucket.objects.all()}
    copied = {name for name, data in tree(workdir / "copy").items() if data}
    assert len(keys) == len(copied) == runs * FILES
    assert keys == copied
    assert max(files) <= files[0] + CONNECTIONS
    assert memory[-1] - memory[0] <= GROWTH
    record(
        f"Many runs in one process, {transport}",
        {
            "files": runs * FILES,
            "runs": runs,
            "MiB of memory early": round(memory[0] / MIB),
            "MiB of memory at the end": round(memory[-1] / MIB),
            "open files early": files[0],
            "open files at the end": files[-1],
        },
    )
