"""Calls are made in threads once they prove to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import pytest

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.parallel import parallel_map

_FAST, _SLOW = 0.0004, 0.0006  # seconds that a call waits; more than 0.0005 are slow


def _let_calls_wait(monkeypatch: pytest.MonkeyPatch, seconds: Iterator[float]) -> None:
    """Let the calls seem to wait so long, one after the other."""
    times = _times(seconds)
    monkeypatch.setattr("nipype_datasink.adaptive._idle_seconds", lambda: next(times))


def _times(seconds: Iterator[float]) -> Iterator[float]:
    """Yield the time before and after each call."""
    for each in seconds:
        yield 7.0
        yield 7.0 + each


def _in_main_thread(_: object) -> bool:
    return threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    ("seconds", "calls_in_main_thread"),
    [
        pytest.param([_SLOW, _SLOW, _SLOW], 3, id="slow"),
        pytest.param([_FAST, _SLOW, _SLOW, _SLOW], 4, id="slow-later"),
        pytest.param([_SLOW, _SLOW, _FAST, _SLOW, _SLOW, _SLOW], 6, id="not-in-a-row"),
        pytest.param([_FAST] * 20, 20, id="fast"),
        pytest.param([_SLOW, _SLOW, _FAST] * 6 + [_FAST] * 2, 20, id="slow-at-times"),
    ],
)
def test_slow_calls_in_a_row_let_threads_make_the_others(
    seconds: list[float], calls_in_main_thread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_calls_wait(monkeypatch, iter(seconds))
    where = adaptive_map(_in_main_thread, range(20))
    assert where == [True] * calls_in_main_thread + [False] * (20 - calls_in_main_thread)


def test_results_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _let_calls_wait(monkeypatch, repeat(_SLOW))
    assert adaptive_map(str, range(200)) == list(map(str, range(200)))
    assert adaptive_map(str, []) == []


def test_waiting_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in which the thread computes does not count."""
    clocks = {"monotonic": 5.0, "thread_time": 3.0}
    monkeypatch.setattr("time.monotonic", lambda: clocks["monotonic"])
    monkeypatch.setattr("time.thread_time", lambda: clocks["thread_time"])

    def call_for(seconds: float, computing: float) -> Callable[[int], None]:
        def call(_: int) -> None:
            clocks["monotonic"] += seconds
            clocks["thread_time"] += computing

        return call

    used: list[bool] = []
    monkeypatch.setattr("nipype_datasink.adaptive.parallel_map", _recorded(used))
    adaptive_map(call_for(0.5, 0.4996), range(10))
    adaptive_map(call_for(0.5, 0.4994), range(10))
    assert used == [False, True]


def _recorded(used: list[bool]) -> Callable[..., list[None]]:
    def record(_: object, items: Sequence[object], **_options: object) -> list[None]:
        used.append(len(items) > 0)
        return [None for _ in items]

    return record


def test_threads_of_a_pool_start_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    _let_calls_wait(monkeypatch, repeat(_SLOW))

    def call(_: int) -> set[threading.Thread]:
        return set(adaptive_map(lambda _: threading.current_thread(), range(9)))

    for threads in parallel_map(call, range(2), threads=2):
        assert len(threads) == 1


def test_an_error_ends_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    _let_calls_wait(monkeypatch, repeat(_SLOW))
    interrupts: list[bool] = []

    def fail(item: int) -> None:
        if item > 10:
            raise ValueError(item)

    with pytest.raises(ValueError, match="1"):
        adaptive_map(fail, range(99), on_interrupt=lambda: interrupts.append(True))
    assert interrupts == [True]
