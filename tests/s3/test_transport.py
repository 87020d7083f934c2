"""Sending files by both transports, whole and in parts: outcomes, interrupts and limits."""

from __future__ import annotations

import base64
import os
import signal
import threading
from _thread import interrupt_main
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from awscrt.s3 import S3Client as CrtClient
from botocore.exceptions import ClientError, EndpointConnectionError
from s3transfer.manager import TransferManager

from nipype_datasink import FileTransfer, Outcome, S3Error, Status
from nipype_datasink.delivery.progress import PhaseProgress
from nipype_datasink.delivery.progress_text import Amount
from nipype_datasink.parallel import WorkCancelled
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import choose_transport
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.comparison import (
    PART_BYTES,
    ExpectedDigest,
    compare_digests,
    digest_of_parts,
)
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.transport import Transport
from tests.conftest import contents
from tests.s3.conftest import counting, sent, transfer_of
from tests.s3.faulty_store import crc64_of_kept, etag
from tests.s3.scripted_store import ConcurrentRequests, Reply, Request, Script, error_reply

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

LARGE = PART_BYTES + 1
Make = Callable[..., Transport]


@pytest.fixture
def make(credentials: None, transfer_client: str) -> Make:
    """Return a function that makes a transport to the store at an address."""

    def transport(
        address: str, phase: PhaseProgress | None = None, concurrency: int | None = 2, **args: Any
    ) -> Transport:
        connection = ClientOptions(endpoint_url=address, concurrency=concurrency)
        client = open_bucket("mybucket", connection).meta.client
        bucket = BucketClient(client=client, name="mybucket", upload_args=args)
        return choose_transport(
            transfer_client,
            bucket,
            estimator=ConcurrencyEstimator(concurrency),
            phase=phase or counting(),
        )

    return transport


def send(transport: Transport, transfer: FileTransfer) -> Outcome:
    (outcome,) = transport.send([transfer], CircuitBreaker())
    assert outcome.transfer is transfer
    return outcome


@pytest.mark.parametrize("size", [1, LARGE])
def test_a_source_that_became_a_named_pipe_fails_at_once(
    tmp_path: Path, bucket: Bucket, endpoint: str, make: Make, size: int
) -> None:
    transfer = transfer_of(tmp_path / "a", bytes(size))
    os.unlink(transfer.source)
    os.mkfifo(transfer.source)
    outcome = send(make(endpoint), transfer)
    assert "is not a regular file" in str(outcome.cause)
    assert contents(bucket) == {}


@pytest.mark.parametrize(
    "size",
    [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES],
    ids=["empty", "one byte", "8 MiB", "just above 8 MiB", "three parts"],
)
def test_files_of_any_size_are_sent(
    tmp_path: Path, bucket: Bucket, endpoint: str, make: Make, size: int
) -> None:
    phase = counting()
    content = (os.urandom(1021) * (size // 1021 + 1))[:size]
    assert sent(send(make(endpoint, phase), transfer_of(tmp_path / "file", content)))
    assert contents(bucket) == {"key": content}
    assert phase.state(0).done == Amount(files=1, size=size)
    parts = bucket.Object("key").e_tag.strip('"').partition("-")[2]
    assert parts == ("" if size <= PART_BYTES else str(-(-size // PART_BYTES)))


@pytest.mark.parametrize(
    "name",
    [
        *["a b", "a+b", "a%20b", "\u00e4\u4e2d\U0001f9e0", "a&b=c?d#e", "a'\"(b)*!", "~-._"],
        pytest.param("a//b", marks=pytest.mark.needs("empty path parts")),
    ],
)
def test_keys_with_special_characters_are_kept(
    tmp_path: Path, bucket: Bucket, endpoint: str, make: Make, name: str
) -> None:
    transfer = replace(
        transfer_of(tmp_path / "file", b"abc"), destination=f"s3://mybucket/k/{name}"
    )
    assert sent(send(make(endpoint), transfer))
    assert list(contents(bucket)) == [f"k/{name}"]


def test_a_source_whose_name_is_not_utf_8_is_sent(
    tmp_path: Path, bucket: Bucket, endpoint: str, make: Make
) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    transfer = transfer_of(Path(path), b"abc")
    assert sent(send(make(endpoint), transfer))
    assert contents(bucket) == {"key": b"abc"}


@pytest.mark.needs("checksums")
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256", "CRC64NVME"])
@pytest.mark.parametrize("size", [3, LARGE], ids=["whole", "parts"])
def test_the_checksum_that_the_user_chose_is_sent(
    tmp_path: Path, bucket: Bucket, endpoint: str, make: Make, size: int, algorithm: str
) -> None:
    transport = make(endpoint, ChecksumAlgorithm=algorithm)
    assert sent(send(transport, transfer_of(tmp_path / "file", bytes(size))))
    assert contents(bucket) == {"key": bytes(size)}
    head = bucket.meta.client.head_object(Bucket="mybucket", Key="key", ChecksumMode="ENABLED")
    assert f"Checksum{algorithm}" in head


def test_the_fastest_checksum_is_sent_by_default(
    tmp_path: Path, script: Script, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    for args in ({}, {"ChecksumAlgorithm": "SHA256"}):
        send(make(script.url, **args), transfer_of(tmp_path / "file", b"123456789"))
    checksums = [
        {name for name in request.headers if name.startswith("x-amz-checksum-")}
        for request in script.requests
    ]
    assert checksums == [{"x-amz-checksum-crc64nvme"}, {"x-amz-checksum-sha256"}]
    crc64nvme = base64.b64encode((0xAE8B14860A799888).to_bytes(8, "big")).decode()
    assert script.requests[0].headers["x-amz-checksum-crc64nvme"] == crc64nvme


def test_upload_arguments_are_sent_as_headers(tmp_path: Path, script: Script, make: Make) -> None:
    transport = make(
        script.url,
        StorageClass="STANDARD_IA",
        Metadata={"study": "pilot"},
        Tagging="a=b",
        ContentType="text/x",
        RequestPayer="requester",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId="alias/mine",
    )
    send(transport, transfer_of(tmp_path / "file", b"abc"))
    (request,) = script.requests
    expected = {
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-meta-study": "pilot",
        "x-amz-tagging": "a=b",
        "content-type": "text/x",
        "x-amz-request-payer": "requester",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/mine",
        "content-length": "3",
    }
    assert expected.items() <= request.headers.items()
    assert "nipype-datasink" in request.headers["user-agent"]
    assert "expect" not in request.headers
    assert (request.method, request.path, request.body) == ("PUT", "/mybucket/key", b"abc")


@pytest.mark.parametrize("size", [3, LARGE], ids=["whole", "parts"])
def test_a_file_that_changes_while_it_is_sent_is_an_error(
    tmp_path: Path, script: Script, make: Make, size: int
) -> None:
    path = tmp_path / "file"
    transfer = transfer_of(path, bytes(size))

    def change(_: Request) -> None:
        with path.open("r+b") as file:
            file.write(b"more")

    script.rule("PutObject", change)
    script.rule("CompleteMultipartUpload", change)
    outcome = send(make(script.url), transfer)
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.cause, OSError)
    assert "changed while it was read" in str(outcome.cause)
    assert outcome.cause.filename == str(path)


def test_a_file_that_is_replaced_while_it_is_sent_is_an_error(
    tmp_path: Path, script: Script, make: Make
) -> None:
    path, new = tmp_path / "file", tmp_path / "new"
    transfer = transfer_of(path, b"a" * LARGE)
    new.write_bytes(b"b" * LARGE)
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))

    def swap(_: Request) -> None:
        new.replace(path)

    script.rule("CompleteMultipartUpload", swap)
    outcome = send(make(script.url), transfer)
    assert outcome.status is Status.FAILED
    assert "changed while it was read" in str(outcome.cause)


def test_a_deleted_file_is_an_error(tmp_path: Path, script: Script, make: Make) -> None:
    transfer = transfer_of(tmp_path / "file", b"abc")
    (tmp_path / "file").unlink()
    assert isinstance(send(make(script.url), transfer).cause, FileNotFoundError)
    assert script.requests == []


@pytest.mark.parametrize("encryption", [{}, {"x-amz-server-side-encryption": "AES256"}], ids=str)
def test_a_wrong_etag_is_an_error(
    tmp_path: Path, script: Script, make: Make, encryption: dict[str, str]
) -> None:
    script.answer("PutObject", Reply(headers={"ETag": f'"{"0" * 32}"', **encryption}))
    script.answer("GetObject", Reply(body="abd"))
    outcome = send(make(script.url), transfer_of(tmp_path / "file", b"abc"))
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.cause, S3Error)
    assert "other bytes" in str(outcome.cause)


def test_a_file_with_an_opaque_etag_is_not_verified(
    tmp_path: Path, script: Script, make: Make
) -> None:
    script.answer("PutObject", Reply(headers={"ETag": '"opaque"'}))
    outcome = send(make(script.url), transfer_of(tmp_path / "file", b"abc"))
    assert sent(outcome, verified=False)


def test_a_web_page_as_response_is_an_error(tmp_path: Path, script: Script, make: Make) -> None:
    script.answer("PutObject", Reply(body="<html lang=en>Console</html>"))
    outcome = send(make(script.url), transfer_of(tmp_path / "file", b"abc"))
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.cause, (S3Error, ClientError))


def test_a_file_in_parts_is_verified_by_the_etag_of_head_object(
    tmp_path: Path, script: Script, make: Make
) -> None:
    content = bytes(LARGE)
    parts = b"".join(md5(part).digest() for part in (content[:PART_BYTES], content[PART_BYTES:]))
    answer = "<CompleteMultipartUploadResult><Key>key</Key></CompleteMultipartUploadResult>"
    script.answer("CompleteMultipartUpload", Reply(body=answer))
    etag = f'"{md5(parts).hexdigest()}-2"'
    script.answer("HeadObject", Reply(body="x" * LARGE, headers={"ETag": etag}))
    assert sent(send(make(script.url), transfer_of(tmp_path / "file", content)))


@pytest.mark.parametrize("states_checksum", [False, True], ids=["no checksum", "checksum"])
def test_the_md5_of_parts_is_computed_while_they_are_sent(
    tmp_path: Path,
    script: Script,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    states_checksum: bool,
) -> None:
    """Where the store states checksums of all bytes, only that of the first file of a process."""
    computed = threading.Event()
    computations: list[ExpectedDigest] = []

    def compute(*args: Any, **kwargs: Any) -> ExpectedDigest:
        computations.append(digest_of_parts(*args, **kwargs))
        computed.set()
        return computations[-1]

    def complete(_: Request) -> None:
        assert computed.wait(10)

    if states_checksum:
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    monkeypatch.setattr("nipype_datasink.s3.part_digests.digest_of_parts", compute)
    compare = mock.Mock(wraps=compare_digests)
    monkeypatch.setattr("nipype_datasink.s3.part_digests.compare_digests", compare)
    content = bytes(LARGE)
    headers = {"ETag": etag(content), **(crc64_of_kept(b"", content) if states_checksum else {})}
    script.rule("CompleteMultipartUpload", complete)
    script.answer("HeadObject", Reply(body="x" * LARGE, headers=headers))
    transport = make(script.url)
    for name in ("first", "second"):
        assert sent(send(transport, transfer_of(tmp_path / name, content)))
    assert sent(send(make(script.url), transfer_of(tmp_path / "third", content)))
    assert len(computations) == (1 if states_checksum else 3)
    compared = [[digest.name for digest in call.args[0]] for call in compare.call_args_list]
    assert compared == ([["CRC64NVME"]] * 3 if states_checksum else [])


@pytest.mark.parametrize("operation", ["PutObject", "CreateMultipartUpload", "UploadPart"])
def test_a_rejected_request_is_a_client_error(
    tmp_path: Path, script: Script, make: Make, operation: str
) -> None:
    script.answer(operation, error_reply("AccessDenied", x_amz_request_id="request"))
    size = 3 if operation == "PutObject" else LARGE
    outcome = send(make(script.url), transfer_of(tmp_path / "file", bytes(size)))
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.cause, ClientError)
    assert outcome.cause.operation_name == operation
    assert outcome.cause.response["Error"]["Code"] == "AccessDenied"
    assert outcome.cause.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert len(script.requests_of("AbortMultipartUpload")) == (operation == "UploadPart")


def test_an_unreachable_store_is_a_connection_error(tmp_path: Path, make: Make) -> None:
    outcome = send(make("http://127.0.0.1:9"), transfer_of(tmp_path / "file", b"abc"))
    assert isinstance(outcome.cause, EndpointConnectionError)
    assert "127.0.0.1:9" in str(outcome.cause)


def test_temporary_errors_are_retried(tmp_path: Path, script: Script, make: Make) -> None:
    def once(_: Request) -> Reply | None:
        return Reply(503) if len(script.requests) == 1 else None

    script.rule("PutObject", once)
    assert sent(send(make(script.url), transfer_of(tmp_path / "file", b"abc")))
    assert len(script.requests) == 2


def many(tmp_path: Path, count: int, size: int = 3) -> list[FileTransfer]:
    first = transfer_of(tmp_path / "file", bytes(size))
    return [replace(first, destination=f"s3://mybucket/{number:03}") for number in range(count)]


def test_an_error_of_the_whole_bucket_stops_sending(
    tmp_path: Path, script: Script, make: Make
) -> None:
    script.answer("PutObject", error_reply("InvalidAccessKeyId"))
    outcomes = make(script.url).send(many(tmp_path, 100), CircuitBreaker())
    statuses = [outcome.status for outcome in outcomes]
    assert set(statuses) == {Status.FAILED, Status.NOT_TRIED}
    assert len(script.requests) == statuses.count(Status.FAILED) < 10


def test_an_error_of_the_whole_bucket_cancels_other_uploads(
    tmp_path: Path, script: Script, make: Make
) -> None:
    begun = threading.Event()

    def reject(_: Request) -> Reply:
        begun.wait(10)
        return error_reply("ExpiredToken", 400)

    def delay(_: Request) -> None:
        begun.set()
        threading.Event().wait(2)

    script.rule("UploadPart", delay, ending="/001")
    script.rule("CreateMultipartUpload", reject, ending="/000")
    outcomes = make(script.url, concurrency=32).send(many(tmp_path, 2, LARGE), CircuitBreaker())
    assert [outcome.status for outcome in outcomes] == [Status.FAILED, Status.FAILED]
    assert "cancelled because other uploads were rejected" in str(outcomes[1].cause)
    assert [request.path for request in script.requests_of("AbortMultipartUpload")] == [
        "/mybucket/001"
    ]


def test_outcomes_have_the_order_of_transfers(tmp_path: Path, script: Script, make: Make) -> None:
    transfers = many(tmp_path, 20)
    transfers[3] = replace(transfers[3], source=str(tmp_path / "gone"))
    transfers[5] = replace(transfer_of(tmp_path / "large", bytes(LARGE)), destination="s3://b/l")
    outcomes = make(script.url).send(transfers, CircuitBreaker())
    assert [outcome.transfer for outcome in outcomes] == transfers
    failed = [outcome.transfer for outcome in outcomes if outcome.status is Status.FAILED]
    assert failed == [transfers[3]]
    assert len(script.requests_of("PutObject")) == 18
    assert len(script.requests_of("CompleteMultipartUpload")) == 1


def interrupt_main_thread() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def uploads(script: Script) -> list[set[str]]:
    """Return the paths of multipart uploads that were created, aborted and completed."""
    operations = ("CreateMultipartUpload", "AbortMultipartUpload", "CompleteMultipartUpload")
    return [{request.path for request in script.requests_of(name)} for name in operations]


def test_no_upload_starts_or_stays_open_after_an_interrupt(
    tmp_path: Path, script: Script, make: Make
) -> None:
    interrupted = threading.Event()

    def interrupt(_: Request) -> None:
        if not interrupted.is_set():
            interrupted.set()
            interrupt_main_thread()

    script.rule("UploadPart", interrupt)
    script.rule("PutObject", interrupt)
    large = many(tmp_path, 3, 2 * PART_BYTES)
    (tmp_path / "small").mkdir()
    small = many(tmp_path / "small", 500)
    with pytest.raises(KeyboardInterrupt):
        make(script.url).send([*large, *small], CircuitBreaker())
    begun, ended, complete = uploads(script)
    assert begun == ended | complete
    assert len(script.requests_of("PutObject")) < 500
    assert len(complete) < 3


def test_an_interrupt_is_seen_soon_while_waiting(
    tmp_path: Path, script: Script, make: Make
) -> None:
    interrupted = threading.Event()

    def interrupt(_: Request) -> None:
        if not interrupted.is_set():
            interrupted.set()
            threading.Event().wait(0.2)  # until all that is left is to wait
            interrupt_main()
        threading.Event().wait(2)

    script.rule("UploadPart", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(script.url).send(many(tmp_path, 1, LARGE), CircuitBreaker())
    assert len(script.requests_of("AbortMultipartUpload")) == 1
    assert not script.requests_of("CompleteMultipartUpload")


def test_an_interrupt_is_raised_after_all_uploads_have_ended(
    tmp_path: Path, script: Script, make: Make
) -> None:
    """Cancelling goes on after a file completes in the meantime."""
    both = threading.Barrier(2, timeout=10)

    def arrive(request: Request) -> None:
        if "partNumber=1" in request.query:
            both.wait()
            if request.path.endswith("/001"):
                interrupt_main_thread()
        threading.Event().wait(0.3 if request.path.endswith("/000") else 4)

    script.rule("UploadPart", arrive)
    with pytest.raises(KeyboardInterrupt):
        make(script.url, concurrency=32).send(many(tmp_path, 2, LARGE), CircuitBreaker())
    begun, ended, complete = uploads(script)
    assert len(begun) == 2
    assert begun == ended | complete
    assert "/mybucket/001" in ended


def test_an_interrupt_aborts_an_upload_that_is_being_created(
    tmp_path: Path, script: Script, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def delay(_: Request) -> None:
        begun.set()
        threading.Event().wait(0.3)

    def hold(_: Request) -> None:
        threading.Event().wait(4)

    script.rule("CreateMultipartUpload", delay)
    script.rule("UploadPart", hold)
    for owner, name in ((CrtClient, "make_request"), (TransferManager, "upload")):
        monkeypatch.setattr(owner, name, interrupting_after(getattr(owner, name), begun))
    with pytest.raises(KeyboardInterrupt):
        make(script.url).send(many(tmp_path, 1, LARGE), CircuitBreaker())
    assert len(script.requests_of("AbortMultipartUpload")) == 1
    assert not script.requests_of("CompleteMultipartUpload")


def interrupting_after(call: Callable[..., Any], begun: threading.Event) -> Callable[..., Any]:
    """Return a function that calls `call`, and interrupts when the upload has begun."""

    def press(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        begun.wait(10)
        interrupt_main_thread()
        return result

    return press


@pytest.mark.parametrize("transfer_client", ["crt"])
def test_an_interrupt_during_verification_aborts_other_uploads(
    tmp_path: Path, script: Script, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    def verify(self: Any, upload: Any) -> Outcome:
        assert opened.wait(10)
        raise WorkCancelled

    def hang(_: Request) -> None:
        opened.set()
        threading.Event().wait(1)

    monkeypatch.setattr("nipype_datasink.s3.crt.transport.CrtTransport.verify", verify)
    script.rule("UploadPart", hang)
    large = replace(transfer_of(tmp_path / "l", bytes(4 * PART_BYTES)), destination="s3://b/large")
    with pytest.raises(WorkCancelled):
        make(script.url, concurrency=4).send([large, *many(tmp_path, 2)], CircuitBreaker())
    assert len(script.requests_of("AbortMultipartUpload")) == 1


def test_the_limit_of_concurrent_requests_is_kept(
    tmp_path: Path, script: Script, make: Make
) -> None:
    concurrent = ConcurrentRequests(script)
    large = replace(transfer_of(tmp_path / "l", bytes(4 * PART_BYTES)), destination="s3://b/large")
    make(script.url, concurrency=3).send([large, *many(tmp_path, 12)], CircuitBreaker())
    assert concurrent.maximum == 3


def test_a_forked_child_sends(tmp_path: Path, bucket: Bucket, endpoint: str, make: Make) -> None:
    transfers = many(tmp_path, 2)
    assert sent(send(make(endpoint), transfers[0]))
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if sent(send(make(endpoint), transfers[1])) else 1
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(contents(bucket)) == ["000", "001"]


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_the_certificate_bundle_of_aws_is_trusted(
    tmp_path: Path,
    secure: Script,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    checksums: str,
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", checksums)
    transfer = transfer_of(tmp_path / "file", b"abc")
    monkeypatch.setenv("AWS_CA_BUNDLE", secure.certificate)
    assert send(make(secure.url), transfer).cause is None
    (request,) = secure.requests
    assert request.body == b"abc"
    assert ("x-amz-trailer" in request.headers) == (checksums == "when_supported")
