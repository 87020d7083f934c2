"""Measurements of single runs, and their summaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run of one tool."""

    row: str
    """Name of the row."""

    tool: str
    """Name of the tool."""

    seconds: float
    """Wall-clock time."""

    cpu: float
    """CPU seconds, including children."""

    memory: float
    """Peak in MiB. For Python code, the peak above the memory of the idle interpreter."""

    server_cpu: float = 0.0
    """CPU seconds of the server during the run."""

    requests: dict[str, int] = field(default_factory=dict)
    """Number of requests by operation."""


def measured(row: str, tool: str, usage: Mapping[str, float]) -> Measurement:
    """Return what a process reports about itself as a measurement."""
    return Measurement(
        row=row, tool=tool, seconds=usage["wall"], cpu=usage["cpu"], memory=usage["memory"]
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs of one tool in one row."""

    runs: tuple[Measurement, ...]
    """At least one run."""

    @property
    def seconds(self) -> float:
        """Median in seconds."""
        return median(run.seconds for run in self.runs)

    @property
    def range(self) -> tuple[float, float]:
        """Fastest and slowest run in seconds."""
        times = [run.seconds for run in self.runs]
        return min(times), max(times)

    @property
    def cpu(self) -> float:
        """Median in seconds."""
        return median(run.cpu for run in self.runs)

    @property
    def memory(self) -> float:
        """Highest peak in MiB."""
        return max(run.memory for run in self.runs)

    @property
    def requests(self) -> dict[str, int]:
        """Requests of the last run by operation."""
        return self.runs[-1].requests

    @property
    def server_share(self) -> float:
        """CPU time of the server divided by wall-clock time; 1 is one core."""
        return median(run.server_cpu / run.seconds for run in self.runs)


def summarise(measurements: Iterable[Measurement]) -> dict[str, dict[str, Summary]]:
    """Return a summary for each row and tool, in the order of their first runs."""
    runs: dict[str, dict[str, list[Measurement]]] = {}
    for one in measurements:
        runs.setdefault(one.row, {}).setdefault(one.tool, []).append(one)
    return {
        row: {tool: Summary(tuple(runs_of_tool)) for tool, runs_of_tool in by_tool.items()}
        for row, by_tool in runs.items()
    }
