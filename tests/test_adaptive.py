"""Calls are made in threads once they prove to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.parallel import parallel_map

# Seconds that a call takes, and computes; it is slow if it waits more than 0.0005 seconds.
_FAST, _SLOW, _COMPUTING = (0.0004, 0.0), (0.25, 0.0), (0.25, 0.2499)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Replace the clocks by numbers."""
    clocks = {"monotonic": 5.0, "thread_time": 3.0}
    monkeypatch.setattr("time.monotonic", lambda: clocks["monotonic"])
    monkeypatch.setattr("time.thread_time", lambda: clocks["thread_time"])
    return clocks


def _call(
    clocks: dict[str, float], durations: Iterator[tuple[float, float]]
) -> Callable[[object], bool]:
    """Return a function that takes these times in the main thread, and tells whether it is that."""

    def call(_: object) -> bool:
        if threading.current_thread() is not threading.main_thread():
            return False
        seconds, computing = next(durations)
        clocks["monotonic"] += seconds
        clocks["thread_time"] += computing
        return True

    return call


@pytest.mark.parametrize(
    ("durations", "calls_in_main_thread"),
    [
        pytest.param([_SLOW] * 4, 4, id="slow"),
        pytest.param([_FAST, *[_SLOW] * 4], 5, id="slow-later"),
        pytest.param([_SLOW, _SLOW, _SLOW, _FAST, *[_SLOW] * 4], 8, id="not-in-a-row"),
        pytest.param([_FAST] * 20, 20, id="fast"),
        pytest.param([_COMPUTING] * 20, 20, id="computing"),
        pytest.param([*[_COMPUTING] * 5, *[_SLOW] * 9], 6, id="slow-after-computing"),
        pytest.param([_SLOW, _SLOW, _SLOW, _FAST] * 5, 20, id="slow-at-times"),
    ],
)
def test_slow_calls_in_a_row_let_threads_make_the_others(
    durations: list[tuple[float, float]], calls_in_main_thread: int, clocks: dict[str, float]
) -> None:
    where = adaptive_map(_call(clocks, iter(durations)), range(20))
    assert where == [True] * calls_in_main_thread + [False] * (20 - calls_in_main_thread)


def test_a_call_that_waits_a_little_is_fast(clocks: dict[str, float]) -> None:
    where = adaptive_map(_call(clocks, repeat((0.25, 0.24951))), range(10))
    assert where == [True] * 10
    where = adaptive_map(_call(clocks, repeat((0.25, 0.24949))), range(10))
    assert where == [True] * 4 + [False] * 6


def test_results_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nipype_datasink.adaptive._WAITING_SECONDS", -1.0)
    assert adaptive_map(str, range(200)) == list(map(str, range(200)))
    assert adaptive_map(str, []) == []


def test_threads_of_a_pool_start_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nipype_datasink.adaptive._WAITING_SECONDS", -1.0)

    def call(_: int) -> set[threading.Thread]:
        return set(adaptive_map(lambda _: threading.current_thread(), range(9)))

    for threads in parallel_map(call, range(2), threads=2):
        assert len(threads) == 1


def test_an_error_ends_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nipype_datasink.adaptive._WAITING_SECONDS", -1.0)
    interrupts: list[bool] = []

    def fail(item: int) -> None:
        if item > 10:
            raise ValueError(item)

    with pytest.raises(ValueError, match="1"):
        adaptive_map(fail, range(99), on_interrupt=lambda: interrupts.append(True))
    assert interrupts == [True]
