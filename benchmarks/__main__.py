"""Measure nipype's sink, ours and their peers, and write what the documentation shows."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arena import Arena
from benchmarks.contestants import BUILD, ROOT, takes_part
from benchmarks.machine import describe
from benchmarks.overhead import overheads
from benchmarks.plots import plot_ratios, plot_scaling
from benchmarks.profile_put import profile_put
from benchmarks.report import markdown
from benchmarks.results import Results
from benchmarks.rows import quick_rows, rows


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as elsewhere:
        arena = Arena(
            room=options.room,
            elsewhere=Path(elsewhere),
            server=options.server,
            rounds=options.rounds,
        )
        try:
            results = _measure(arena, options)
        finally:
            shutil.rmtree(options.room, ignore_errors=True)
    _write(results, options.output or _default_output(options))


def _measure(arena: Arena, options: argparse.Namespace) -> Results:
    begin = time.monotonic()
    chosen = quick_rows() if options.quick else rows(options.rtt)
    names = [row.name for row in chosen]
    chosen = [row for row in chosen if row.name.startswith(options.only)]
    if not chosen:
        raise SystemExit(f"no row is called {options.only!r}; there are {', '.join(names)}")
    everybody = {who for row in chosen for who in row.contestants}
    absent = sorted(who for who in everybody if not takes_part(who))
    measurements = []
    for row in chosen:
        print(f"{time.monotonic() - begin:5.0f} s  {row.group}: {row}", flush=True)
        for one in arena.measure(row):
            print(f"         {one.who:20}{one.wall:8.3f} s", flush=True)
            measurements.append(one)
    whole = not options.only
    count = 20 if options.quick else 1_000
    return Results(
        rows=chosen,
        measurements=measurements,
        overheads=overheads(arena.server, arena.room) if whole else {},
        profile=profile_put(arena.server, arena.room, count) if whole else {},
        machine={**describe(), "took no part": ", ".join(absent) or "nobody"},
        seconds=time.monotonic() - begin,
    )


def _write(results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    results.write_json(directory / "results.json")
    (directory / "results.md").write_text(markdown(results))
    plot_scaling(results, directory / "scaling.svg")
    plot_ratios(results, directory / "ratios.svg")
    print(f"\n{markdown(results)}\nWritten to {directory}")


def _default_output(options: argparse.Namespace) -> Path:
    """Only a whole run may replace the numbers of the documentation."""
    whole = not (options.only or options.quick)
    return ROOT / "docs" / "benchmarks" if whole else BUILD / "results"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rtt", type=int, nargs="*", default=[0, 20, 50], help="round-trip times in ms"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant")
    parser.add_argument("--only", default="", metavar="ROW", help="rows whose names start so")
    parser.add_argument("--quick", action="store_true", help="a few small rows: does it work?")
    parser.add_argument("--server", type=Path, default=BUILD / "nulls3", help="compiled server")
    parser.add_argument("--room", type=Path, default=BUILD / "room", help="for files; removed")
    parser.add_argument("--output", type=Path, help="directory for the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
