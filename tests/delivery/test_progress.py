"""Counting how far a delivery is, and when it is shown."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import suppress

import pytest

from nipype_datasink.delivery.progress import FileProgress, Progress, shown_progress
from nipype_datasink.delivery.progress_text import Amount, Phase, State
from nipype_datasink.planning.plan import FileTransfer


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """Records what is shown, and when."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.seconds = seconds
        self.shown: list[tuple[float, State]] = []
        self.is_closed = False
        self._clock = clock

    def show(self, state: State) -> None:
        self.shown.append((self._clock.now - 100, state))

    def close(self) -> None:
        self.is_closed = True

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.shown]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run_for(seconds: int, progress: Progress, clock: Clock) -> None:
    """Let the time pass in steps of a half second."""
    for _ in range(2 * seconds):
        clock.now += 0.5
        progress.show()


@pytest.mark.parametrize(
    ("interval", "seconds", "times"),
    [
        (0.2, 1, []),
        (0.2, 3, [2.0, 2.5, 3.0]),
        (30.0, 29, []),
        (30.0, 95, [30.0, 60.0, 90.0]),
    ],
    ids=["short", "a bar", "short for lines", "lines"],
)
def test_only_a_long_delivery_is_shown(
    clock: Clock, interval: float, seconds: int, times: list[float]
) -> None:
    screen = Screen(clock, interval)
    run_for(seconds, Progress(choose=lambda: screen, clock=clock), clock)
    assert screen.times == times


def test_nothing_is_chosen_for_a_short_delivery(clock: Clock) -> None:
    chosen: list[str] = []

    def choose() -> Screen:
        chosen.append("chosen")
        return Screen(clock, 1)

    progress = Progress(choose=choose, clock=clock)
    run_for(1, progress, clock)
    assert not chosen
    run_for(1, progress, clock)
    assert chosen == ["chosen"]


def test_a_phase_counts_files_and_bytes(clock: Clock) -> None:
    screen = Screen(clock, 0.2)
    progress = Progress(choose=lambda: screen, clock=clock)
    progress.begin_place("s3://lab", [])
    phase = progress.begin(Phase.SENDING, Amount(files=2, size=300))
    clock.now += 4
    phase.file(100).finish()
    clock.now += 1
    phase.file(200).add_bytes(50)
    state = screen.shown[-1][1]
    assert (state.place, state.phase, state.seconds) == ("s3://lab", Phase.SENDING, 5)
    assert state.done == Amount(files=1, size=150)
    assert state.total == Amount(files=2, size=300)
    assert (state.rate.files, state.rate.size) == (0.2, 30)


def test_the_rate_is_that_of_the_last_seconds(clock: Clock) -> None:
    screen = Screen(clock, 0.2)
    progress = Progress(choose=lambda: screen, clock=clock)
    phase = progress.begin(Phase.SENDING, Amount(files=1, size=10_000))
    phase.add(size=5000)
    run_for(60, progress, clock)
    assert screen.shown[-1][1].rate.size == 0
    phase.add(size=100)
    run_for(10, progress, clock)
    assert screen.shown[-1][1].rate.size == 10


def test_the_next_phase_has_its_own_rate(clock: Clock) -> None:
    screen = Screen(clock, 0.2)
    progress = Progress(choose=lambda: screen, clock=clock)
    progress.begin(Phase.COMPARING, Amount(files=1, size=10_000)).add(size=10_000)
    clock.now += 5
    progress.begin(Phase.SENDING, Amount(files=1, size=100))
    clock.now += 1
    progress.show()
    assert screen.shown[-1][1].rate.size == 0


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        ([60], 60),
        ([60, -60, 100], 100),
        ([60, -60], 0),
        ([60, 60], 100),
        ([100, -40, 40], 100),
        ([100, 40, -140, 10], 10),
        ([], 0),
    ],
)
def test_a_file_never_counts_more_bytes_than_it_has(
    clock: Clock, steps: list[int], counted: int
) -> None:
    phase = Progress(clock=clock).begin(Phase.SENDING, Amount(files=1, size=100))
    file: FileProgress = phase.file(100)
    for step in steps:
        file.add_bytes(step)
    assert phase.state(0).done == Amount(files=0, size=counted)
    file.restart()
    assert phase.state(0).done == Amount()
    file.finish()
    assert phase.state(0).done == Amount(files=1, size=100)


def test_other_threads_count_but_show_nothing(clock: Clock) -> None:
    screen = Screen(clock, 0.2)
    progress = Progress(choose=lambda: screen, clock=clock)
    phase = progress.begin(Phase.SENDING)
    clock.now += 3

    def count() -> None:
        for _ in range(1000):
            phase.add(files=1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not screen.shown
    progress.show()
    assert screen.shown[0][1].done == Amount(files=4000)


def test_nothing_is_shown_after_the_end(clock: Clock) -> None:
    screen = Screen(clock, 0.2)
    progress = Progress(choose=lambda: screen, clock=clock)
    run_for(2, progress, clock)
    progress.close()
    run_for(2, progress, clock)
    assert (screen.times, screen.is_closed) == ([2.0], True)


def test_an_error_of_a_screen_stops_no_delivery(clock: Clock) -> None:
    class Broken(Screen):
        def show(self, state: State) -> None:
            super().show(state)
            raise OSError

        def close(self) -> None:
            raise OSError

    screen = Broken(clock, 0.2)
    progress = Progress(choose=lambda: screen, clock=clock)
    run_for(5, progress, clock)
    progress.close()
    assert screen.times == [2.0]


def test_an_error_of_the_choice_stops_no_delivery(clock: Clock) -> None:
    def fail() -> Screen:
        raise OSError

    run_for(5, Progress(choose=fail, clock=clock), clock)


def test_an_interrupt_says_how_far_it_came(caplog: pytest.LogCaptureFixture) -> None:
    transfers = [FileTransfer(source="/a", destination=f"/out/{n}", size=10) for n in range(3)]
    interrupt = KeyboardInterrupt()
    with suppress(KeyboardInterrupt), shown_progress() as progress:
        progress.begin_place("/out\n", transfers)
        progress.begin(Phase.COPYING).file(10).finish()
        raise interrupt
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(interrupt) == record.getMessage()
    assert record.getMessage().startswith(
        "/out\\n: interrupted while copying: 1 of 3 files (10 of 30 bytes) are in place; run again"
    )


def test_no_error_of_a_log_replaces_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(record)

    handler = Broken()
    logger = logging.getLogger("nipype.interface")
    monkeypatch.setattr(logger, "handlers", [handler])
    with pytest.raises(KeyboardInterrupt), shown_progress():
        raise KeyboardInterrupt


def test_a_time_limit_that_ends_while_a_bar_is_removed_is_not_lost(
    clock: Clock, time_limit: type[Exception]
) -> None:
    class Slow(Screen):
        def close(self) -> None:
            signal.raise_signal(signal.SIGALRM)

    progress = Progress(choose=lambda: Slow(clock, 0.2), clock=clock)
    run_for(3, progress, clock)
    with pytest.raises(time_limit):
        progress.hide()


def test_an_inner_block_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with shown_progress() as outer:
        with shown_progress(outer) as inner:
            assert inner is outer
        with pytest.raises(KeyboardInterrupt), shown_progress(outer):
            raise KeyboardInterrupt
    assert not caplog.records
