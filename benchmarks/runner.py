"""Run rows: each tool in turn, in a new process, to a new destination."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.certificate import make_certificate
from benchmarks.correctness import check_copy, check_upload
from benchmarks.job import Job
from benchmarks.measurements import Measurement, measured
from benchmarks.row import Copy, Row, Upload
from benchmarks.server import BUCKET, Server, running
from benchmarks.slow_disk import SlowDisk, mounted, unavailable_reason
from benchmarks.tools import is_installed, make_home, run


class _Destination(Protocol):
    def run(self, tool: str, turn: int) -> Measurement: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Run rows of the benchmark."""

    workspace: Path
    """Directory for sources, copies and home directories."""

    other_file_system: Path
    """Directory on another file system."""

    server: Path
    """The compiled server."""

    slow_disk: Path
    """The compiled file system."""

    rounds: int
    """Number of runs of each tool."""

    def measure(self, row: Row) -> Iterator[Measurement]:
        """Run all tools of a row once, then all of them again, and so on.

        A wrong result ends the benchmark.
        """
        if isinstance(row, Copy) and row.to_slow_disk and unavailable_reason(self.slow_disk):
            return
        source = row.sources.make(self.workspace / "sources")
        with self._destination(row, source) as destination_runner:
            for turn in range(self.rounds):
                for tool in filter(is_installed, row.tools):
                    if turn == 0 or tool not in row.once:
                        yield destination_runner.run(tool, turn)

    @contextmanager
    def _destination(self, row: Row, source: Path) -> Iterator[_Destination]:
        home = make_home(self.workspace)
        if isinstance(row, Upload):
            certificate = make_certificate(self.workspace / "certificate") if row.tls else None
            with running(self.server, row.rtt, certificate) as server:
                yield _Bucket(row, source, home, server)
        elif isinstance(row, Copy) and row.to_slow_disk:
            with mounted(self.slow_disk, self.other_file_system / "disk") as disk:
                try:
                    yield _Disk(row, _place_sources(row, source, disk), home, disk)
                finally:
                    shutil.rmtree(disk.real)
        elif isinstance(row, Copy):
            directory = (
                self.other_file_system if row.to_other_file_system else self.workspace
            ) / "copies"
            try:
                yield _Directory(row, source, home, directory)
            finally:
                shutil.rmtree(directory, ignore_errors=True)


@dataclass(slots=True)
class _Bucket:
    """Destination of uploads."""

    row: Upload
    source: Path
    home: Path
    server: Server
    prepared: set[str] = field(default_factory=set)

    def run(self, tool: str, turn: int) -> Measurement:
        prefix = f"{self.row.name}/{_slug(tool)}" + ("" if self.row.sent_before_by else f"-{turn}")
        if prefix not in self.prepared:
            self._prepare(tool, prefix)
        self.server.take_counts()
        cpu = self.server.cpu
        usage = run(self._job(tool, prefix, rerun=bool(self.row.sent_before_by)), self.home)
        cpu, requests = self.server.cpu - cpu, self.server.take_counts()
        check_upload(self._client(), self.source, prefix, self.row.existing_objects)
        if self.row.second:  # most of it was for the first sink
            cpu = 0.0
        return replace(measured(self.row.name, tool, usage), server_cpu=cpu, requests=requests)

    def _prepare(self, tool: str, prefix: str) -> None:
        """Create the objects that a run should find."""
        if self.row.existing_objects:  # between the keys of the first two files
            self.server.fill(f"{prefix}/sub-00000_c", self.row.existing_objects)
        if self.row.sent_before_by:
            sender = tool if self.row.sent_before_by == "self" else self.row.sent_before_by
            run(self._job(sender, prefix, rerun=False), self.home)
        self.prepared.add(prefix)

    def _job(self, tool: str, prefix: str, *, rerun: bool) -> Job:
        return Job(
            tool=tool,
            source=str(self.source),
            destination=f"s3://{BUCKET}/{prefix}",
            endpoint=self.server.endpoint,
            ca=self.server.ca,
            requests=self.row.requests,
            threads=self.row.threads,
            checksums=self.row.checksums,
            encrypt=self.row.encrypt,
            rerun=rerun,
            before=f"s3://{BUCKET}/first/{prefix}" if self.row.second else "",
        )

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
            verify=self.server.ca or None,
        )


@dataclass(slots=True)
class _Directory:
    """Destination of copies."""

    row: Copy
    source: Path
    home: Path
    directory: Path

    def run(self, tool: str, turn: int) -> Measurement:
        destination = self.directory / _slug(tool)
        job = Job(tool=tool, source=str(self.source), destination=str(destination))
        if turn == 0 or not self.row.rerun:
            shutil.rmtree(destination, ignore_errors=True)
            destination.mkdir(parents=True)
            if self.row.rerun:
                run(job, self.home)
        usage = run(job, self.home)
        check_copy(self.source, destination)
        return measured(self.row.name, tool, usage)


@dataclass(slots=True)
class _Disk:
    """A slow disk, as the destination of copies. Each run starts with cold caches."""

    row: Copy
    source: Path
    home: Path
    disk: SlowDisk

    def run(self, tool: str, turn: int) -> Measurement:
        name = _slug(tool) + ("" if self.row.rerun else f"-{turn}")
        mounted_source = str(self.source)
        if self.row.from_slow_disk:
            mounted_source = str(self.disk.mount / self.source.relative_to(self.disk.real))
        job = Job(
            tool=tool,
            source=mounted_source,
            listed=str(self.source),
            destination=str(self.disk.mount / name),
        )
        if turn == 0 or not self.row.rerun:
            (self.disk.real / name).mkdir()
            if self.row.rerun:
                run(job, self.home)
        self.disk.forget_attributes()
        self.disk.take_counts()
        usage = run(job, self.home)
        requests = self.disk.take_counts()
        check_copy(self.source, self.disk.real / name)
        return replace(measured(self.row.name, tool, usage), requests=requests)


def _place_sources(row: Copy, source: Path, disk: SlowDisk) -> Path:
    """Copy the sources to the slow disk if the row wants it; return their path on a fast one."""
    return shutil.copytree(source, disk.real / "sources") if row.from_slow_disk else source


def _slug(tool: str) -> str:
    return tool.replace(" ", "-")
