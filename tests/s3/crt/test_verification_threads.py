"""The threads in which uploads through the AWS Common Runtime are verified."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import choose_transport
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.crt.scheduler import Scheduler
from nipype_datasink.s3.crt.transport import CrtTransport
from tests.s3.conftest import counting, sent, transfer_of

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "beside"),
    [(0, False), (MIB, False), (MIB + 1, True), (PART_BYTES, True), (PART_BYTES + 1, True)],
)
def test_files_that_take_long_to_read_are_verified_beside_sending(
    *,
    tmp_path: Path,
    bucket: Bucket,
    endpoint: str,
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    beside: bool,
) -> None:
    threads: dict[str, int] = {}

    def noting_thread(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            threads[name] = threading.get_ident()
            return function(*args)

        return call

    monkeypatch.setattr(Scheduler, "run", noting_thread("run", Scheduler.run))
    monkeypatch.setattr(CrtTransport, "verify", noting_thread("verify", CrtTransport.verify))
    client = open_bucket(bucket.name, ClientOptions(endpoint_url=endpoint)).meta.client
    transport = choose_transport(
        "crt",
        BucketClient(client=client, name=bucket.name, upload_args={}),
        estimator=ConcurrencyEstimator(),
        phase=counting(),
    )
    (outcome,) = transport.send([transfer_of(tmp_path / "file", bytes(size))], CircuitBreaker())
    assert sent(outcome)
    assert (threads["run"] != threads["verify"]) is beside
