"""What was measured: one value for each run, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run of one contestant."""

    row: str
    """Name of the row."""

    who: str
    """Name of the contestant."""

    wall: float
    """Seconds."""

    cpu: float
    """Seconds, children included."""

    memory: float
    """Peak in MiB; above the idle interpreter for what runs in one."""

    server_cpu: float = 0.0
    """Seconds of the server meanwhile."""

    requests: dict[str, int] = field(default_factory=dict)
    """By operation."""


def measured(row: str, who: str, took: Mapping[str, float]) -> Measurement:
    """Return what a process has told of itself as the measurement of a contestant."""
    return Measurement(row=row, who=who, wall=took["wall"], cpu=took["cpu"], memory=took["memory"])


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs of one contestant in one row."""

    runs: tuple[Measurement, ...]
    """At least one."""

    @property
    def wall(self) -> float:
        """Median, in seconds."""
        return median(run.wall for run in self.runs)

    @property
    def range(self) -> tuple[float, float]:
        """Fastest and slowest, in seconds."""
        walls = [run.wall for run in self.runs]
        return min(walls), max(walls)

    @property
    def cpu(self) -> float:
        """Median, in seconds."""
        return median(run.cpu for run in self.runs)

    @property
    def memory(self) -> float:
        """The highest peak, in MiB."""
        return max(run.memory for run in self.runs)

    @property
    def requests(self) -> dict[str, int]:
        """Of the last run, by operation."""
        return self.runs[-1].requests

    @property
    def server_share(self) -> float:
        """CPU of the server over the wall time: 1 is one whole core."""
        return median(run.server_cpu / run.wall for run in self.runs)


def summarise(measurements: Iterable[Measurement]) -> dict[str, dict[str, Summary]]:
    """Return a summary for each row and contestant, in the order in which they first ran."""
    runs: dict[str, dict[str, list[Measurement]]] = {}
    for one in measurements:
        runs.setdefault(one.row, {}).setdefault(one.who, []).append(one)
    return {
        row: {who: Summary(tuple(those)) for who, those in by_who.items()}
        for row, by_who in runs.items()
    }
