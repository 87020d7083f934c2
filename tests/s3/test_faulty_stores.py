"""Sending to stores with faults, with every transport."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink import DataSink, FileTransfer, Outcome, S3Error, Status
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import choose_transport
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from tests.s3.conftest import counting, transfer_of
from tests.s3.faulty_store import (
    DENIED,
    FAILED,
    FAULTS,
    LARGE,
    UNVERIFIED,
    VERIFIED,
    Fault,
    FaultyStore,
    crc64_of_kept,
    not_md5,
    other_than,
)
from tests.s3.scripted_store import Reply, Request, Script, error_reply


@pytest.fixture
def send(
    script: Script, credentials: None, monkeypatch: pytest.MonkeyPatch, transfer_client: str
) -> Callable[..., list[Outcome]]:
    """Return a function that sends files to the scripted store."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def send(
        transfers: list[FileTransfer], checksums: str = "when_required", limit: int = 2
    ) -> list[Outcome]:
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", checksums)
        connection = ClientOptions(endpoint_url=script.url, concurrency=limit)
        client = open_bucket("mybucket", connection).meta.client
        bucket = BucketClient(client=client, name="mybucket", upload_args={})
        transport = choose_transport(
            transfer_client, bucket, estimator=ConcurrencyEstimator(limit), phase=counting()
        )
        return transport.send(transfers, CircuitBreaker())

    return send


def name_of(outcome: Outcome) -> str:
    if outcome.status is Status.SENT:
        return VERIFIED if outcome.verified else UNVERIFIED
    assert not outcome.verified
    assert isinstance(outcome.cause, S3Error)
    return FAILED


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("fault", FAULTS)
def test_outcome_of_a_small_file_sent_to_a_faulty_store(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]], fault: str, checksums: str
) -> None:
    FaultyStore(script, FAULTS[fault][0])
    (outcome,) = send([transfer_of(tmp_path / "file", b"some bytes")], checksums)
    assert name_of(outcome) == FAULTS[fault][1]


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("fault", FAULTS)
def test_outcome_of_a_large_file_sent_to_a_faulty_store(
    large: str, script: Script, send: Callable[..., list[Outcome]], fault: str, checksums: str
) -> None:
    FaultyStore(script, FAULTS[fault][0])
    transfer = FileTransfer(source=large, destination="s3://mybucket/key", size=len(LARGE))
    (outcome,) = send([transfer], checksums)
    assert name_of(outcome) == FAULTS[fault][2]


def several(tmp_path: Path, count: int = 5) -> list[FileTransfer]:
    first = transfer_of(tmp_path / "file", b"some bytes")
    return [replace(first, destination=f"s3://mybucket/{number}") for number in range(count)]


def test_one_object_is_read_back_where_etags_are_not_md5(
    tmp_path: Path,
    script: Script,
    send: Callable[..., list[Outcome]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    FaultyStore(script, Fault(etag=not_md5))
    with caplog.at_level(logging.WARNING, logger="nipype.interface"):
        names = [name_of(outcome) for outcome in send(several(tmp_path))]
    assert sorted(names) == [UNVERIFIED] * 4 + [VERIFIED]
    assert len(script.requests_of("GetObject")) == 1
    assert [record.getMessage().count("not the MD5") for record in caplog.records] == [1]


def test_checksums_verify_where_etags_are_not_md5(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]]
) -> None:
    FaultyStore(script, Fault(etag=not_md5, checksums=crc64_of_kept))
    assert {name_of(outcome) for outcome in send(several(tmp_path))} == {VERIFIED}
    assert len(script.requests_of("GetObject")) == 1


@pytest.mark.parametrize("refused", [DENIED, error_reply("InvalidObjectState")])
def test_reading_back_is_tried_once_where_it_is_denied(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]], refused: Reply
) -> None:
    FaultyStore(script, Fault(etag=not_md5, read=refused))
    assert {name_of(outcome) for outcome in send(several(tmp_path))} == {UNVERIFIED}
    assert len(script.requests_of("GetObject")) == 1


def test_a_checksum_mismatch_does_not_affect_other_files(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]]
) -> None:
    store = FaultyStore(script, Fault())
    transfers = several(tmp_path)

    def fault(request: Request) -> Reply | None:
        store.fault = Fault(keep=other_than) if request.path.endswith("/2") else Fault()
        return None

    script._rules.insert(0, ("PutObject", "", fault))
    script._rules.insert(0, ("GetObject", "", fault))
    names = [name_of(outcome) for outcome in send(transfers, limit=1)]
    assert names == [VERIFIED, VERIFIED, FAILED, VERIFIED, VERIFIED]


def test_a_head_response_without_a_length_is_accepted(
    large: str, script: Script, send: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    FaultyStore(script, Fault())
    head = BucketClient.head

    def without(self: BucketClient, key: str, **extra: Any) -> Any:
        return {k: v for k, v in head(self, key, **extra).items() if k != "ContentLength"}

    monkeypatch.setattr(BucketClient, "head", without)
    transfer = FileTransfer(source=large, destination="s3://mybucket/key", size=len(LARGE))
    assert name_of(send([transfer])[0]) == VERIFIED


@pytest.mark.parametrize("confirmed", [False, True])
def test_one_warning_if_the_store_does_not_confirm_encryption(
    confirmed: bool,
    script: Script,
    files: list[str],
    credentials: None,
    transfer_client: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def put(request: Request) -> Reply:
        encryption = {"x-amz-server-side-encryption": "AES256"} if confirmed else {}
        return Reply(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"', **encryption})

    script.rule("PutObject", put)
    sink = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=script.url,
        s3_transfer_client=transfer_client,
        encrypt_bucket_keys=True,
    )
    sink.inputs.x = files
    sink.run()
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    expected = "mybucket: this store does not confirm the encryption that was asked for (AES256)"
    assert warnings == ([] if confirmed else [expected])
