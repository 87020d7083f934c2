"""Which of boto3's upload arguments are allowed."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from boto3.s3.transfer import S3Transfer

from nipype_datasink import SettingsError
from nipype_datasink.s3.arguments import check_upload_args


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
def test_arguments_for_all_objects_are_allowed(args: dict[str, Any]) -> None:
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
        ("Bucket", "unknown upload argument"),
        ("Body", "unknown upload argument"),
        ("Key", "unknown upload argument"),
    ],
)
def test_the_error_names_other_arguments(name: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        check_upload_args({"StorageClass": "STANDARD", name: "c2VjcmV0"})
    assert repr(name) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_allowed_arguments_are_known_to_put_object() -> None:
    client = boto3.session.Session("key", "secret", region_name="us-east-1").client("s3")
    taken = set()
    for name in S3Transfer.ALLOWED_UPLOAD_ARGS:
        try:
            check_upload_args({name: ""})
        except SettingsError:
            continue
        taken.add(name)
    operation: Any = client.meta.service_model.operation_model("PutObject")
    assert taken <= set(operation.input_shape.members)


def test_arguments_that_the_error_offers_are_allowed() -> None:
    with pytest.raises(SettingsError) as caught:
        check_upload_args(["Nonsense"])
    offered = str(caught.value).partition("allowed: ")[2].split(", ")
    assert {"StorageClass", "ChecksumAlgorithm", "Metadata"} <= set(offered)
    check_upload_args(offered)
