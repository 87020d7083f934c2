"""HeadObject requests through boto3 and through the AWS Common Runtime: both give the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from awscrt.exceptions import AwsCrtError
from botocore.exceptions import ClientError, EndpointConnectionError

from nipype_datasink.s3 import choice
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import open_head_sender
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.crt.head_requests import CrtHeadSender
from nipype_datasink.s3.dialect import Dialect, remember_dialect
from nipype_datasink.s3.head_requests import ClassicHeadSender, HeadSender
from tests.conftest import in_child
from tests.s3.scripted_store import Reply, Request, Script, error_reply

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

Open = Callable[..., HeadSender]
FOUND = Reply(
    body="abc",
    headers={
        "ETag": '"900150983cd24fb0d6963f7d28e17f72"',
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-checksum-crc64nvme": "BeXKuz/B+us=",
        "x-amz-checksum-sha256": "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        "x-amz-checksum-type": "FULL_OBJECT",
    },
)


def bucket_at(address: str, *, concurrency: int | None = None, **args: Any) -> BucketClient:
    options = ClientOptions(endpoint_url=address, concurrency=concurrency)
    client = open_bucket("mybucket", options).meta.client
    return BucketClient(client=client, name="mybucket", upload_args=args)


@pytest.fixture
def open_heads(script: Script, credentials: None, transfer_client: str) -> Open:
    """Return a function that opens a sender for keys."""

    def sender(*keys: str, limit: int | None = None, address: str = "", **args: Any) -> HeadSender:
        return open_head_sender(
            transfer_client,
            bucket_at(address or script.url, concurrency=limit, **args),
            keys or ("key",),
            estimator=ConcurrencyEstimator(limit),
        )

    return sender


def error_of(sender: HeadSender) -> ClientError:
    with pytest.raises(ClientError) as caught:
        sender.head("key")
    return caught.value


def test_a_response_states_what_a_comparison_needs(script: Script, open_heads: Open) -> None:
    script.answer("HeadObject", FOUND)
    found = open_heads().head("key")
    expected = {
        "ContentLength": 3,
        "ETag": FOUND.headers["ETag"],
        "ServerSideEncryption": "aws:kms",
        "ChecksumCRC64NVME": FOUND.headers["x-amz-checksum-crc64nvme"],
        "ChecksumSHA256": FOUND.headers["x-amz-checksum-sha256"],
        "ChecksumType": "FULL_OBJECT",
    }
    assert expected.items() <= found.items()


def test_requests_have_the_arguments_of_all_requests(script: Script, open_heads: Open) -> None:
    script.answer("HeadObject", FOUND)
    sender = open_heads(
        "key", RequestPayer="requester", ExpectedBucketOwner="1", StorageClass="GLACIER"
    )
    sender.head("key")
    sender.head("key", part_number=7)
    whole, part = script.requests
    assert (whole.method, whole.path, whole.query) == ("HEAD", "/mybucket/key", "")
    assert part.query == "partNumber=7"
    for request in script.requests:
        assert request.headers["x-amz-checksum-mode"] == "ENABLED"
        assert request.headers["x-amz-request-payer"] == "requester"
        assert request.headers["x-amz-expected-bucket-owner"] == "1"
        assert "nipype-datasink" in request.headers["user-agent"]
        assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256")
        assert "x-amz-storage-class" not in request.headers


@pytest.mark.parametrize("key", ["a b", "a+b", "a%20b", "\u00e4\U0001f9e0", "a&b=c?d#e", "~'(b)*!"])
def test_keys_with_special_characters_are_kept(
    bucket: Bucket, endpoint: str, open_heads: Open, key: str
) -> None:
    bucket.put_object(Key=key, Body=b"abc")
    assert open_heads(key, address=endpoint).head(key)["ContentLength"] == 3


@pytest.mark.parametrize("status", [403, 404])
def test_a_denied_or_missing_object_is_asked_for_once(
    script: Script, open_heads: Open, status: int
) -> None:
    script.answer("HeadObject", Reply(status))
    error = error_of(open_heads())
    assert error.response["Error"]["Code"] == str(status)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.operation_name == "HeadObject"
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_temporary_errors_are_retried(script: Script, open_heads: Open, status: int) -> None:
    def once(_: Request) -> Reply | None:
        return Reply(status) if len(script.requests) == 1 else FOUND

    script.rule("HeadObject", once)
    assert open_heads().head("key")["ContentLength"] == 3
    assert len(script.requests) == 2


def test_lasting_errors_of_the_server_are_errors_of_the_store(
    script: Script, open_heads: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # boto3 would wait before it repeats
    script.answer("HeadObject", Reply(501))
    error = error_of(open_heads())
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert len(script.requests) == 1


def test_a_bad_request_is_sent_again_by_boto3_only(script: Script, open_heads: Open) -> None:
    script.answer("HeadObject", Reply(405))
    assert error_of(open_heads()).response["Error"]["Code"] == "405"
    assert len(script.requests) == (1 if isinstance(open_heads(), ClassicHeadSender) else 2)


def test_another_region_is_followed(script: Script, open_heads: Open) -> None:
    def elsewhere(request: Request) -> Reply:
        if "eu-central-1" in request.headers["authorization"]:
            return FOUND
        return Reply(301, headers={"x-amz-bucket-region": "eu-central-1"})

    script.rule("HeadObject", elsewhere)
    assert open_heads().head("key")["ContentLength"] == 3


@pytest.mark.parametrize("status", [200, 204])
def test_a_response_without_headers_states_nothing(
    script: Script, open_heads: Open, status: int
) -> None:
    script.answer("HeadObject", Reply(status))
    found = open_heads().head("key")
    assert found
    assert not {"ETag", "ServerSideEncryption"} & found.keys()


def test_an_unreachable_store_is_a_connection_error(
    open_heads: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AwsCrtError(1, "AWS_IO_SOCKET_CONNECTION_REFUSED", "refused")

    monkeypatch.setattr("awscrt.s3.S3Client.make_request", refuse)  # it would retry for seconds
    sender = open_heads(address="http://127.0.0.1:9")
    with pytest.raises(EndpointConnectionError, match=r"127\.0\.0\.1:9"):
        sender.head("key")


def test_each_key_is_asked_for_once_and_in_order(script: Script, open_heads: Open) -> None:
    script.answer("HeadObject", FOUND)
    keys = [f"k{number}" for number in range(9)]
    sender = open_heads(*keys, limit=2)
    for key in keys:
        sender.head(key)
        asked = {request.path.rpartition("/")[2] for request in list(script.requests)}
        # At most those that are wanted, and two ahead of the next one.
        assert asked <= set(keys[: keys.index(key) + 3])
    assert sorted(request.path for request in script.requests) == [f"/mybucket/{k}" for k in keys]


def test_keys_that_were_not_announced_are_asked_for(script: Script, open_heads: Open) -> None:
    script.answer("HeadObject", FOUND)
    sender = open_heads("a", "b")
    for key in ("b", "other", "a"):
        assert sender.head(key)["ContentLength"] == 3
    assert len(script.requests) == 3


def check_kind(kind: type, wanted: str, bucket: BucketClient, keys: int) -> None:
    names = [f"k{number}" for number in range(keys)]
    with_limit = ConcurrencyEstimator(1)
    assert type(open_head_sender(wanted, bucket, names, estimator=with_limit)) is kind


def test_the_runtime_sends_many_requests(
    script: Script, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_MIN_CRT_HEADS", 3)
    bucket = bucket_at(script.url)
    for wanted in ("auto", "crt"):
        check_kind(ClassicHeadSender, wanted, bucket, 2)
        check_kind(CrtHeadSender, wanted, bucket, 3)
    check_kind(ClassicHeadSender, "classic", bucket, 3)


def test_boto3_sends_where_the_runtime_cannot(
    script: Script, lone_bucket: Bucket, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    injected = BucketClient(client=lone_bucket.meta.client, name="mybucket", upload_args={})
    check_kind(ClassicHeadSender, "auto", injected, 3)
    bucket = bucket_at(script.url)
    check_kind(CrtHeadSender, "crt", bucket, 3)
    remember_dialect(bucket, Dialect(works_with_crt=False))
    check_kind(ClassicHeadSender, "crt", bucket, 3)
    other = replace(bucket, name="other")
    check_kind(CrtHeadSender, "crt", other, 3)
    monkeypatch.setattr("nipype_datasink.s3.choice.has_crt", lambda: False)
    check_kind(ClassicHeadSender, "crt", other, 3)


def test_boto3_sends_in_a_forked_process(script: Script, credentials: None) -> None:
    script.answer("HeadObject", FOUND)
    check_kind(CrtHeadSender, "crt", bucket_at(script.url), 3)

    def child() -> bool:
        check_kind(ClassicHeadSender, "crt", bucket_at(script.url), 3)
        return True

    assert in_child(child)


@pytest.mark.parametrize("transfer_client", ["crt"])
def test_requests_that_were_sent_ahead_are_cancelled(
    script: Script, open_heads: Open, transfer_client: str
) -> None:
    arrived, answer = threading.Event(), threading.Event()

    def wait(_: Request) -> Reply:
        arrived.set()
        answer.wait(10)
        return FOUND

    script.rule("HeadObject", wait)
    sender: Any = open_heads("a", "b", "c", limit=2)
    (first, *_) = sender._ahead.values()
    assert arrived.wait(10)
    sender.close()
    assert "CANCELED" in str(first.headers.exception(10))
    answer.set()
    assert not sender._ahead
    assert len(script.requests) <= 2


@pytest.mark.parametrize("transfer_client", ["crt"])
def test_boto3_sends_what_the_runtime_does_not_begin(
    script: Script, open_heads: Open, monkeypatch: pytest.MonkeyPatch, transfer_client: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("AWS_ERROR_OOM")

    monkeypatch.setattr("awscrt.s3.S3Client.make_request", fail)
    script.answer("HeadObject", error_reply("AccessDenied"))
    assert error_of(open_heads("key", "b")).response["Error"]["Code"] == "403"
    assert len(script.requests) == 1
