"""The page of numbers: Markdown that the documentation includes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from benchmarks.contestants import NIPYPE, OURS
from benchmarks.measurements import Summary
from benchmarks.results import Results
from benchmarks.rows import Row

_SENDING = ("PutObject", "UploadPart")
_COLUMNS = (
    "",
    "median, s",
    "min-max, s",
    "runs",
    "MB/s",
    "CPU, s",
    "peak, MiB",
    "requests (sending)",
    "nipype / this",
    "this / best peer",
)


def markdown(results: Results) -> str:
    """Return the page."""
    parts = [
        "<!-- Written by `make bench`. -->",
        "",
        *_machine(results),
        *_tables(results),
        *_overheads(results.overheads),
        *_profile(results.profile),
    ]
    return "\n".join(parts).rstrip() + "\n"


def best_peer(summaries: Mapping[str, Summary]) -> float | None:
    """Return the median of the fastest contestant that is neither nipype nor ours, in seconds."""
    walls = [one.wall for who, one in summaries.items() if who not in (NIPYPE, *OURS)]
    return min(walls, default=None)


def _machine(results: Results) -> Iterator[str]:
    yield from ("## Machine and versions", "")
    yield from _table(("what", "which"), results.machine.items())
    yield from (f"All of it took {results.seconds / 60:.1f} minutes.", "")


def _tables(results: Results) -> Iterator[str]:
    for group, rows in groupby(results.rows, key=lambda row: row.group):
        yield from (f"## {group}", "")
        for row in rows:
            summaries = results.summaries.get(row.name, {})
            yield from (f"### {row}", "")
            yield from _table(_COLUMNS, _lines(row, summaries))
            share = max((one.server_share for one in summaries.values()), default=0)
            if share:
                yield from (f"The server used at most {share:.2f} of a core meanwhile.", "")


def _lines(row: Row, summaries: Mapping[str, Summary]) -> Iterator[tuple[str, ...]]:
    nipype, peer = summaries.get(NIPYPE), best_peer(summaries)
    size = row.sources.count * row.sources.size / 1e6
    for who, one in summaries.items():
        requests = sum(one.requests.values())
        sending = sum(one.requests.get(name, 0) for name in _SENDING)
        yield (
            _name(who),
            f"{one.wall:.3f}",
            "-".join(f"{wall:.3f}" for wall in one.range),
            str(len(one.runs)),
            f"{size / one.wall:,.0f}",
            f"{one.cpu:.2f}",
            f"{one.memory:.0f}",
            f"{requests:,} ({sending:,})" if requests else "",
            f"{nipype.wall / one.wall:.1f}" if nipype else "",
            f"{one.wall / peer:.2f}" if peer else "",
        )


def _overheads(overheads: Mapping[str, float]) -> Iterator[str]:
    if overheads:
        yield from ("## Beside the files", "")
        lines = ((name, f"{value:.1f}") for name, value in overheads.items())
        yield from _table(("what", "how much"), lines)


def _profile(profile: Mapping[str, float]) -> Iterator[str]:
    if profile:
        yield from ("## CPU of a small PUT, classic", "")
        whole = sum(profile.values())
        lines = [
            (stage, f"{took:.3f}", f"{100 * took / whole:.0f} %") for stage, took in profile.items()
        ]
        lines.append(("all", f"{whole:.3f}", "100 %"))
        yield from _table(("stage", "CPU, ms", "share"), lines)


def _name(who: str) -> str:
    return f"**{who}**" if who in OURS else who


def _table(columns: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (columns, ("---",) * len(columns), *lines):
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")
    yield ""
