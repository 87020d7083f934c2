"""The command `nipype-datasink verify`."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nipype_datasink import DataSink
from nipype_datasink.cli import main
from tests.forks import RunPython


@pytest.fixture
def manifests(workdir: Path) -> Path:
    for name in ("a", "back\\slash"):
        (workdir / name).write_text(name)
    sink = DataSink(base_directory=f"{workdir}/out", local_copy=f"{workdir}/copy")
    sink.inputs.trait_set(sink_manifest_dir=f"{workdir}/m", local_hardlink=False)
    sink.inputs.x = [f"{workdir}/a", f"{workdir}/back\\slash"]
    sink.run()
    return workdir / "m"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["verify", *words])


def test_the_exit_code_tells_whether_files_are_as_delivered(manifests: Path) -> None:
    done = run(str(manifests))
    assert (done.exit_code, done.output) == (0, "4 recorded: 4 as delivered\n")
    gone = manifests.parent / "copy/x/a"
    gone.unlink()
    done = run(str(manifests))
    assert done.exit_code == 1
    assert done.output == f"missing  {gone}\n4 recorded: 3 as delivered, 1 missing\n"
    done = run("--json", str(manifests))
    assert done.exit_code == 1
    assert json.loads(done.output)["missing"] == [{"destination": str(gone)}]


def test_sha256sum_accepts_the_lines_of_sums(manifests: Path) -> None:
    done = run("--sums", str(manifests))
    assert done.exit_code == 0
    command = ["sha256sum", "--check", "--strict", "--quiet"]
    out = manifests.parent / "out"
    subprocess.run(command, input=done.stdout_bytes, cwd=out, check=True)
    assert done.stdout_bytes.count(b"\n") == 2


def test_the_last_of_two_sinks_with_one_destination_counts(workdir: Path) -> None:
    sinks = []
    for field in ("x", "x.@again"):
        (workdir / field).mkdir()
        (workdir / field / "a").write_text(field)
        sinks.append(DataSink(base_directory=f"{workdir}/out", sink_manifest_dir=f"{workdir}/m"))
        setattr(sinks[-1].inputs, field, f"{workdir}/{field}/a")

    for sink in (sinks[0], sinks[1], sinks[0]):  # whichever manifest is read last
        sink.run()
        done = run("m")
        assert (done.exit_code, done.output) == (0, "1 recorded: 1 as delivered\n")
        command = ["sha256sum", "--check", "--strict", "--quiet"]
        subprocess.run(command, input=run("--sums", "m").stdout_bytes, cwd="out", check=True)
    assert len(list(Path("m").iterdir())) == 2


def test_wrong_uses_are_errors(manifests: Path) -> None:
    assert run("/none").exit_code == 2
    assert "cannot be read" in run("/none").output
    assert run("--sums", "--json", str(manifests)).exit_code == 2
    other = DataSink(base_directory=f"{manifests.parent}/other", sink_manifest_dir=str(manifests))
    other.inputs.x = f"{manifests.parent}/a"
    other.run()
    done = run("--sums", str(manifests))
    assert done.exit_code == 2
    assert "different base directories" in done.output


def test_log_lines_go_to_standard_error(fork_python: RunPython) -> None:
    code = """
import logging
from nipype_datasink.cli.verify import _log_to_standard_error
_log_to_standard_error()
logging.getLogger("nipype.interface").warning("a log line")
print("{}")
"""
    done = fork_python("-c", code)
    assert done.stdout == "{}\n"
    assert "a log line" in done.stderr


def test_an_interrupt_ends_the_process_and_is_no_finding(
    manifests: Path, fork_python: RunPython
) -> None:
    code = """
import os, signal, sys
from nipype_datasink.cli import main
from nipype_datasink.delivery import recorded_files
recorded_files.digest_file = lambda *_: os.kill(os.getpid(), signal.SIGINT)
main(["verify", sys.argv[1]])
"""
    done = fork_python("-c", code, str(manifests))
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "interrupted\n")
