"""A bar on a terminal or in a notebook, and lines in the log elsewhere."""

from __future__ import annotations

import fcntl
import io
import logging
import multiprocessing
import os
import signal
import struct
import sys
import termios
import threading
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tqdm.auto

from nipype_datasink.delivery import progress_display
from nipype_datasink.delivery.progress_display import Bar, LogLines, choose_display
from nipype_datasink.delivery.progress_text import (
    Amount,
    Phase,
    Rate,
    State,
    interruption_line,
    log_line,
)

STATE = State(
    place="s3://lab/many",
    phase=Phase.SENDING,
    done=Amount(files=1204, size=112_000_000),
    total=Amount(files=5006, size=560_000_000),
    rate=Rate(files=225.0, size=21_000_000.0),
    seconds=5.0,
)


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """Everything that was written over each other."""
        return [line.strip() for line in self.getvalue().split("\r") if line.strip()]


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("COLUMNS", raising=False)  # tqdm would take it for the terminal's width
    return terminal


def test_a_bar_shows_files_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = choose_display()
    assert isinstance(bar, Bar)
    bar.show(STATE)
    bar.close()
    line = terminal.lines[-1]
    assert line.startswith("s3://lab/many: sending:  20%|")
    assert line.endswith("| 1,204/5,006 files, 112/560 MB, 21 MB/s, 21 s left")


def test_the_documentation_shows_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = Bar()
    bar.show(STATE)
    bar.close()
    page = Path(__file__).parents[2] / "docs" / "workflows.md"
    shown = page.read_text().split("## While it runs")[1].split("\n## ")[0].splitlines()
    assert terminal.lines[-1] in shown
    assert log_line(STATE) in shown
    assert log_line(replace(STATE, phase=Phase.COMPARING)) in shown
    assert interruption_line(STATE.place, STATE.phase, STATE.done, STATE.total) in shown
    assert f"`{interruption_line('', Phase.PLANNING, Amount(), Amount())}`" in page.read_text()


def test_a_bar_goes_back_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = Bar()
    for size in (112_000_000, 56_000_000, 560_000_000):
        bar.show(replace(STATE, done=Amount(files=1204, size=size)))
    bar.close()
    assert ["".join(filter(str.isdigit, line.split("%")[0][-3:])) for line in terminal.lines] == [
        "20",
        "10",
        "100",
    ]


def test_a_bar_without_a_total_shows_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = Bar()
    bar.show(replace(STATE, phase=Phase.LISTING, done=Amount(), total=Amount()))
    bar.close()
    assert terminal.lines[-1] == "s3://lab/many: listing: 5 s"


def test_a_bar_follows_phases_with_and_without_a_total(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = Bar()
    unknown = replace(STATE, done=Amount(), total=Amount())
    fewer = replace(STATE, done=Amount(files=1), total=Amount(files=2))
    for state, shown in [(STATE, "20%|"), (unknown, "5 s"), (fewer, "50%|"), (STATE, "20%|")]:
        bar.show(state)
        assert shown in terminal.lines[-1]
    bar.close()


def test_a_bar_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = Bar()
    bar.show(STATE)
    bar.close()
    *_, blank, end = terminal.getvalue().split("\r")
    assert (blank.strip(), end) == ("", "")


def test_a_bar_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    before = threading.active_count()
    bar = Bar()
    bar.show(STATE)
    assert threading.active_count() == before
    bar.close()


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        (66, "1,204/5,006 files, 21 s left"),
        (80, "1,204/5,006 files, 112/560 MB, 21 s left"),
        (120, "1,204/5,006 files, 112/560 MB, 21 MB/s, 21 s left"),
    ],
)
def test_a_bar_fits_into_the_terminal(
    columns: int, numbers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = use_terminal(monkeypatch)
    module = "nipype_datasink.delivery.progress_display"
    monkeypatch.setattr(f"{module}._columns", lambda: columns)
    bar = Bar()
    bar.show(replace(STATE, place="s3://laboratory/a-very-long-path/of-a-study/many"))
    bar.close()
    line = terminal.lines[-1]
    assert len(line) <= columns
    assert "…" in line
    assert "many: sending:" in line
    assert line.endswith(f"sending:  20%|██        | {numbers}")


@pytest.mark.parametrize("size", [(0, 0), (100, 0), (0, 30), (100, 30)])
def test_a_bar_is_shown_in_a_terminal_that_does_not_know_its_size(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = os.openpty()
    with open(parent, "rb", buffering=0) as screen, open(child, "w", encoding="utf-8") as error:
        columns, rows = size
        fcntl.ioctl(error, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        monkeypatch.setattr(sys, "stderr", error)
        bar = Bar()
        bar.show(STATE)
        bar.close()
        line = screen.read(1000).decode().split("\r")[1]
    assert "many: sending:  20%|" in line
    assert len(line) + len("^C") < (columns or 80)  # the cursor is in the next column


class Tee:
    """Stands for standard error, and has no `isatty`."""

    def write(self, text: str) -> int:
        return len(text)


def closed() -> io.StringIO:
    stream = Terminal()
    stream.close()
    return stream


def raising() -> io.StringIO:
    class Raising(Terminal):
        def isatty(self) -> bool:
            raise OSError

    return Raising()


@pytest.mark.parametrize(
    "stream", [None, io.StringIO(), Tee(), raising()], ids=["none", "file", "no isatty", "raising"]
)
def test_without_a_terminal_there_are_lines_in_the_log(
    stream: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    display = choose_display()
    assert isinstance(display, LogLines)
    with caplog.at_level(logging.INFO, "nipype.interface"):
        display.show(STATE)
        display.close()
    assert caplog.messages == [
        "s3://lab/many: 1,204 of 5,006 files, 112 of 560 MB, 21 MB/s, about 21 s left"
    ]


def test_a_bar_that_cannot_be_made_is_replaced_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    monkeypatch.setattr(tqdm.auto, "tqdm", None)
    assert isinstance(choose_display(), LogLines)


def test_a_time_limit_that_ends_while_a_bar_is_made_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, time_limit: type[Exception]
) -> None:
    use_terminal(monkeypatch)
    monkeypatch.setattr(progress_display, "_bar_type", lambda: signal.raise_signal(signal.SIGALRM))
    with pytest.raises(time_limit):
        choose_display()


def test_a_worker_process_writes_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    assert isinstance(choose_display(), LogLines)


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [("ipykernel.ipkernel", Bar), ("ipyparallel.engine.kernel", LogLines), (None, LogLines)],
    ids=["notebook", "engine", "no kernel"],
)
def test_a_notebook_shows_a_bar(
    kernel: str | None, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = types.SimpleNamespace()
    if kernel:
        shell.kernel = type("Kernel", (), {"__module__": kernel})()
    get_ipython: Callable[[], object] = lambda: shell  # noqa: E731
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", types.ModuleType("zmqshell"))
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = get_ipython  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    display = choose_display()
    assert type(display) is kind
    display.close()
