"""Sending files: in one request or in parts, and proved by what the store confirms."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from boto3.s3.transfer import S3Transfer
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from nipype_datasink import FileTransfer, Outcome, S3Error, SettingsError, Status
from nipype_datasink.progress import Progress
from nipype_datasink.s3.arguments import check_upload_args
from nipype_datasink.s3.comparison import PART_SIZE
from nipype_datasink.s3.refusal import Trouble
from nipype_datasink.s3.store import Store
from nipype_datasink.s3.transfer import ClassicTransport
from tests.conftest import contents
from tests.s3.conftest import Answer

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.service_resource import Bucket

MD5_OF_ABC = hashlib.md5(b"abc").hexdigest()


class Count:
    """Sums up what it is told."""

    def __init__(self) -> None:
        self.bytes = 0

    def advance(self, count: int) -> None:
        self.bytes += count


class Meddler:
    """Appends to a file as soon as something of it was sent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def advance(self, count: int) -> None:
        with self._path.open("ab") as file:
            file.write(b"more")


def transfer_of(path: Path, content: bytes) -> FileTransfer:
    path.write_bytes(content)
    return FileTransfer(source=str(path), destination="s3://mybucket/key", size=len(content))


def send(
    client: Any, transfer: FileTransfer, progress: Progress | None = None, **args: Any
) -> Outcome:
    store = Store(client=client, bucket="mybucket", upload_args=args)
    transport = ClassicTransport(store, concurrency=2, progress=progress or Count())
    (outcome,) = transport.send([transfer], Trouble())
    assert outcome.transfer is transfer
    return outcome


def sent(outcome: Outcome, *, verified: bool = True) -> bool:
    return (outcome.status, outcome.cause, outcome.verified) == (Status.SENT, None, verified)


@pytest.fixture
def stubber() -> Iterator[Stubber]:
    """A client that answers only what a test has queued."""
    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    with Stubber(session.client("s3")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    "args",
    [
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/x"},
        {"StorageClass": "STANDARD_IA"},
        {"Metadata": {"a": "b"}},
        {"Tagging": "a=b"},
        {"ContentType": "application/gzip"},
        {"RequestPayer": "requester"},
        {"ExpectedBucketOwner": "123456789012"},
        {"ChecksumAlgorithm": "SHA256"},
        {"ACL": "bucket-owner-full-control"},
        {},
    ],
    ids=lambda args: next(iter(args), "none"),
)
def test_settings_of_a_whole_sink_are_taken(args: dict[str, Any]) -> None:
    check_upload_args(args)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("SSECustomerKey", "secret"),
        ("SSECustomerAlgorithm", "secret"),
        ("SSECustomerKeyMD5", "secret"),
        ("ChecksumCRC32", "one object"),
        ("ChecksumSHA256", "one object"),
        ("StorageClas", "StorageClass"),
        ("Bucket", "knows no"),
        ("Body", "knows no"),
        ("Key", "knows no"),
    ],
)
def test_other_arguments_are_refused_by_name(name: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        check_upload_args({"StorageClass": "STANDARD", name: "c2VjcmV0"})
    assert repr(name) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_what_is_taken_is_known_to_a_single_request_too(stubber: Stubber) -> None:
    taken = set()
    for name in S3Transfer.ALLOWED_UPLOAD_ARGS:
        try:
            check_upload_args({name: ""})
        except SettingsError:
            continue
        taken.add(name)
    operation: Any = stubber.client.meta.service_model.operation_model("PutObject")
    assert taken <= set(operation.input_shape.members)


@pytest.mark.parametrize(
    ("response", "proved"),
    [
        ({"ETag": f'"{MD5_OF_ABC}"'}, True),
        ({"ETag": f'"{MD5_OF_ABC}"', "ServerSideEncryption": "AES256"}, True),
        ({"ETag": '"0123"', "ChecksumCRC32": "NSRBwg=="}, True),
        ({"ETag": f'"{"0" * 32}"', "ServerSideEncryption": "aws:kms"}, False),
        ({"ETag": '"opaque"'}, False),
        ({}, False),
    ],
    ids=["MD5", "MD5 under AES-256", "checksum", "KMS", "an ETag of its own", "no ETag"],
)
def test_only_what_the_store_confirms_is_proved(
    tmp_path: Path, stubber: Stubber, response: dict[str, str], proved: bool
) -> None:
    stubber.add_response("put_object", response)
    outcome = send(stubber.client, transfer_of(tmp_path / "file", b"abc"))
    assert sent(outcome, verified=proved)


@pytest.mark.parametrize("encryption", [{}, {"ServerSideEncryption": "AES256"}], ids=str)
def test_a_wrong_etag_is_an_error(
    tmp_path: Path, stubber: Stubber, encryption: dict[str, str]
) -> None:
    stubber.add_response("put_object", {"ETag": f'"{"0" * 32}"', **encryption})
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
    expected = {"Bucket": "mybucket", "Key": "key", "Body": b"abc", **args}
    stubber.add_response("put_object", {"ETag": f'"{MD5_OF_ABC}"'}, expected)
    assert sent(send(stubber.client, transfer_of(tmp_path / "file", b"abc"), **args))


@pytest.mark.parametrize(
    ("size", "operations"),
    [
        (0, {"PutObject": 1}),
        (PART_SIZE - 1, {"PutObject": 1}),
        (
            PART_SIZE,
            {
                "CreateMultipartUpload": 1,
                "UploadPart": 1,
                "CompleteMultipartUpload": 1,
                "HeadObject": 1,
            },
        ),
        (
            PART_SIZE + 1,
            {
                "CreateMultipartUpload": 1,
                "UploadPart": 2,
                "CompleteMultipartUpload": 1,
                "HeadObject": 1,
            },
        ),
    ],
    ids=["empty", "just below 8 MiB", "8 MiB", "just above 8 MiB"],
)
def test_files_from_8_mib_on_go_in_parts(
    tmp_path: Path,
    bucket: Bucket,
    requests: Counter[str],
    size: int,
    operations: dict[str, int],
) -> None:
    progress = Count()
    content = bytes(index % 251 for index in range(1024)) * (size // 1024 + 1)
    transfer = transfer_of(tmp_path / "file", content[:size])
    assert sent(send(bucket.meta.client, transfer, progress))
    assert requests == operations
    assert contents(bucket) == {"key": content[:size]}
    assert progress.bytes == size


@pytest.mark.parametrize("size", [3, PART_SIZE], ids=["whole", "parts"])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, bucket: Bucket, size: int
) -> None:
    path = tmp_path / "file"
    transfer = transfer_of(path, bytes(size))
    outcome = send(bucket.meta.client, transfer, Meddler(path))
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.cause, OSError)
    assert "changed while it was read" in str(outcome.cause)
    assert outcome.cause.filename == str(path)


def test_a_file_that_is_gone_is_an_error(tmp_path: Path, bucket: Bucket) -> None:
    transfer = transfer_of(tmp_path / "file", b"abc")
    (tmp_path / "file").unlink()
    assert isinstance(send(bucket.meta.client, transfer).cause, FileNotFoundError)
    assert contents(bucket) == {}


def altered(client: S3Client, **changes: object) -> None:
    def alter(parsed: dict[str, Any], **_: object) -> None:
        for name in [name for name in parsed if name.startswith("Checksum")]:
            del parsed[name]
        parsed.update(changes)

    client.meta.events.register("after-call.s3.HeadObject", alter)


@pytest.mark.parametrize(
    ("answered", "complaint"),
    [
        ({"ETag": f'"{"0" * 32}-2"'}, "other bytes"),
        ({"ETag": f'"{"0" * 32}"'}, "other bytes"),
        ({"ContentLength": PART_SIZE}, "8,388,608 of 8,388,609 bytes"),
    ],
    ids=["ETag of other parts", "ETag of another whole", "another size"],
)
def test_parts_that_the_store_confirms_wrongly_are_an_error(
    tmp_path: Path, lone_bucket: Bucket, answered: dict[str, object], complaint: str
) -> None:
    altered(lone_bucket.meta.client, **answered)
    transfer = transfer_of(tmp_path / "file", bytes(PART_SIZE + 1))
    outcome = send(lone_bucket.meta.client, transfer)
    assert outcome.status is Status.FAILED
    assert complaint in str(outcome.cause)


@pytest.mark.parametrize(
    ("answered", "proved"),
    [
        ({"ETag": '"opaque"'}, False),
        ({"ETag": f'"{"0" * 32}-2"', "ServerSideEncryption": "aws:kms"}, False),
        ({"ETag": f'"{"0" * 32}-9"'}, False),
        ({"ETag": '"opaque"', "ChecksumSHA256": "checked by the store"}, True),
    ],
    ids=["an ETag of its own", "KMS", "parts of another size", "checksum"],
)
def test_parts_are_proved_only_by_what_says_something(
    tmp_path: Path, lone_bucket: Bucket, answered: dict[str, object], proved: bool
) -> None:
    if "ChecksumSHA256" in answered:
        digest = hashlib.sha256(bytes(PART_SIZE + 1)).digest()
        answered = {**answered, "ChecksumSHA256": base64.b64encode(digest).decode()}
    altered(lone_bucket.meta.client, **answered)
    transfer = transfer_of(tmp_path / "file", bytes(PART_SIZE + 1))
    assert sent(send(lone_bucket.meta.client, transfer), verified=proved)


def test_who_may_write_but_not_look_sends_unproved(
    tmp_path: Path, lone_bucket: Bucket, answer: Answer
) -> None:
    answer("HeadObject", 403, "AccessDenied")
    transfer = transfer_of(tmp_path / "file", bytes(PART_SIZE))
    assert sent(send(lone_bucket.meta.client, transfer), verified=False)


def test_no_part_remains_of_what_was_refused(
    tmp_path: Path, lone_bucket: Bucket, answer: Answer
) -> None:
    answer("UploadPart", 403, "AccessDenied")
    outcome = send(lone_bucket.meta.client, transfer_of(tmp_path / "file", bytes(PART_SIZE)))
    assert isinstance(outcome.cause, ClientError)
    assert "Uploads" not in lone_bucket.meta.client.list_multipart_uploads(Bucket="mybucket")


class Interrupt:
    """Presses Ctrl-C as soon as something was sent."""

    def __init__(self) -> None:
        self._pressed = threading.Lock()

    def advance(self, count: int) -> None:
        if self._pressed.acquire(blocking=False):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_an_interrupt_begins_nothing_more_and_leaves_no_parts(
    tmp_path: Path, bucket: Bucket, requests: Counter[str]
) -> None:
    small = [
        FileTransfer(source=str(tmp_path / "small"), destination=f"s3://mybucket/{name}", size=3)
        for name in range(50)
    ]
    (tmp_path / "small").write_bytes(b"abc")
    large = transfer_of(tmp_path / "large", bytes(2 * PART_SIZE))
    store = Store(client=bucket.meta.client, bucket="mybucket", upload_args={})
    with pytest.raises(KeyboardInterrupt):
        ClassicTransport(store, concurrency=2, progress=Interrupt()).send(
            [large, *small], Trouble()
        )
    assert "Uploads" not in bucket.meta.client.list_multipart_uploads(Bucket="mybucket")
    assert requests["PutObject"] < 50


def test_outcomes_have_the_order_of_transfers(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    transfers = [
        FileTransfer(
            source=str(tmp_path / ("gone" if name == 3 else "file")),
            destination=f"s3://mybucket/{name}",
            size=3,
        )
        for name in range(20)
    ]
    store = Store(client=bucket.meta.client, bucket="mybucket", upload_args={})
    outcomes = ClassicTransport(store, concurrency=4, progress=Count()).send(transfers, Trouble())
    assert [outcome.transfer for outcome in outcomes] == transfers
    assert [outcome.status for outcome in outcomes].index(Status.FAILED) == 3
    assert len(contents(bucket)) == 19


def test_a_file_that_is_replaced_while_its_parts_are_sent_is_an_error(
    tmp_path: Path, bucket: Bucket
) -> None:
    transfer = transfer_of(tmp_path / "file", b"a" * (2 * PART_SIZE))
    (tmp_path / "new").write_bytes(b"b" * (2 * PART_SIZE))
    before = (tmp_path / "file").stat()
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))

    class Replacer:
        def advance(self, count: int) -> None:
            with suppress(FileNotFoundError):
                (tmp_path / "new").replace(tmp_path / "file")

    outcome = send(bucket.meta.client, transfer, Replacer())
    assert outcome.status is Status.FAILED
    assert "changed while it was read" in str(outcome.cause)


def test_small_and_large_files_share_the_requests_at_a_time(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = transfer_of(tmp_path / "small", b"abc")
    large = replace(
        transfer_of(tmp_path / "large", b"a" * (2 * PART_SIZE)), destination="s3://mybucket/large"
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
    store = Store(client=bucket.meta.client, bucket="mybucket", upload_args={})
    transport = ClassicTransport(store, concurrency=2, progress=Count())
    others = [replace(small, destination=f"s3://mybucket/{number}") for number in range(8)]
    transport.send([large, *others], Trouble())
    assert len(at_once) >= len(others) + 3
    assert all(at_once)
