"""Waiting where a store refuses requests because there are too many."""

from __future__ import annotations

import math

import boto3
import pytest
from botocore.config import Config

from nipype_datasink.s3.crt.throttling import Throttle, attempts_of


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets; waiting is as long as can be."""
    clock = [100.0]
    monkeypatch.setattr("nipype_datasink.s3.crt.throttling.monotonic", lambda: clock[0])
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    return clock


def test_nothing_waits_at_first() -> None:
    assert (Throttle().pause, Throttle().limit) == (0.0, math.inf)


def test_waiting_doubles_with_every_attempt(now: list[float]) -> None:
    throttle = Throttle(attempts=7)
    pauses = []
    for _ in range(6):
        assert throttle.refuse("a", under_way=8)
        pauses.append(throttle.pause)
        now[0] += throttle.pause
    assert pauses == [1, 2, 4, 8, 16, 20]
    assert not throttle.refuse("a", under_way=8)
    assert throttle.refuse("b", under_way=8)


def test_half_as_many_requests_follow_each_wave_of_refusals(now: list[float]) -> None:
    throttle = Throttle()
    for what in range(60):
        throttle.refuse(what, under_way=60 - what)
    assert throttle.limit == 30
    now[0] += throttle.pause
    throttle.refuse(1, under_way=30)
    assert throttle.limit == 15
    for _ in range(9):
        now[0] += throttle.pause
        throttle.refuse(2, under_way=1)
    assert throttle.limit == 1


def test_it_is_as_often_as_boto3_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(**settings: int) -> int:
        config = Config(retries=settings) if settings else None  # type: ignore[arg-type]
        session = boto3.session.Session("key", "secret", region_name="us-east-1")
        return attempts_of(session.client("s3", config=config))

    assert client() == 5
    assert client(total_max_attempts=3) == 3
    assert client(max_attempts=3) == 4
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    assert client() == 2
