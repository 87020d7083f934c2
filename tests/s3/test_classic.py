"""Sending files through boto3, and verifying them."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from nipype_datasink import FileTransfer, Outcome, S3Error, Status
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.classic import ClassicTransport
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from tests.s3.conftest import Answer, counting, sent, transfer_of
from tests.s3.scripted_store import Script

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.service_resource import Bucket

SHA256_OF_ABC = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
MD5_OF_ABC = hashlib.md5(b"abc").hexdigest()
LARGE = PART_BYTES + 1


def send(client: Any, transfer: FileTransfer, **args: Any) -> Outcome:
    bucket = BucketClient(client=client, name="mybucket", upload_args=args)
    transport = ClassicTransport(bucket, estimator=ConcurrencyEstimator(2), phase=counting())
    (outcome,) = transport.send([transfer], CircuitBreaker())
    return outcome


@pytest.fixture
def stubber() -> Iterator[Stubber]:
    """A client with the responses that a test has queued, and no others."""
    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    with Stubber(session.client("s3")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("response", "verified"),
    [
        ({"ETag": f'"{MD5_OF_ABC}"'}, True),
        ({"ETag": f'"{MD5_OF_ABC}"', "ServerSideEncryption": "AES256"}, True),
        ({"ETag": '"0123"', "ChecksumSHA256": SHA256_OF_ABC}, True),
        ({"ETag": '"0123"', "ChecksumCRC32": "NSRBwg=="}, False),
        ({"ETag": f'"{"0" * 32}"', "ServerSideEncryption": "aws:kms"}, False),
        ({"ETag": '"opaque"'}, False),
    ],
    ids=["MD5", "MD5 under AES-256", "checksum", "CRC32", "KMS", "opaque ETag"],
)
def test_a_small_file_is_verified_by_a_strong_digest_only(
    tmp_path: Path, stubber: Stubber, response: dict[str, str], verified: bool
) -> None:
    stubber.add_response("put_object", response)
    if not verified:
        stubber.add_client_error("get_object", "AccessDenied", http_status_code=403)
    outcome = send(stubber.client, transfer_of(tmp_path / "file", b"abc"))
    assert sent(outcome, verified=verified)


@pytest.mark.parametrize("encryption", [{}, {"ServerSideEncryption": "AES256"}], ids=str)
def test_a_wrong_etag_is_an_error(
    tmp_path: Path, stubber: Stubber, encryption: dict[str, str]
) -> None:
    stubber.add_response("put_object", {"ETag": f'"{"0" * 32}"', **encryption})
    held = {"Body": StreamingBody(BytesIO(b"abd"), 3), "ContentLength": 3}
    stubber.add_response("get_object", held)
    outcome = send(stubber.client, transfer_of(tmp_path / "file", b"abc"))
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.cause, S3Error)
    assert "other bytes" in str(outcome.cause)


def test_a_small_file_is_one_request_with_all_arguments(tmp_path: Path, stubber: Stubber) -> None:
    args: dict[str, Any] = {
        "StorageClass": "STANDARD_IA",
        "Metadata": {"a": "b"},
        "RequestPayer": "requester",
    }
    expected = {"Bucket": "mybucket", "Key": "key", "Body": ANY, **args}
    stubber.add_response("put_object", {"ETag": f'"{MD5_OF_ABC}"'}, expected)
    assert sent(send(stubber.client, transfer_of(tmp_path / "file", b"abc"), **args))


def alter_head_responses(client: S3Client, **changes: object) -> None:
    def alter(parsed: dict[str, Any], **_: object) -> None:
        for name in [name for name in parsed if name.startswith("Checksum")]:
            del parsed[name]
        parsed.update(changes)

    client.meta.events.register("after-call.s3.HeadObject", alter)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ContentLength": PART_BYTES}, "8,388,608 bytes after the upload, the file 8,388,609"),
        ({"ETag": '"opaque"', "ChecksumSHA256": SHA256_OF_ABC}, "checksum mismatch after upload"),
    ],
    ids=["another size", "checksum of something else"],
)
def test_a_wrong_size_or_checksum_of_a_large_file_is_an_error(
    tmp_path: Path,
    lone_bucket: Bucket,
    answer: Answer,
    fields: dict[str, object],
    message: str,
) -> None:
    answer("GetObject", 403, "AccessDenied")
    alter_head_responses(lone_bucket.meta.client, **fields)
    transfer = transfer_of(tmp_path / "file", bytes(LARGE))
    outcome = send(lone_bucket.meta.client, transfer)
    assert outcome.status is Status.FAILED
    assert message in str(outcome.cause)


@pytest.mark.parametrize(
    ("fields", "verified"),
    [
        ({"ETag": '"opaque"'}, False),
        ({"ETag": f'"{"0" * 32}-2"', "ServerSideEncryption": "aws:kms"}, False),
        ({"ETag": f'"{"0" * 32}-9"'}, False),
        ({"ETag": '"opaque"', "ChecksumSHA256": "checked by the store"}, True),
    ],
    ids=["opaque ETag", "KMS", "parts of another size", "checksum"],
)
def test_a_large_file_is_verified_by_a_strong_digest_only(
    tmp_path: Path, lone_bucket: Bucket, answer: Answer, fields: dict[str, object], verified: bool
) -> None:
    answer("GetObject", 403, "AccessDenied")
    if "ChecksumSHA256" in fields:
        digest = hashlib.sha256(bytes(LARGE)).digest()
        fields = {**fields, "ChecksumSHA256": base64.b64encode(digest).decode()}
    alter_head_responses(lone_bucket.meta.client, **fields)
    transfer = transfer_of(tmp_path / "file", bytes(LARGE))
    assert sent(send(lone_bucket.meta.client, transfer), verified=verified)


def test_a_large_file_is_not_verified_where_head_is_denied(
    tmp_path: Path, lone_bucket: Bucket, answer: Answer
) -> None:
    answer("HeadObject", 403, "AccessDenied")
    transfer = transfer_of(tmp_path / "file", bytes(LARGE))
    assert sent(send(lone_bucket.meta.client, transfer), verified=False)


def test_a_rejected_multipart_upload_is_aborted(
    tmp_path: Path, lone_bucket: Bucket, answer: Answer
) -> None:
    answer("UploadPart", 403, "AccessDenied")
    outcome = send(lone_bucket.meta.client, transfer_of(tmp_path / "file", bytes(LARGE)))
    assert isinstance(outcome.cause, ClientError)
    assert "Uploads" not in lone_bucket.meta.client.list_multipart_uploads(Bucket="mybucket")


def test_small_and_large_files_share_the_limit_of_concurrent_requests(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = transfer_of(tmp_path / "small", b"abc")
    large = replace(
        transfer_of(tmp_path / "large", b"a" * (2 * PART_BYTES)), destination="s3://mybucket/large"
    )
    running, at_once = threading.Semaphore(2), []
    forward = BaseClient._make_request  # type: ignore[attr-defined]

    def watch(self: Any, *args: Any, **kwargs: Any) -> Any:
        at_once.append(running.acquire(blocking=False))
        threading.Event().wait(0.02)  # gives others the time to break the limit
        try:
            return forward(self, *args, **kwargs)
        finally:
            running.release()

    monkeypatch.setattr(BaseClient, "_make_request", watch)
    reached = BucketClient(client=bucket.meta.client, name="mybucket", upload_args={})
    transport = ClassicTransport(reached, estimator=ConcurrencyEstimator(2), phase=counting())
    others = [replace(small, destination=f"s3://mybucket/{number}") for number in range(8)]
    transport.send([large, *others], CircuitBreaker())
    assert len(at_once) >= len(others) + 3
    assert all(at_once)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("encryption", "has_crt", "algorithm"),
    [
        ("aws:kms", False, "SHA256"),
        ("aws:kms:dsse", False, "SHA256"),
        ("AES256", False, "CRC32"),
        ("aws:kms", True, "CRC64NVME"),
    ],
)
def test_uploads_carry_the_fastest_strong_checksum(
    encryption: str,
    has_crt: bool,
    algorithm: str,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    monkeypatch.setattr("nipype_datasink.s3.classic.has_crt", lambda: has_crt)
    connection = ClientOptions(endpoint_url=script.url, region="us-east-1")
    client = open_bucket("mybucket", connection).meta.client
    send(client, transfer_of(tmp_path / "a", b"abc"), ServerSideEncryption=encryption)
    (request,) = script.requests_of("PutObject")
    names = {name.lower() for name in request.headers}
    assert f"x-amz-checksum-{algorithm.lower()}" in names
