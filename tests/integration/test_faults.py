"""Runs through a proxy that disturbs requests: no file is lost without an error that names it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from nipype_datasink import DataSink, DeliveryError, Outcome, Status
from nipype_datasink.s3 import silence
from nipype_datasink.s3.client import ClientOptions, open_bucket
from tests.faultproxy import Fault, Faults, Proxy
from tests.integration.conftest import Count, Record
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

ANY = tuple(fault for fault in Fault if fault is not Fault.EXPIRED)
OFTEN = 10  # hits of each fault in a soak


def attempt(sink: DataSink) -> DeliveryError | None:
    try:
        sink.run()
    except DeliveryError as error:
        return error
    return None


def stored(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    return {item.key: item.get()["Body"].read() for item in bucket.objects.filter(Prefix=prefix)}


def check_outcomes(sink: DataSink, error: DeliveryError | None, bucket: Bucket, prefix: str) -> int:
    """Compare the outcome of each file with the object in the store.

    Return how many files were reported as failed but are stored, because the response was lost.
    """
    wanted = {item.key: Path(item.source).read_bytes() for item in sink.plan().transfers}
    there = stored(bucket, prefix)
    assert there.items() <= wanted.items(), "an object is incomplete or should not exist"
    if error is None:
        assert there == wanted
        return 0
    outcomes: Any = error.outcomes
    said = {outcome.transfer.key: outcome for outcome in outcomes}
    assert said.keys() == wanted.keys()
    absent = {key for key, outcome in said.items() if not outcome.status.arrived}
    assert absent
    assert wanted.keys() - there.keys() <= absent, "lost without an error"
    assert str(error).count("\n  failed: ") == sum(
        outcome.status is Status.FAILED for outcome in outcomes
    )
    assert all(explained(said[key]) for key in absent)
    assert not any(said[key].status is Status.NOT_TRIED for key in there)
    return len(absent & there.keys())


def explained(outcome: Outcome) -> bool:
    return outcome.status is Status.NOT_TRIED or outcome.cause is not None


def test_random_faults_lose_nothing_without_an_error(
    *,
    bucket: Bucket,
    proxy: Proxy,
    sources: list[str],
    transport: str,
    count: Count,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, failed, lost_responses = count(200, 20), 0, 0
    hits: Counter[Fault] = Counter()
    for seed in range(runs):
        prefix = f"run-{seed}"
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", str(1 + seed % 3))  # so that some runs do fail
        sink = DataSink(
            base_directory=f"s3://mybucket/{prefix}",
            s3_endpoint_url=proxy.address,
            s3_transfer_client=transport,
        )
        sink.inputs.data = sources
        proxy.set(faults_of(seed))
        error = attempt(sink)
        hits += proxy.hits()
        proxy.set(Faults())
        failed += error is not None
        lost_responses += check_outcomes(sink, error, bucket, prefix)
        sink.run()
        assert check_outcomes(sink, None, bucket, prefix) == 0
        bucket.objects.filter(Prefix=prefix).delete()
    record(
        f"Random faults, {transport}",
        {
            "runs": runs,
            "runs that ended with an error": failed,
            "files reported as failed but stored (response lost)": lost_responses,
            **{f"hits: {fault.value}": hits[fault] for fault in Fault},
        },
    )
    assert 0 < failed < runs
    assert min(hits[fault] for fault in Fault) >= count(OFTEN, 0)


def test_a_store_that_stops_responding_is_an_error(
    *, bucket: Bucket, proxy: Proxy, sources: list[str]
) -> None:
    """With the client that the documentation shows, which sends no small request."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    hasty = Config(read_timeout=2, retries={"total_max_attempts": 2})
    resource = session.resource("s3", endpoint_url=proxy.address, config=hasty)
    sink = DataSink(base_directory="s3://mybucket/run", bucket=resource.Bucket("mybucket"))
    sink.inputs.data = sources
    proxy.set(Faults(kinds=(Fault.HANG,), only="^PUT", after=3, pause=600))
    error = attempt(sink)
    assert "Read timeout" in str(error)
    check_outcomes(sink, error, bucket, "run")
    assert 0 < len(stored(bucket, "run")) <= 3
    proxy.set(Faults())
    sink.run()
    assert check_outcomes(sink, None, bucket, "run") == 0


def test_the_number_and_duration_of_retries(
    *, bucket: Bucket, proxy: Proxy, sources: list[str]
) -> None:
    """The numbers in docs/reliability.md."""
    connection = ClientOptions(endpoint_url=proxy.address)
    config: Any = open_bucket("mybucket", connection).meta.client.meta.config
    assert config.connect_timeout == config.read_timeout == silence.RESPONSE_SECONDS == 45
    sink = DataSink(base_directory="s3://mybucket", s3_endpoint_url=proxy.address)
    sink.inputs.s3_transfer_client = "classic"
    sink.inputs.data = sources[:1]
    proxy.set(Faults(kinds=(Fault.INTERNAL_ERROR,), only="^PUT"))
    assert attempt(sink) is not None
    assert proxy.hits()[Fault.INTERNAL_ERROR] in (3, 5)  # botocore 1.44, and older


def faults_of(seed: int) -> Faults:
    chance = random.Random(seed)
    faults = Faults(kinds=ANY, rate=0.2, seed=seed, pause=0.3)
    expires = chance.random() < 0.1
    return replace(faults, expires_after=chance.randrange(14)) if expires else faults
