"""What a terminal and a log show while a real delivery runs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

# Every change is shown, as if each file took long.
SCRIPT = """
import os, sys
from nipype import Node, Workflow
from nipype_datasink import DataSink
from nipype_datasink import adaptive
from nipype_datasink.delivery import progress, progress_display

adaptive._WAITING_SECONDS = 60  # one thread, which shows each file
progress._FIRST_SECONDS = 0
progress_display.Bar.seconds = progress_display.LogLines.seconds = 0
plugin, *names = sys.argv[1:]
workflow = Workflow(name="study", base_dir=os.path.abspath("work"))
for name in names:
    sink = DataSink(base_directory=os.path.abspath(name), local_hardlink=False)
    sink.inputs.x = os.path.abspath("in")
    workflow.add_nodes([Node(sink, name=name)])
workflow.run(plugin, plugin_args={"n_procs": 4})
"""
FILES = 30


def command(plugin: str, *names: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", SCRIPT, plugin, *names]


@pytest.fixture
def sources(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with files."""
    folder = workdir / "in"
    folder.mkdir()
    for number in range(FILES):
        (folder / str(number)).write_bytes(b"x" * 1000)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return folder


def test_a_terminal_shows_a_bar_that_disappears(sources: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(command("Linear", "out"), stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 1 << 16):
            shown += block
    except OSError:  # Linux: the other side is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    lines = shown.decode().split("\r")
    bars = [line for line in lines if re.search(r"copying: +\d+%\|.*\d+/30 files, .*/30 kB", line)]
    assert len(bars) >= FILES, lines
    assert lines[-1].strip() == ""
    assert "0%" in bars[0]
    assert "30/30 files" in bars[-1]


def test_workers_of_multiproc_write_lines_and_no_bars(sources: Path) -> None:
    names = ("one", "two", "three", "four")
    done = subprocess.run(
        command("MultiProc", *names), capture_output=True, text=True, timeout=300, check=True
    )
    for name in names:
        lines = re.findall(rf"/{name}: (\d+) of {FILES} files, .* of 30 kB, ", done.stdout)
        assert list(map(int, lines)) == sorted(map(int, lines))
        assert lines[-1] == str(FILES)
    assert "%|" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
