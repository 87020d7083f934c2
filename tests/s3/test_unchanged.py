"""How many threads compare files with their objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from nipype_datasink.delivery.progress import hidden_progress
from nipype_datasink.parallel import parallel_map
from nipype_datasink.s3 import unchanged
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from tests.s3.conftest import transfer_of

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


@pytest.mark.parametrize("sends_ahead", [True, False])
def test_a_few_threads_are_enough_where_responses_are_there(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, sends_ahead: bool
) -> None:
    transfer = transfer_of(tmp_path / "file", b"abc")
    bucket.put_object(Key=transfer.key, Body=b"abc")
    calls = mock.Mock(wraps=parallel_map)
    monkeypatch.setattr("nipype_datasink.s3.unchanged.parallel_map", calls)
    found = unchanged.compare_with_bucket(
        BucketClient(client=bucket.meta.client, name=bucket.name, upload_args={}),
        [transfer],
        estimator=ConcurrencyEstimator(20),
        breaker=CircuitBreaker(),
        progress=hidden_progress(),
        open_heads=lambda _: mock.Mock(sends_ahead=sends_ahead),
    )
    assert found.unchanged == {transfer}
    (call,) = calls.call_args_list
    assert call.kwargs["threads"] == (unchanged._READERS if sends_ahead else 20)
