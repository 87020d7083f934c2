"""The estimated number of concurrent requests, for stores of known latency."""

from __future__ import annotations

import threading
import time

import pytest

from nipype_datasink.s3.concurrency import ConcurrencyEstimator, RequestProfile

PROFILE = RequestProfile(hidden_seconds=1e-3, minimum=2, maximum=32)


def estimator_after(
    monkeypatch: pytest.MonkeyPatch, elapsed: float, cpu: float
) -> ConcurrencyEstimator:
    """Return an estimator that has measured a request; both times are in seconds."""
    estimator, clock = ConcurrencyEstimator(), iter([100.0, 100.0 + elapsed])
    cpu_clock = iter([5.0, 5.0 + cpu])
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(clock))
        patch.setattr(time, "thread_time", lambda: next(cpu_clock))
        with estimator.measure_latency():
            pass
    return estimator


@pytest.mark.parametrize(
    ("elapsed", "cpu", "expected"),
    [(0.010, 0.010, 2), (0.010, 0.005, 6), (0.021, 0.001, 21), (0.900, 0.001, 32)],
    ids=["no latency", "5 ms", "20 ms", "900 ms"],
)
def test_requests_fill_the_latency(
    monkeypatch: pytest.MonkeyPatch, elapsed: float, cpu: float, expected: int
) -> None:
    estimator = estimator_after(monkeypatch, elapsed, cpu)
    assert estimator.estimate(PROFILE) == expected


def test_an_unknown_latency_is_taken_as_high() -> None:
    assert ConcurrencyEstimator().estimate(PROFILE) == 32


def test_a_limit_of_the_user_is_returned_as_it_is() -> None:
    assert ConcurrencyEstimator(1).estimate(PROFILE) == 1
    assert ConcurrencyEstimator(99).estimate(PROFILE) == 99


def test_only_time_without_computing_is_latency() -> None:
    estimator = ConcurrencyEstimator()
    with estimator.measure_latency():
        threading.Event().wait(0.05)
    assert estimator.estimate(RequestProfile(1e-3, 2, 10_000)) >= 50
    with estimator.measure_latency():
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
    assert estimator.estimate(RequestProfile(1.0, 2, 10_000)) == 2
