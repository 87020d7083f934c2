"""Draw the plots in the documentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measurements import Summary
from benchmarks.report import best_peer
from benchmarks.results import Results
from benchmarks.row import Row, Upload
from benchmarks.tools import NIPYPE

_SIZE = 16 << 10  # bytes
_BEST = "best peer"
_SHOWN = {"classic": "o", "crt": "s", "local": "D", _BEST: "x"}  # with their markers


def plot_scaling(results: Results, path: Path) -> None:
    """Draw the time over the number of files; dotted lines are proportional to the number."""
    rows = sorted(filter(_is_plain, results.rows), key=lambda row: row.sources.count)
    by_tool: dict[str, dict[int, float]] = {}
    for row in rows:
        for tool, one in results.summaries.get(row.name, {}).items():
            by_tool.setdefault(tool, {})[row.sources.count] = one.seconds
    by_tool = {tool: times for tool, times in by_tool.items() if len(times) > 1}
    if not by_tool:
        return
    figure, axes = _figure(height=4)
    for tool, times in by_tool.items():
        (line,) = axes.loglog(list(times), list(times.values()), "o-", label=tool)
        count, seconds = next(iter(times.items()))
        ideal = [seconds * other / count for other in times]
        axes.loglog(list(times), ideal, ":", color=line.get_color())
    axes.set(xlabel="files of 16 KiB", ylabel="seconds")
    axes.legend()
    _save(figure, path)


def _is_plain(row: Row) -> bool:
    """Return whether a row differs from other such rows only in the number of files."""
    return (
        isinstance(row, Upload)
        and row.sources.size == _SIZE
        and not (row.rtt or row.tls or row.second or row.existing_objects or row.sent_before_by)
    )


def plot_ratios(results: Results, path: Path) -> None:
    """Draw how many times faster than nipype this library and the best peer are."""
    rows = [row for row in results.rows if NIPYPE in results.summaries.get(row.name, {})]
    if not rows:
        return
    figure, axes = _figure(height=1 + 0.25 * len(rows))
    for tool, marker in _SHOWN.items():
        ratios = [_ratio(results.summaries[row.name], tool) for row in rows]
        axes.plot(ratios, range(len(rows)), marker, label=tool)
    axes.set_yticks(range(len(rows)), map(str, rows))
    axes.set(xscale="log", xlabel="times faster than nipype")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="y", linewidth=0.3)
    axes.invert_yaxis()
    axes.legend()
    _save(figure, path)


def _ratio(summaries: Mapping[str, Summary], tool: str) -> float:
    """Return how many times faster than nipype a tool is; NaN is not drawn."""
    if tool == _BEST:
        seconds = best_peer(summaries)
    else:
        seconds = summaries[tool].seconds if tool in summaries else None
    return summaries[NIPYPE].seconds / seconds if seconds else math.nan


def _figure(height: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(8, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
