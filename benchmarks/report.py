"""Write the results as Markdown, which docs/performance.md includes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from benchmarks.measurements import Summary
from benchmarks.results import Results
from benchmarks.row import Copy, Row
from benchmarks.tools import NIPYPE, THIS_LIBRARY

_SENDING = ("PutObject", "UploadPart")
_COLUMNS = (
    "",
    "median, s",
    "min-max, s",
    "runs",
    "MB/s",
    "CPU, s",
    "peak, MiB",
    "requests (with data)",
    "nipype / this",
    "this / best peer",
)


def markdown(results: Results) -> str:
    """Return the page as Markdown."""
    parts = [
        "<!-- Written by `make bench`. -->",
        "",
        *_machine(results),
        *_tables(results),
        *_overheads(results.overheads),
        *_phases(results.phases),
        *_profile(results.profile),
    ]
    return "\n".join(parts).rstrip() + "\n"


def best_peer(summaries: Mapping[str, Summary]) -> float | None:
    """Return the median in seconds of the fastest tool except nipype and this library."""
    times = [one.seconds for tool, one in summaries.items() if tool not in (NIPYPE, *THIS_LIBRARY)]
    return min(times, default=None)


def _machine(results: Results) -> Iterator[str]:
    yield from ("## Machine and versions", "")
    yield from _table(("what", "value"), results.machine.items())
    yield from (f"All measurements took {results.seconds / 60:.1f} minutes.", "")


def _tables(results: Results) -> Iterator[str]:
    for group, rows in groupby(results.rows, key=lambda row: row.group):
        yield from (f"## {group}", "")
        for row in rows:
            summaries = results.summaries.get(row.name, {})
            yield from (f"### {row}", "")
            yield from _table(_COLUMNS, _lines(row, summaries))
            share = max((one.server_share for one in summaries.values()), default=0)
            if share:
                yield from (f"The server used at most {share:.2f} of a core.", "")
            yield from _requests_per_file(row, summaries)


def _lines(row: Row, summaries: Mapping[str, Summary]) -> Iterator[tuple[str, ...]]:
    nipype, peer = summaries.get(NIPYPE), best_peer(summaries)
    size = row.sources.count * row.sources.size / 1e6
    for tool, one in summaries.items():
        yield (
            _name(tool),
            f"{one.seconds:.3f}",
            "-".join(f"{seconds:.3f}" for seconds in one.range),
            str(len(one.runs)),
            f"{size / one.seconds:,.0f}",
            f"{one.cpu:.2f}",
            f"{one.memory:.0f}",
            _requests(row, one.requests),
            f"{nipype.seconds / one.seconds:.1f}" if nipype else "",
            f"{one.seconds / peer:.2f}" if peer else "",
        )


def _requests(row: Row, requests: Mapping[str, int]) -> str:
    if not requests:
        return ""
    total = f"{sum(requests.values()):,}"
    if isinstance(row, Copy):
        return total
    return f"{total} ({sum(requests.get(name, 0) for name in _SENDING):,})"


def _requests_per_file(row: Row, summaries: Mapping[str, Summary]) -> Iterator[str]:
    """Return a table of the requests to a slow disk, by kind; nothing for other rows."""
    counts = {tool: one.requests for tool, one in summaries.items() if one.requests}
    if not counts or not isinstance(row, Copy):
        return
    kinds = list(dict.fromkeys(kind for requests in counts.values() for kind in requests))
    yield from ("Requests for each file:", "")
    lines = []
    for tool, requests in counts.items():
        numbers = [sum(requests.values()), *(requests.get(kind, 0) for kind in kinds)]
        lines.append((_name(tool), *(f"{number / row.sources.count:.2f}" for number in numbers)))
    yield from _table(("", "all", *kinds), lines)


def _overheads(overheads: Mapping[str, float]) -> Iterator[str]:
    if overheads:
        yield from ("## Costs without files", "")
        lines = ((name, f"{value:.1f}") for name, value in overheads.items())
        yield from _table(("what", "value"), lines)


def _phases(phases: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    if phases:
        yield from ("## Phases of small files with TLS, crt, in seconds", "")
        names = list(dict.fromkeys(name for found in phases.values() for name in found))
        lines = [(name, *(f"{found[name]:.3f}" for found in phases.values())) for name in names]
        yield from _table(("phase", *phases), lines)


def _profile(profile: Mapping[str, float]) -> Iterator[str]:
    if profile:
        yield from ("## CPU time of a small PUT, classic", "")
        whole = sum(profile.values())
        lines = [
            (stage, f"{duration:.3f}", f"{100 * duration / whole:.0f} %")
            for stage, duration in profile.items()
        ]
        lines.append(("total", f"{whole:.3f}", "100 %"))
        yield from _table(("stage", "CPU, ms", "share"), lines)


def _name(tool: str) -> str:
    return f"**{tool}**" if tool in THIS_LIBRARY else tool


def _table(columns: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (columns, ("---",) * len(columns), *lines):
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")
    yield ""
