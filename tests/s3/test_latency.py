"""The time until an answer, without the time that it takes to connect."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.concurrency import ConcurrencyEstimator, RequestProfile
from nipype_datasink.s3.latency import record_answers, recorded_answers
from tests.s3.scripted_store import Script


class Connection:
    """Takes 5 seconds to connect, and then the given time to answer."""

    now = 0.0

    def __init__(self, seconds: float) -> None:
        Connection.now += 5
        self.seconds = seconds

    def getresponse(self) -> str:
        Connection.now += self.seconds
        return "response"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a recording connection class whose seconds pass at once."""
    monkeypatch.setattr(time, "perf_counter", lambda: Connection.now)
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    pools: Any = {"https": type("Pool", (), {"ConnectionCls": Connection})}
    http_session = SimpleNamespace(_pool_classes_by_scheme=pools)
    client: Any = SimpleNamespace(_endpoint=SimpleNamespace(http_session=http_session))
    record_answers(client)
    return pools["https"].ConnectionCls


def test_time_to_connect_is_not_recorded(connect: Any) -> None:
    with recorded_answers() as answers:
        assert connect(0.5).getresponse() == "response"
        connect(0.25).getresponse()
    connect(1.0).getresponse()

    assert answers == [0.5, 0.25]


def test_the_estimate_is_that_of_the_fastest_answer(connect: Any) -> None:
    estimator, profile = ConcurrencyEstimator(), RequestProfile(1.0, 1, 100)
    with estimator.measure_latency():
        connect(9.0).getresponse()
        connect(7.0).getresponse()
    assert estimator.estimate(profile) == 1 + 7


def test_without_recorded_answers_all_the_time_counts(connect: Any) -> None:
    estimator, profile = ConcurrencyEstimator(), RequestProfile(1.0, 1, 100)
    with estimator.measure_latency():
        Connection(9.0).getresponse()
    assert estimator.estimate(profile) == 1 + 5 + 9


def test_clients_of_open_buckets_record_answers(credentials: None, script: Script) -> None:
    bucket = open_bucket("mybucket", ClientOptions(endpoint_url=script.url))
    with recorded_answers() as answers:
        bucket.meta.client.list_objects_v2(Bucket="mybucket")
    assert len(answers) == 1


def test_a_client_of_an_unknown_kind_is_left_alone() -> None:
    client: Any = SimpleNamespace()
    record_answers(client)
    assert vars(client) == {}
