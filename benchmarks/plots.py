"""Pictures of the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contestants import NIPYPE
from benchmarks.measurements import Summary
from benchmarks.report import best_peer
from benchmarks.results import Results
from benchmarks.rows import Row, Upload

_SIZE = 16 << 10  # bytes
_BEST = "best peer"
_SHOWN = {"classic": "o", "crt": "s", "ours": "D", _BEST: "x"}  # and their markers


def plot_scaling(results: Results, path: Path) -> None:
    """Draw time over the number of files; the dotted lines are proportional to it."""
    rows = sorted(filter(_is_plain, results.rows), key=lambda row: row.sources.count)
    times: dict[str, dict[int, float]] = {}
    for row in rows:
        for who, one in results.summaries.get(row.name, {}).items():
            times.setdefault(who, {})[row.sources.count] = one.wall
    times = {who: walls for who, walls in times.items() if len(walls) > 1}
    if not times:
        return
    figure, axes = _figure(height=4)
    for who, walls in times.items():
        (line,) = axes.loglog(list(walls), list(walls.values()), "o-", label=who)
        count, wall = next(iter(walls.items()))
        ideal = [wall * other / count for other in walls]
        axes.loglog(list(walls), ideal, ":", color=line.get_color())
    axes.set(xlabel="files of 16 KiB", ylabel="seconds")
    axes.legend()
    _save(figure, path)


def _is_plain(row: Row) -> bool:
    """Return whether only the number of files tells a row from others."""
    return (
        isinstance(row, Upload)
        and row.sources.size == _SIZE
        and not (row.rtt or row.crowd or row.seeded_by)
    )


def plot_ratios(results: Results, path: Path) -> None:
    """Draw how many times faster than nipype ours and the best peer are."""
    rows = [row for row in results.rows if NIPYPE in results.summaries.get(row.name, {})]
    if not rows:
        return
    figure, axes = _figure(height=1 + 0.25 * len(rows))
    for who, marker in _SHOWN.items():
        ratios = [_ratio(results.summaries[row.name], who) for row in rows]
        axes.plot(ratios, range(len(rows)), marker, label=who)
    axes.set_yticks(range(len(rows)), map(str, rows))
    axes.set(xscale="log", xlabel="times faster than nipype")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="y", linewidth=0.3)
    axes.invert_yaxis()
    axes.legend()
    _save(figure, path)


def _ratio(summaries: Mapping[str, Summary], who: str) -> float:
    """Return how many times faster than nipype; NaN is not drawn."""
    if who == _BEST:
        wall = best_peer(summaries)
    else:
        wall = summaries[who].wall if who in summaries else None
    return summaries[NIPYPE].wall / wall if wall else math.nan


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
