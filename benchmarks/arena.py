"""Running rows: each contestant in turn, in a fresh process, to a fresh destination."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.contestants import make_home, run, takes_part
from benchmarks.correctness import check_copy, check_upload
from benchmarks.measurements import Measurement, measured
from benchmarks.rows import Copy, Row, Upload
from benchmarks.server import BUCKET, Server, running
from benchmarks.timed import Job


class _Stage(Protocol):
    def run(self, who: str, turn: int) -> Measurement: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """Where rows are run."""

    room: Path
    """Directory for sources, copies and home directories."""

    elsewhere: Path
    """Directory on another file system."""

    server: Path
    """The compiled server."""

    rounds: int
    """Runs of each contestant."""

    def measure(self, row: Row) -> Iterator[Measurement]:
        """Run a row: all contestants once, then all of them again.

        One whose result is wrong ends everything.
        """
        source = row.sources.make(self.room / "sources")
        with self._stage(row, source) as stage:
            for turn in range(self.rounds):
                for who in filter(takes_part, row.contestants):
                    if turn == 0 or who not in row.once:
                        yield stage.run(who, turn)

    @contextmanager
    def _stage(self, row: Row, source: Path) -> Iterator[_Stage]:
        home = make_home(self.room)
        if isinstance(row, Upload):
            with running(self.server, row.rtt) as server:
                yield _Bucket(row, source, home, server)
        elif isinstance(row, Copy):
            directory = (self.elsewhere if row.across else self.room) / "copies"
            try:
                yield _Directory(row, source, home, directory)
            finally:
                shutil.rmtree(directory, ignore_errors=True)


@dataclass(slots=True)
class _Bucket:
    """Where uploads go."""

    row: Upload
    source: Path
    home: Path
    server: Server
    seeded: set[str] = field(default_factory=set)

    def run(self, who: str, turn: int) -> Measurement:
        prefix = f"{self.row.name}/{_slug(who)}" + ("" if self.row.seeded_by else f"-{turn}")
        if prefix not in self.seeded:
            self._prepare(who, prefix)
        self.server.take_counts()
        cpu = self.server.cpu
        took = run(self._job(who, prefix, rerun=bool(self.row.seeded_by)), self.home)
        cpu, requests = self.server.cpu - cpu, self.server.take_counts()
        check_upload(self._client(), self.source, prefix, self.row.crowd)
        return replace(measured(self.row.name, who, took), server_cpu=cpu, requests=requests)

    def _prepare(self, who: str, prefix: str) -> None:
        """Put there what a run is to find."""
        if self.row.crowd:  # between the keys of the first two files
            self.server.fill(f"{prefix}/sub-00000_c", self.row.crowd)
        if self.row.seeded_by:
            seeder = who if self.row.seeded_by == "self" else self.row.seeded_by
            run(self._job(seeder, prefix, rerun=False), self.home)
        self.seeded.add(prefix)

    def _job(self, who: str, prefix: str, *, rerun: bool) -> Job:
        return Job(
            who=who,
            source=str(self.source),
            destination=f"s3://{BUCKET}/{prefix}",
            endpoint=self.server.endpoint,
            encrypt=self.row.encrypt,
            rerun=rerun,
        )

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
        )


@dataclass(slots=True)
class _Directory:
    """Where copies go."""

    row: Copy
    source: Path
    home: Path
    directory: Path

    def run(self, who: str, turn: int) -> Measurement:
        destination = self.directory / _slug(who)
        job = Job(who=who, source=str(self.source), destination=str(destination))
        if turn == 0 or not self.row.rerun:
            shutil.rmtree(destination, ignore_errors=True)
            destination.mkdir(parents=True)
            if self.row.rerun:
                run(job, self.home)
        took = run(job, self.home)
        check_copy(self.source, destination)
        return measured(self.row.name, who, took)


def _slug(who: str) -> str:
    return who.replace(" ", "-")
