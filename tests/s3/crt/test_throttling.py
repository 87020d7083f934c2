"""Slowing down where a store rejects requests because there are too many."""

from __future__ import annotations

import math

import boto3
import pytest
from botocore.config import Config

from nipype_datasink.s3.crt.throttling import Throttle, max_attempts


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets; each pause has its greatest length."""
    clock = [100.0]
    monkeypatch.setattr("nipype_datasink.s3.crt.throttling.monotonic", lambda: clock[0])
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    return clock


def test_there_is_no_pause_at_first() -> None:
    assert (Throttle().pause, Throttle().limit) == (0.0, math.inf)


def test_the_pause_doubles_with_every_attempt(now: list[float]) -> None:
    throttle = Throttle(attempts=7)
    pauses = []
    for _ in range(6):
        assert throttle.record_rejection("a", requests=8)
        pauses.append(throttle.pause)
        now[0] += throttle.pause
    assert pauses == [1, 2, 4, 8, 16, 20]
    assert not throttle.record_rejection("a", requests=8)
    assert throttle.record_rejection("b", requests=8)


def test_each_burst_of_rejections_halves_the_limit(now: list[float]) -> None:
    throttle = Throttle()
    for what in range(60):
        throttle.record_rejection(what, requests=60 - what)
    assert throttle.limit == 30
    now[0] += throttle.pause
    throttle.record_rejection(1, requests=30)
    assert throttle.limit == 15
    for _ in range(9):
        now[0] += throttle.pause
        throttle.record_rejection(2, requests=1)
    assert throttle.limit == 1


def test_max_attempts_are_those_of_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(**settings: int) -> int:
        config = Config(retries=settings) if settings else None  # type: ignore[arg-type]
        session = boto3.session.Session("key", "secret", region_name="us-east-1")
        return max_attempts(session.client("s3", config=config))

    assert client() == 5
    assert client(total_max_attempts=3) == 3
    assert client(max_attempts=3) == 4
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    assert client() == 2
