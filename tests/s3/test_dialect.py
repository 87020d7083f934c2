"""What the errors of a store say about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from nipype_datasink import S3Error
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.dialect import (
    Dialect,
    DialectError,
    dialect_after,
    dialect_of,
    remember_dialect,
)


def error_reply(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")


DIGEST = Dialect(requires_digest=True)
PLAIN = Dialect(accepts_crc64nvme=False)
BOTO3 = Dialect(works_with_crt=False)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            error_reply(
                "InvalidRequest",
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests "
                "with Object Lock parameters",
            ),
            DIGEST,
        ),
        (
            error_reply(
                "InvalidRequest",
                "Content-MD5 or x-amz-sdk-checksum-algorithm header required to upload an object "
                "with a retention period configured using Object Lock",
            ),
            DIGEST,
        ),
        (error_reply("MissingContentMD5", "No."), DIGEST),
        (error_reply("InvalidArgument", "You must provide the Content-MD5 header."), DIGEST),
        (
            error_reply(
                "NotImplemented",
                "Header 'x-amz-checksum-algorithm' with value 'CRC64NVME' not implemented",
            ),
            PLAIN,
        ),
        (error_reply("InvalidRequest", "Checksum algorithm provided is unsupported."), PLAIN),
        (DialectError("the answer names no upload"), BOTO3),
    ],
)
def test_an_error_shows_what_the_store_requires(error: Exception, shown: Dialect) -> None:
    assert dialect_after(error, Dialect()) == shown


@pytest.mark.parametrize(
    "error",
    [
        error_reply(
            "BadDigest", "The CRC64NVME you specified did not match the calculated checksum."
        ),
        error_reply("InvalidDigest", "The Content-MD5 you specified is not valid; it must be."),
        error_reply("AccessDenied", "Access Denied"),
        error_reply("InvalidRequest", "The request is not valid."),
        error_reply("MissingContentLength", "You must provide the Content-Length HTTP header."),
        ClientError({}, "PutObject"),
        S3Error("the checksum is required"),
        OSError("Content-MD5 is required"),
    ],
)
def test_other_errors_show_no_new_dialect(error: Exception) -> None:
    dialect = Dialect()
    assert dialect_after(error, dialect) is dialect


def test_boto3_is_needed_if_a_checksum_does_not_replace_content_md5() -> None:
    error = error_reply("MissingContentMD5", "No.")
    assert dialect_after(error, DIGEST) == Dialect(requires_digest=True, works_with_crt=False)
    assert (
        dialect_after(error, Dialect(requires_digest=True, works_with_crt=False)).works_with_crt
        is False
    )


def test_a_known_dialect_is_not_new() -> None:
    everything = Dialect(requires_digest=True, accepts_crc64nvme=False, works_with_crt=False)
    for error in (
        error_reply("MissingContentMD5", ""),
        error_reply("X", "crc64"),
        DialectError(""),
    ):
        assert dialect_after(error, everything) == everything


def test_a_dialect_is_remembered_for_one_bucket_of_one_client(credentials: None) -> None:
    client = open_bucket("one", ClientOptions(region="us-east-1")).meta.client
    other = open_bucket("one", ClientOptions(region="us-west-2")).meta.client
    remember_dialect(BucketClient(client=client, name="one", upload_args={}), DIGEST)
    assert dialect_of(BucketClient(client=client, name="one", upload_args={"ACL": "x"})) == DIGEST
    assert dialect_of(BucketClient(client=client, name="two", upload_args={})) == Dialect()
    assert dialect_of(BucketClient(client=other, name="one", upload_args={})) == Dialect()


def test_what_is_known_stays(credentials: None) -> None:
    client = open_bucket("one", ClientOptions(region="us-east-1")).meta.client
    bucket = BucketClient(client=client, name="one", upload_args={})
    checksums = Dialect(checksum_is_enough=True)
    for dialect in (checksums, BOTO3, checksums, Dialect()):
        remember_dialect(bucket, dialect)
    assert dialect_of(bucket) == replace(BOTO3, checksum_is_enough=True)
