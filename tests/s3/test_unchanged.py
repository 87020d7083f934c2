"""In which order, and in how many threads, files are compared with their objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from nipype_datasink.delivery.progress import hidden_progress
from nipype_datasink.parallel import WorkCancelled, parallel_map
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3 import unchanged
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.file_comparison import FileComparison
from tests.s3.conftest import transfer_of

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


Compare = Callable[..., unchanged.BucketContents]

_SMALL, _LARGE = unchanged._QUICKLY_READ_BYTES, unchanged._QUICKLY_READ_BYTES + 1


@pytest.fixture
def transfers(tmp_path: Path, bucket: Bucket) -> list[FileTransfer]:
    """Make files, two that are read quickly and two that are not, and their objects."""
    sizes = {"a": _LARGE, "b": _SMALL, "c": _LARGE, "d": _SMALL}
    found = [
        replace(transfer_of(tmp_path / name, bytes(size)), destination=f"s3://mybucket/{name}")
        for name, size in sizes.items()
    ]
    for transfer in found:
        bucket.put_object(Key=transfer.key, Body=Path(transfer.source).read_bytes())
    return found


@pytest.fixture
def compare(bucket: Bucket, transfers: list[FileTransfer]) -> Compare:
    def compare(heads: mock.Mock, **upload_args: str) -> unchanged.BucketContents:
        return unchanged.compare_with_bucket(
            BucketClient(client=bucket.meta.client, name=bucket.name, upload_args=upload_args),
            transfers,
            estimator=ConcurrencyEstimator(20),
            breaker=CircuitBreaker(),
            progress=hidden_progress(),
            open_heads=heads,
        )

    return compare


@pytest.fixture
def parallel(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Record the calls that several threads make."""
    calls = mock.Mock(wraps=parallel_map)
    monkeypatch.setattr("nipype_datasink.s3.unchanged.parallel_map", calls)
    return calls


@pytest.mark.parametrize("sends_ahead", [True, False])
def test_a_few_threads_are_enough_where_responses_are_there(
    compare: Compare, transfers: list[FileTransfer], parallel: mock.Mock, sends_ahead: bool
) -> None:
    found = compare(lambda _: mock.Mock(sends_ahead=sends_ahead))
    assert found.unchanged == set(transfers)
    (call,) = parallel.call_args_list
    assert call.kwargs["threads"] == (unchanged._READERS if sends_ahead else 20)


def test_files_that_are_read_quickly_come_first_and_need_no_threads(
    compare: Compare, transfers: list[FileTransfer], parallel: mock.Mock
) -> None:
    compare(lambda _: mock.Mock(sends_ahead=True))
    (call,) = parallel.call_args_list
    assert call.args[1] == [transfers[0], transfers[2]]


@pytest.mark.parametrize(("idle", "alone"), [(0.04, 2), (0.06, 1), (0.11, 0)])
def test_files_that_wait_are_compared_in_threads(
    compare: Compare,
    transfers: list[FileTransfer],
    parallel: mock.Mock,
    monkeypatch: pytest.MonkeyPatch,
    idle: float,
    alone: int,
) -> None:
    clock = count(5.0, idle)  # each look is `idle` seconds after the one before
    monkeypatch.setattr("nipype_datasink.s3.unchanged.idle_seconds", lambda: next(clock))
    found = compare(lambda _: mock.Mock(sends_ahead=False))
    assert found.unchanged == set(transfers)
    (call,) = parallel.call_args_list
    assert call.args[1] == [transfers[index] for index in (1, 3, 0, 2)][alone:]


@pytest.mark.parametrize(("part_bytes", "threads"), [(_LARGE, 2), (_SMALL, 1), (0, 1)])
def test_few_large_files_are_read_in_several_threads_each(
    compare: Compare, monkeypatch: pytest.MonkeyPatch, part_bytes: int, threads: int
) -> None:
    made = mock.Mock(wraps=FileComparison)
    monkeypatch.setattr(unchanged, "_READERS", 2)
    monkeypatch.setattr(unchanged, "PART_BYTES", part_bytes)
    monkeypatch.setattr(unchanged, "FileComparison", made)
    compare(lambda _: mock.Mock(sends_ahead=True))
    assert made.call_args.kwargs == {"threads": threads}


def test_an_interrupt_ends_the_comparison(
    compare: Compare, transfers: list[FileTransfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = mock.Mock(side_effect=[None, WorkCancelled])
    monkeypatch.setattr("nipype_datasink.s3.unchanged.raise_if_cancelled", cancelled)
    with pytest.raises(WorkCancelled):
        compare(lambda _: mock.Mock(sends_ahead=True))


def test_heads_are_sent_in_the_order_in_which_files_are_compared(
    compare: Compare, transfers: list[FileTransfer]
) -> None:
    heads = mock.Mock(return_value=mock.Mock(sends_ahead=True, head=lambda *_, **__: {}))
    compare(heads, ServerSideEncryption="AES256")
    assert heads.call_args.args[0] == [transfers[index].key for index in (1, 3, 0, 2)]
