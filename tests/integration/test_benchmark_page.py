"""The benchmark runs as a whole, with few and small files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.slow_disk import unavailable_reason
from benchmarks.tools import is_installed
from tests.native import compile_null_server, compile_slow_disk


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.skipif(not find_spec("matplotlib"), reason="needs matplotlib")
def test_benchmark_runs_and_writes_its_page(tmp_path: Path) -> None:
    output, workspace = tmp_path / "output", tmp_path / "workspace"
    program, slow_disk = compile_null_server(tmp_path), compile_slow_disk(tmp_path)
    options = ["--quick", "--rounds=1", f"--server={program}", f"--slow-disk={slow_disk}"]
    options.append(f"--workspace={workspace}")

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, f"--output={output}"],
        cwd=Path(__file__).parents[2],
        # Coverage would be measured in each process of the benchmark.
        env={name: os.environ[name] for name in os.environ if not name.startswith("COVERAGE_")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert not done.returncode, done.stdout + done.stderr
    results = json.loads((output / "results.json").read_text())
    page = (output / "results.md").read_text()
    measured = {(one["row"], one["tool"]) for one in results["measurements"]}
    assert {("quick", "nipype"), ("quick", "classic"), ("quick-local", "local")} <= measured
    if not unavailable_reason(slow_disk):
        assert ("quick-disk", "local") in measured
        assert "Requests for each file" in page
    assert all(title in page for title in results["rows"].values())
    assert all(f"| {stage} |" in page for stage in results["profile"])
    assert all(milliseconds > 0 for milliseconds in results["profile"].values())
    for sink, phases in results["phases"].items():
        assert f"| {sink} |" in page
        assert all(seconds >= 0 for seconds in phases.values())
    assert bool(results["phases"]) == is_installed("crt")
    assert (output / "ratios.svg").stat().st_size
    assert not workspace.exists()
    again = [one for one in results["measurements"] if one["row"] == "quick-rerun"]
    assert again
    assert all("PutObject" not in one["requests"] for one in again)
