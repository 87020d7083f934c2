"""What a store's refusals say about it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from nipype_datasink import S3Error
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.dialect import Dialect, DialectError, dialect_of, learn, remember


def refusal(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")


DIGEST = Dialect(needs_digest=True)
PLAIN = Dialect(takes_crc64nvme=False)
BOTO3 = Dialect(suits_crt=False)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            refusal(
                "InvalidRequest",
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests "
                "with Object Lock parameters",
            ),
            DIGEST,
        ),
        (
            refusal(
                "InvalidRequest",
                "Content-MD5 or x-amz-sdk-checksum-algorithm header required to upload an object "
                "with a retention period configured using Object Lock",
            ),
            DIGEST,
        ),
        (refusal("MissingContentMD5", "No."), DIGEST),
        (refusal("InvalidArgument", "You must provide the Content-MD5 header."), DIGEST),
        (
            refusal(
                "NotImplemented",
                "Header 'x-amz-checksum-algorithm' with value 'CRC64NVME' not implemented",
            ),
            PLAIN,
        ),
        (refusal("InvalidRequest", "Checksum algorithm provided is unsupported."), PLAIN),
        (DialectError("the answer names no upload"), BOTO3),
    ],
)
def test_a_refusal_shows_what_the_store_asks_for(error: Exception, shown: Dialect) -> None:
    assert learn(error, Dialect()) == shown


@pytest.mark.parametrize(
    "error",
    [
        refusal("BadDigest", "The CRC64NVME you specified did not match the calculated checksum."),
        refusal("InvalidDigest", "The Content-MD5 you specified is not valid; it must be."),
        refusal("AccessDenied", "Access Denied"),
        refusal("InvalidRequest", "The request is not valid."),
        refusal("MissingContentLength", "You must provide the Content-Length HTTP header."),
        ClientError({}, "PutObject"),
        S3Error("the checksum is required"),
        OSError("Content-MD5 is required"),
    ],
)
def test_other_errors_show_nothing(error: Exception) -> None:
    dialect = Dialect()
    assert learn(error, dialect) is dialect


def test_who_is_asked_for_a_digest_in_spite_of_a_checksum_leaves_it_to_boto3() -> None:
    error = refusal("MissingContentMD5", "No.")
    assert learn(error, DIGEST) == Dialect(needs_digest=True, suits_crt=False)
    assert learn(error, Dialect(needs_digest=True, suits_crt=False)).suits_crt is False


def test_each_lesson_is_learnt_once() -> None:
    everything = Dialect(needs_digest=True, takes_crc64nvme=False, suits_crt=False)
    for error in (refusal("MissingContentMD5", ""), refusal("X", "crc64"), DialectError("")):
        assert learn(error, everything) == everything


def test_it_is_remembered_for_one_bucket_of_one_client(credentials: None) -> None:
    client = open_bucket("one", ClientOptions(region="us-east-1")).meta.client
    other = open_bucket("one", ClientOptions(region="us-west-2")).meta.client
    remember(BucketClient(client=client, name="one", upload_args={}), DIGEST)
    assert dialect_of(BucketClient(client=client, name="one", upload_args={"ACL": "x"})) == DIGEST
    assert dialect_of(BucketClient(client=client, name="two", upload_args={})) == Dialect()
    assert dialect_of(BucketClient(client=other, name="one", upload_args={})) == Dialect()
