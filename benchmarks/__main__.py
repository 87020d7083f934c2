"""Compare the speed of this sink, nipype's and other programs; write docs/benchmarks."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.overhead import overheads
from benchmarks.phases import measure_phases
from benchmarks.plots import plot_ratios, plot_scaling
from benchmarks.profile_put import profile_put
from benchmarks.report import markdown
from benchmarks.results import Results
from benchmarks.rows import quick_rows, rows
from benchmarks.runner import Runner
from benchmarks.slow_disk import unavailable_reason
from benchmarks.tools import BUILD, ROOT, is_installed


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as other_file_system:
        runner = Runner(
            workspace=options.workspace,
            other_file_system=Path(other_file_system),
            server=options.server,
            slow_disk=options.slow_disk,
            rounds=options.rounds,
        )
        try:
            results = _measure(runner, options)
        finally:
            shutil.rmtree(options.workspace, ignore_errors=True)
    _write(results, options.output or _default_output(options))


def _measure(runner: Runner, options: argparse.Namespace) -> Results:
    begin = time.monotonic()
    chosen = quick_rows() if options.quick else rows(options.rtt)
    names = [row.name for row in chosen]
    chosen = [row for row in chosen if row.name.startswith(options.only)]
    if not chosen:
        raise SystemExit(f"no row has the name {options.only!r}; choose from {', '.join(names)}")
    tools = {tool for row in chosen for tool in row.tools}
    absent = sorted(tool for tool in tools if not is_installed(tool))
    if reason := unavailable_reason(options.slow_disk):
        absent.append(f"slow disk ({reason})")
    measurements = []
    for row in chosen:
        print(f"{time.monotonic() - begin:5.0f} s  {row.group}: {row}", flush=True)
        for one in runner.measure(row):
            print(f"         {one.tool:20}{one.seconds:8.3f} s", flush=True)
            measurements.append(one)
    whole = not options.only
    count, processes = (20, 1) if options.quick else (1_000, 7)
    return Results(
        rows=chosen,
        measurements=measurements,
        overheads=overheads(runner.server, runner.workspace, processes) if whole else {},
        profile=profile_put(runner.server, runner.workspace, count) if whole else {},
        phases=measure_phases(runner.server, runner.workspace, count, options.rtt)
        if whole and is_installed("crt")
        else {},
        machine={**describe(), "not installed": ", ".join(absent) or "-"},
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
    """Return docs/benchmarks for a complete run, and a directory below build/ for a partial one."""
    whole = not (options.only or options.quick)
    return ROOT / "docs" / "benchmarks" if whole else BUILD / "results"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rtt", type=int, nargs="*", default=[0, 20, 50], help="round-trip times in ms"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tool")
    parser.add_argument(
        "--only", default="", metavar="ROW", help="measure only rows whose names start with this"
    )
    parser.add_argument("--quick", action="store_true", help="measure a few small rows, as a test")
    parser.add_argument("--server", type=Path, default=BUILD / "nulls3", help="compiled server")
    parser.add_argument(
        "--slow-disk", type=Path, default=BUILD / "slowdisk", help="compiled file system"
    )
    parser.add_argument(
        "--workspace", type=Path, default=BUILD / "workspace", help="for files; removed at the end"
    )
    parser.add_argument("--output", type=Path, help="directory for the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
