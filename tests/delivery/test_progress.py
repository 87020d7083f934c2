"""A bar where a person watches, and silence elsewhere."""

from __future__ import annotations

import io
import sys
from contextlib import suppress

import pytest
import tqdm

from nipype_datasink.delivery.progress import progress_for


class Screen(io.StringIO):
    """Standard error that a person watches."""

    def isatty(self) -> bool:
        return True


def watch(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_nothing_is_shown_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for(10, "s3://bucket") as progress:
        progress.advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_person_sees_how_many_bytes_go_where(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    with progress_for(2048, "s3://bucket") as progress:
        progress.advance(2048)
    assert "s3://bucket" in screen.getvalue()
    assert "/2.05k" in screen.getvalue()


def test_a_bar_counts_and_may_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch)
    bars: list[tqdm.tqdm[object]] = []

    class Kept(tqdm.tqdm):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            bars.append(self)

    monkeypatch.setattr(tqdm, "tqdm", Kept)
    with progress_for(100, "x") as progress:
        for count in (60, -60, 100):
            progress.advance(count)
    assert [(bar.n, bar.total) for bar in bars] == [(100, 100)]


def test_a_bar_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    with suppress(OSError), progress_for(10, "x") as progress:
        progress.advance(5)
        raise OSError
    *_, shown, blank, end = screen.getvalue().split("\r")
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
def test_a_standard_error_that_cannot_show_a_bar_does_not_matter(
    stream: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_for(10, "x") as progress:
        progress.advance(10)


def test_a_bar_that_fails_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(tqdm.tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            calls.append(n)
            raise OSError

        def close(self) -> None:
            super().close()
            if "close" not in calls:  # not when it is collected
                calls.append("close")
                raise OSError

    calls: list[object] = []
    watch(monkeypatch)
    monkeypatch.setattr(tqdm, "tqdm", Broken)
    with progress_for(10, "x") as progress:
        progress.advance(4)
        progress.advance(6)
    assert calls == [4, "close"]


def test_a_bar_that_cannot_be_opened_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError

    watch(monkeypatch)
    monkeypatch.setattr(tqdm, "tqdm", fail)
    with progress_for(10, "x") as progress:
        progress.advance(10)
