"""Pictures of the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contestants import NIPYPE, OURS
from benchmarks.measurements import Summary
from benchmarks.report import best_peer
from benchmarks.results import Results

_BEST = "best peer"
_SHOWN = (*OURS, _BEST)


def plot_scaling(results: Results, path: Path) -> None:
    """Draw time over the number of files; the dotted lines are proportional to it."""
    times: dict[str, dict[int, float]] = {}
    for row in results.rows:
        if row.name.startswith("scaling-"):
            for who, one in results.summaries.get(row.name, {}).items():
                times.setdefault(who, {})[row.sources.count] = one.wall
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


def plot_ratios(results: Results, path: Path) -> None:
    """Draw how many times faster than nipype ours and the best peer are."""
    rows = [row for row in results.rows if NIPYPE in results.summaries.get(row.name, {})]
    if not rows:
        return
    figure, axes = _figure(height=1 + 0.6 * len(rows))
    for index, who in enumerate(_SHOWN):
        ratios = [_ratio(results.summaries[row.name], who) for row in rows]
        places = [place + 0.2 * (index - 1.5) for place in range(len(rows))]
        axes.barh(places, ratios, height=0.2, label=who)
    axes.set_yticks(range(len(rows)), [f"{row.group}: {row}" for row in rows])
    axes.set(xscale="log", xlabel="times faster than nipype")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.legend()
    _save(figure, path)


def _ratio(summaries: Mapping[str, Summary], who: str) -> float:
    """Return how many times faster than nipype; 1 draws no bar."""
    if who == _BEST:
        wall = best_peer(summaries)
    else:
        wall = summaries[who].wall if who in summaries else None
    return summaries[NIPYPE].wall / wall if wall else 1


def _figure(height: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "bench", "font.size": 9})
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(8, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
