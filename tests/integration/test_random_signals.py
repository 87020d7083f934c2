"""After SIGINT or SIGTERM at a random moment, the process cleans up and ends by that signal."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Count, Record

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

# Runs a sink in a loop; without `keep` to a new container each time, so that all files are new.
SINK = """
import itertools, json, logging, shutil, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from nipype_datasink import DataSink
logging.getLogger("nipype.interface").setLevel(logging.ERROR)
inputs, fields, keep = json.loads(sys.argv[1])
sink = DataSink(**inputs)
for name, value in fields.items():
    setattr(sink.inputs, name, value)
for number in itertools.count():
    if not keep:
        sink.inputs.container = sys.argv[2] + str(number)
    sink.run()
    if number == 0 or not keep:
        print("a run has ended", flush=True)
    if not keep and "://" not in inputs["base_directory"]:
        shutil.rmtree(inputs["base_directory"])
"""
MAX_SECONDS = 20.0  # until the end; the time that SIGTERM allows, as the machine may be busy
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def sources_of(workdir: Path, sizes: list[int]) -> list[str]:
    """Write large files that all differ."""
    (workdir / "in").mkdir()
    block = random.Random(1).randbytes(1 << 20)
    paths = [workdir / "in" / f"{number}.dat" for number in range(len(sizes))]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.write_bytes(b"%d" % number + block * size)
    return [str(path) for path in paths]


def seconds_until_end(arguments: list[Any], number: signal.Signals, chance: random.Random) -> float:
    """Send a signal to a running sink; return the seconds until the process ends."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SINK, json.dumps(arguments), f"{chance.random()}-"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    with process.stdout as output:
        assert output.readline()  # after the first run, files to compare exist
        time.sleep(chance.uniform(0, 0.5))
        begin = time.monotonic()
        process.send_signal(number)
        assert process.wait(MAX_SECONDS) == -number
        return time.monotonic() - begin


def rounds(
    arguments: list[Any], title: str, count: Count, record: Record, chance: random.Random
) -> None:
    """Send both signals several times; record how long the process takes to end."""
    seconds = [
        seconds_until_end(arguments, SIGNALS[number % 2], chance) for number in range(count(30, 2))
    ]
    record(
        f"Interrupted or terminated while {title}",
        {
            "random moments": len(seconds),
            "median until the end (ms)": round(1000 * statistics.median(seconds)),
            "longest until the end (ms)": round(1000 * max(seconds)),
        },
    )


@pytest.mark.parametrize("doing", ["copying", "comparing", "planning"])
def test_on_disk(*, workdir: Path, doing: str, count: Count, record: Record) -> None:
    paths = sources_of(workdir, [80, 80, 1, 1])
    fields: dict[str, Any] = {"x": paths}
    if doing == "planning":  # two sources of one destination are compared
        twins = [workdir / "in" / "twins" / str(number) / "0.dat" for number in range(2)]
        for twin in twins:
            twin.parent.mkdir(parents=True)
            shutil.copyfile(paths[0], twin)
        fields = {"x": list(map(str, twins))}
    inputs = {"base_directory": str(workdir / "out"), "local_hardlink": False}
    rounds([inputs, fields, doing != "copying"], f"{doing} on disk", count, record, _chance(doing))
    assert list((workdir / "out").rglob(".datasink-*")) == []


@pytest.mark.parametrize("doing", ["sending", "hashing"])
def test_in_s3(
    *,
    workdir: Path,
    bucket: Bucket,
    inputs: dict[str, Any],
    transport: str,
    doing: str,
    count: Count,
    record: Record,
) -> None:
    """Sending includes verification: each multipart object is hashed once more."""
    sizes = [20, 12, 9, 1, 1] if doing == "sending" else [60, 60, 1]
    fields = {"x": sources_of(workdir, sizes)}
    rounds(
        [inputs, fields, doing == "hashing"],
        f"{doing} to S3, {transport}",
        count,
        record,
        _chance(doing),
    )
    assert list(bucket.multipart_uploads.all()) == []
    bucket.objects.all().delete()


def _chance(doing: str) -> random.Random:
    return random.Random(f"ends while {doing}")
