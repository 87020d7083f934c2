"""A progress bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import io
import sys
from contextlib import suppress

import pytest
import tqdm

from nipype_datasink.delivery.progress import progress_bar


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_no_bar_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(10, "s3://bucket") as progress:
        progress(10)
    assert capsys.readouterr() == ("", "")


def test_a_bar_shows_the_bytes_and_the_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with progress_bar(2048, "s3://bucket") as progress:
        progress(2048)
    assert "s3://bucket" in terminal.getvalue()
    assert "/2.05k" in terminal.getvalue()


def test_a_bar_counts_bytes_back_on_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    bars: list[tqdm.tqdm[object]] = []

    class Kept(tqdm.tqdm):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            bars.append(self)

    monkeypatch.setattr(tqdm, "tqdm", Kept)
    with progress_bar(100, "x") as progress:
        for count in (60, -60, 100):
            progress(count)
    assert [(bar.n, bar.total) for bar in bars] == [(100, 100)]


def test_a_bar_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with suppress(OSError), progress_bar(10, "x") as progress:
        progress(5)
        raise OSError
    *_, shown, blank, end = terminal.getvalue().split("\r")
    assert "10.0" in shown
    assert (blank.strip(), end) == ("", "")


class Tee:
    """Stands for standard error, and has no `isatty`."""

    def write(self, text: str) -> int:
        return len(text)


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, closed(), Tee()], ids=["none", "closed", "no isatty"])
def test_a_standard_error_without_a_terminal_stops_no_delivery(
    stream: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(10, "x") as progress:
        progress(10)


def test_a_bar_that_fails_stops_no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(tqdm.tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            if not self.disable:
                calls.append(n)
            raise OSError

    calls: list[object] = []
    use_terminal(monkeypatch)
    monkeypatch.setattr(tqdm, "tqdm", Broken)
    with progress_bar(10, "x") as progress:
        progress(4)
        progress(6)
    assert calls == [4]


def test_a_bar_that_cannot_be_closed_stops_no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(tqdm.tqdm):
        def close(self) -> None:
            super().close()
            if "close" not in calls:  # tqdm closes itself again when it is collected
                calls.append("close")
                raise OSError

    calls: list[object] = []
    use_terminal(monkeypatch)
    monkeypatch.setattr(tqdm, "tqdm", Broken)
    with progress_bar(10, "x") as progress:
        progress(10)
    assert calls == ["close"]


def test_a_bar_that_cannot_be_opened_stops_no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError

    use_terminal(monkeypatch)
    monkeypatch.setattr(tqdm, "tqdm", fail)
    with progress_bar(10, "x") as progress:
        progress(10)
