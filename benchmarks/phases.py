"""Measure what the time consists of when the AWS Common Runtime sends small files; also a program.

Other programs only send. The phases before that show what else this library does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.certificate import make_certificate
from benchmarks.server import BUCKET, running
from benchmarks.sources import Sources
from benchmarks.tools import BUILD, call, make_home

_SIZE = 16 << 10  # bytes
_MODULE = "benchmarks.phases"

PHASES = (
    "nipype's run(), the plan",
    "opening boto3's client",
    "the listing",
    "until the first response",
    "until the last response",
    "the end",
)
CPU = "CPU of the process"
VERIFYING = "of this, verifying files"

Phases = Mapping[str, float]


def measure_phases(
    server: Path, workspace: Path, count: int, rtts: Sequence[int]
) -> dict[str, Phases]:
    """Return seconds by phase, for the first and the second sink of a process, over TLS.

    Parameters
    ----------
    server
        The compiled server.
    workspace
        Directory for sources and the certificate.
    count
        Number of files that each sink sends.
    rtts
        Round-trip times in ms.
    """
    source = Sources(count, _SIZE).make(workspace / "sources")
    certificate = make_certificate(workspace / "certificate")
    found: dict[str, Phases] = {}
    for rtt in rtts:
        with running(server, rtt, certificate) as store:
            home = make_home(workspace)
            sinks: Any = call(_MODULE, str(source), store.endpoint, home, store.ca)
        found |= {f"{rtt} ms, {name} sink": phases for name, phases in sinks.items()}
    return found


class _Clock:
    """Notes when this library reaches a phase; wraps functions of it."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.verifying = 0.0

    def wrap(self, owner: Any, name: str) -> None:
        """Note when a function of `owner` begins and ends."""
        function = getattr(owner, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            self.note(f"{name} begins")
            try:
                return function(*arguments, **options)
            finally:
                self.note(f"{name} ends")

        setattr(owner, name, noted)

    def add_cpu(self, owner: Any, name: str) -> None:
        """Add up the CPU time of a function of `owner`."""
        function = getattr(owner, name)

        def added(*arguments: Any) -> Any:
            begin = time.thread_time()
            try:
                return function(*arguments)
            finally:
                self.verifying += time.thread_time() - begin

        setattr(owner, name, added)

    def note(self, event: str) -> None:
        """Note that something happens now."""
        self.times.setdefault(event, []).append(time.perf_counter())


def _measure(source: Path) -> dict[str, Phases]:
    from nipype_datasink.s3 import target
    from nipype_datasink.s3.crt.transport import CrtTransport
    from nipype_datasink.s3.crt.upload import Upload

    clock = _Clock()
    clock.wrap(target.S3Target, "_open")
    clock.wrap(target, "compare_with_bucket")
    clock.wrap(Upload, "on_done")
    clock.add_cpu(CrtTransport, "verify")
    files = [str(path) for path in sorted(source.iterdir())]
    return {name: _run(clock, _sink(name, files).run) for name in ("first", "second")}


def _run(clock: _Clock, run: Callable[[], object]) -> Phases:
    clock.times.clear()
    clock.verifying = 0.0
    clock.note("begin")
    cpu = time.process_time()
    run()
    cpu = time.process_time() - cpu
    clock.note("end")
    edges = [
        clock.times["begin"][0],
        clock.times["_open begins"][0],
        clock.times["_open ends"][0],
        clock.times["compare_with_bucket ends"][0],
        clock.times["on_done begins"][0],
        clock.times["on_done ends"][-1],
        clock.times["end"][0],
    ]
    durations = [end - begin for begin, end in pairwise(edges)]
    assert min(durations) >= 0, durations
    return {**dict(zip(PHASES, durations, strict=True)), CPU: cpu, VERIFYING: clock.verifying}


def _sink(folder: str, files: list[str]) -> Any:
    from nipype_datasink import DataSink

    sink = DataSink(s3_transfer_client="crt")
    sink.inputs.base_directory = f"s3://{BUCKET}/{folder}"
    setattr(sink.inputs, "@all", files)
    return sink


def main() -> None:
    found = measure_phases(BUILD / "nulls3", BUILD / "workspace", 1_000, (0, 20, 50))
    for sink, phases in found.items():
        print(sink)
        for phase, seconds in phases.items():
            print(f"  {phase:50}{seconds:8.3f} s")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(f"\n{json.dumps(_measure(Path(sys.argv[1])))}")
    else:
        main()
