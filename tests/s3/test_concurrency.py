"""How many requests at a time hide the time that the network takes."""

from __future__ import annotations

import threading
import time

import pytest

from nipype_datasink.s3.concurrency import ConcurrencyEstimator


def paced(monkeypatch: pytest.MonkeyPatch, wall: float, work: float) -> ConcurrencyEstimator:
    """Return the pace after a request of so many seconds, some of them work."""
    pace, clock = ConcurrencyEstimator(), iter([100.0, 100.0 + wall])
    own = iter([5.0, 5.0 + work])
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(clock))
        patch.setattr(time, "thread_time", lambda: next(own))
        with pace.timed():
            pass
    return pace


@pytest.mark.parametrize(
    ("wall", "work", "expected"),
    [(0.010, 0.010, 2), (0.010, 0.005, 6), (0.021, 0.001, 21), (0.900, 0.001, 32)],
    ids=["nothing but work", "half of it waiting", "20 ms", "far away"],
)
def test_as_many_requests_as_fit_into_the_time_of_waiting(
    monkeypatch: pytest.MonkeyPatch, wall: float, work: float, expected: int
) -> None:
    pace = paced(monkeypatch, wall, work)
    assert pace.requests(work=1e-3, least=2, most=32) == expected


def test_an_unknown_store_is_far_away() -> None:
    assert ConcurrencyEstimator().requests(work=1e-3, least=2, most=32) == 32


def test_a_limit_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ConcurrencyEstimator(1).requests(work=1e-3, least=2, most=32) == 1
    assert ConcurrencyEstimator(99).requests(work=1e-3, least=2, most=32) == 99


def test_sleeping_is_waiting() -> None:
    pace = ConcurrencyEstimator()
    with pace.timed():
        threading.Event().wait(0.05)
    assert pace.requests(work=1e-3, least=2, most=10_000) >= 50
    with pace.timed():
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
    assert pace.requests(work=1.0, least=2, most=10_000) == 2
