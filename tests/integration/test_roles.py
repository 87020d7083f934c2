"""Users with few permissions, and buckets with requirements."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nipype_datasink import DataSink, S3Error
from tests.conftest import contents
from tests.stores import SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

PATIENCE = 30  # seconds
ENCRYPTED_ONLY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::mybucket/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}},
    },
}


@pytest.fixture
def sink(bucket: Bucket, endpoint: str, sources: list[str], transport: str) -> DataSink:
    """A sink of small files and a large one."""
    sink = DataSink(
        base_directory="s3://mybucket/out",
        s3_endpoint_url=endpoint,
        s3_transfer_client=transport,
    )
    sink.inputs.x = sources
    return sink


def wanted(sink: DataSink) -> dict[str, bytes]:
    return {item.key: Path(item.source).read_bytes() for item in sink.plan().transfers}


def become(key: str, sink: DataSink) -> None:
    path = Path("keys").resolve()
    path.write_text(f"AWSAccessKeyId={key}\nAWSSecretKey={SECRET_KEY}\n")
    sink.inputs.creds_path = str(path)


def denied(sink: DataSink) -> set[str]:
    """Run `sink`, which must be denied; return the statuses of its files."""
    with pytest.raises(S3Error, match="access is denied; check the credentials") as caught:
        sink.run()
    outcomes: Any = caught.value.outcomes
    files = "1 file" if len(outcomes) == 1 else f"{len(outcomes)} files"
    assert f"\n  {files}: " in str(caught.value)
    return {outcome.status.value for outcome in outcomes}


@pytest.mark.parametrize("key", ["AKIDOFAWRITER", "AKIDOFONEWHOMAYNOTLIST"])
def test_permission_to_write_is_enough(sink: DataSink, bucket: Bucket, key: str) -> None:
    become(key, sink)
    sink.run()
    sink.run()  # sends all again, as it may not see what is there
    assert contents(bucket) == wanted(sink)


def test_without_permission_to_write_there_is_an_error(sink: DataSink, bucket: Bucket) -> None:
    become("AKIDOFAREADER", sink)
    assert denied(sink) <= {"failed", "not tried"}
    assert contents(bucket) == {}


def test_permission_to_read_is_enough_if_nothing_has_changed(
    sink: DataSink, bucket: Bucket
) -> None:
    sink.run()
    become("AKIDOFAREADER", sink)
    sink.run()
    assert contents(bucket) == wanted(sink)


@pytest.mark.needs("AES256")
def test_a_bucket_that_requires_encryption(
    sink: DataSink, bucket: Bucket, sources: list[str]
) -> None:
    # SeaweedFS, unlike AWS, wants the header again where parts are put together.
    sink.inputs.x = sources[:-1]
    client = bucket.meta.client
    client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(ENCRYPTED_ONLY))
    try:
        wait_until_refused(bucket)
        assert "failed" in denied(sink)
        assert contents(bucket) == {}
        sink.inputs.encrypt_bucket_keys = True
        sink.run()
        assert contents(bucket) == wanted(sink)
    finally:
        client.delete_bucket_policy(Bucket=bucket.name)
    keys = list(contents(bucket))
    assert {bucket.Object(key).server_side_encryption for key in keys} == {"AES256"}


def wait_until_refused(bucket: Bucket) -> None:
    """Wait until the store applies a policy, which takes a moment."""
    client = bucket.meta.client
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            client.put_object(Bucket=bucket.name, Key="probe")
        except client.exceptions.ClientError:
            bucket.objects.all().delete()
            return
        time.sleep(0.2)
    raise AssertionError("the store does not apply the policy")


@pytest.mark.needs("requester pays")
def test_a_bucket_whose_requester_pays(sink: DataSink, bucket: Bucket) -> None:
    bucket.meta.client.put_bucket_request_payment(
        Bucket=bucket.name, RequestPaymentConfiguration={"Payer": "Requester"}
    )
    bucket.Acl().put(ACL="public-read-write")
    become("AKIDOFASTRANGER", sink)
    assert "failed" in denied(sink)
    sink.inputs.s3_upload_args = {"RequestPayer": "requester"}
    sink.run()
    assert contents(bucket) == wanted(sink)
