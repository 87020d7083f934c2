"""What a terminal and a log show while a real delivery runs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import Count

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

# Every change is shown, as if each file took long.
SCRIPT = """
import os, sys, time
from nipype import Node, Workflow
from nipype_datasink import DataSink
from nipype_datasink import adaptive
from nipype_datasink.delivery import progress, progress_display

adaptive._WAITING_SECONDS = 60  # one thread, which shows each file
progress._FIRST_SECONDS = 0
progress_display.Bar.seconds = progress_display.LogLines.seconds = 0
show = progress_display.Bar.show

def show_and_pause(self, state):
    show(self, state)
    time.sleep(float(os.environ.get("PAUSE", "0")))

progress_display.Bar.show = show_and_pause
plugin, *names = sys.argv[1:]
workflow = Workflow(name="study", base_dir=os.path.abspath("work"))
for name in names:
    base = name if name.startswith("s3://") else os.path.abspath(name)
    sink = DataSink(base_directory=base, local_hardlink=False)
    sink.inputs.x = os.path.abspath("in")
    workflow.add_nodes([Node(sink, name=name.rpartition("/")[2])])
workflow.run(plugin, plugin_args={"n_procs": 4})
"""
PLACES = ["", "s3://mybucket/"]


def command(plugin: str, *names: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", SCRIPT, plugin, *names]


@pytest.fixture
def files(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, count: Count, bucket: Bucket, endpoint: str
) -> int:
    """Write files of 1,000 bytes into a directory; return how many."""
    folder = workdir / "in"
    folder.mkdir()
    number = count(5000, 30)
    for each in range(number):
        (folder / str(each)).write_bytes(b"x" * 1000)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return number


def test_a_terminal_shows_a_bar_that_disappears(files: int) -> None:
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
    pattern = rf"copying: +\d+%\|.*[\d,]+/{files:,} files, .*/{files // 1000 or files} [kM]B"
    bars = [line for line in lines if re.search(pattern, line)]
    assert len(bars) >= files, lines
    assert lines[-1].strip() == ""
    assert "0%" in bars[0]
    assert f"{files:,}/{files:,} files" in bars[-1]


@pytest.fixture
def tmux(workdir: Path) -> Iterator[Callable[..., str]]:
    """Return a function that sends a command to tmux; its window has 80 columns."""
    if not shutil.which("tmux"):
        pytest.skip("needs tmux")
    # The path of a socket may have about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="datasink-") as folder:

        def run(*words: str) -> str:
            command = ["tmux", "-S", f"{folder}/socket", "-f", "/dev/null", *words]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            return done.stdout

        run("new-session", "-d", "-x", "80", "-y", "24", "exec sh")
        yield run
        run("kill-server")


@pytest.mark.parametrize("place", PLACES, ids=["disk", "S3"])
@pytest.mark.parametrize("interrupt", [False, True], ids=["end", "Ctrl-C"])
def test_a_terminal_of_80_columns_keeps_nothing_of_the_bar(
    interrupt: bool, place: str, files: int, tmux: Callable[..., str], workdir: Path
) -> None:
    words = shlex.join(command("Linear", f"{place}out"))
    pause = (15 if place else 3) / files  # frames can be seen; few of them show files of S3
    (workdir / "run").write_text(f"trap : INT\nPAUSE={pause} {words} >log\necho it ended\n")
    tmux("send-keys", "clear; sh run", "Enter")
    bars: list[list[str]] = []
    deadline = time.monotonic() + 120
    while "it ended" not in (screen := tmux("capture-pane", "-p", "-S", "-")):
        assert time.monotonic() < deadline, screen
        lines = list(filter(None, screen.splitlines()))
        if any("%|" in line for line in lines):
            bars.append(lines)
            if interrupt and len(bars) == 1:
                tmux("send-keys", "C-c")
    assert "%|" not in screen
    assert bars
    if not interrupt:
        assert {len(lines) for lines in bars} == {1}
        assert {bool(re.search(r": .*%\|.*\| [\d,]+/[\d,]+ files", line)) for (line,) in bars} == {
            True
        }
        assert screen.split()[:2] == ["it", "ended"]  # then perhaps the prompt


@pytest.mark.parametrize("place", PLACES, ids=["disk", "S3"])
def test_workers_of_multiproc_write_lines_and_no_bars(files: int, place: str) -> None:
    names = ("one", "two", "three", "four")
    done = subprocess.run(
        command("MultiProc", *(place + name for name in names)),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    for name in names:
        lines = re.findall(rf"/{name}: ([\d,]+) of {files:,} files, .* of \d+ [kM]B, ", done.stdout)
        numbers = [int(number.replace(",", "")) for number in lines]
        assert numbers
        assert numbers == sorted(numbers)
        assert place or numbers[-1] == files  # the threads of S3 show nothing themselves
        assert f"/{name}: {files:,} new" in done.stdout
    assert "%|" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
