"""Stores that want something else: it is noticed, done and remembered."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from nipype_datasink import DataSink, S3Error
from tests.s3.scripted_store import COMPLETED, STARTED, Reply, Request, Script, error_reply

SMALL, LARGE = 5, (8 << 20) + 1


@pytest.fixture
def sink(script: Script, workdir: Path, credentials: None, transfer_client: str) -> DataSink:
    """A sink of five small files and one in parts into the scripted store."""
    for number in range(SMALL):
        (workdir / f"small{number}").write_text(str(number))
    (workdir / "large").write_bytes(os.urandom(1 << 20) * 8 + b"!")
    sink = DataSink(base_directory="s3://mybucket/out", s3_endpoint_url=script.url, infields=["x"])
    sink.inputs.s3_transfer_client = transfer_client
    sink.inputs.s3_region = "us-east-1"
    sink.inputs.s3_max_concurrency = 2
    sink.inputs.x = [*(f"small{number}" for number in range(SMALL)), "large"]
    return sink


def inject(sink: DataSink, script: Script) -> None:
    """Give a sink a bucket of the user's own."""
    config = Config(request_checksum_calculation="when_required")
    resource = boto3.resource("s3", endpoint_url=script.url, region_name="us-east-1", config=config)
    sink.inputs.bucket = resource.Bucket("mybucket")


def arrived(script: Script) -> list[str]:
    """Return the names of files whose last requests were answered without an error."""
    done = [*script.requests_of("PutObject"), *script.requests_of("CompleteMultipartUpload")]
    return sorted({request.path.rpartition("/")[2] for request in done})


EVERYTHING = ["large", *(f"small{number}" for number in range(SMALL))]
LOCKED = Reply(
    400,
    "<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is "
    "required for Put requests with Object Lock parameters</Message></Error>",
)


def digest_of(request: Request) -> str | None:
    """Return what a request says of its body, if that is right; 'wrong' if it is not."""
    md5 = request.headers.get("content-md5")
    if md5 is not None:
        right = base64.b64encode(hashlib.md5(request.body).digest()).decode()
        return "content-md5" if md5 == right else "wrong"
    return next((name for name in request.headers if name.startswith("x-amz-checksum-")), None)


def lock(script: Script) -> None:
    """Refuse what says nothing of its body, as a bucket with Object Lock does."""
    for operation in ("PutObject", "UploadPart"):
        script.rule(operation, lambda request: None if digest_of(request) else LOCKED)


def kinds(script: Script) -> set[str | None]:
    sent = [*script.requests_of("PutObject"), *script.requests_of("UploadPart")]
    return {digest_of(request) for request in sent}


@pytest.mark.parametrize("injected", [False, True], ids=["own", "injected"])
def test_a_bucket_with_object_lock_gets_digests(
    sink: DataSink, script: Script, transfer_client: str, injected: bool
) -> None:
    lock(script)
    if injected:
        sink.inputs.s3_transfer_client = "classic"
        inject(sink, script)
    sink.run()
    assert arrived(script) == EVERYTHING
    by_crt = transfer_client == "crt" and not injected
    assert kinds(script) == {None, "x-amz-checksum-crc32" if by_crt else "content-md5"}
    script.requests.clear()
    sink.run()
    assert arrived(script) == EVERYTHING
    assert None not in kinds(script)


def test_few_files_are_sent_twice(sink: DataSink, script: Script) -> None:
    lock(script)
    sink.inputs.x = sink.inputs.x[:SMALL]
    sink.run()
    refused = [request for request in script.requests_of("PutObject") if not digest_of(request)]
    assert 1 <= len(refused) <= 2


def test_a_store_that_requires_content_md5_gets_it(sink: DataSink, script: Script) -> None:
    def require(request: Request) -> Reply | None:
        return (
            None if digest_of(request) == "content-md5" else error_reply("MissingContentMD5", 400)
        )

    for operation in ("PutObject", "UploadPart"):
        script.rule(operation, require)
    sink.run()
    assert arrived(script) == EVERYTHING


def test_a_requirement_that_cannot_be_met_is_an_error(sink: DataSink, script: Script) -> None:
    script.answer("PutObject", error_reply("MissingContentMD5", 400))
    sink.inputs.x = sink.inputs.x[:SMALL]
    with pytest.raises(S3Error, match="MissingContentMD5"):
        sink.run()
    assert len(script.requests_of("PutObject")) <= 3 * SMALL


def test_a_store_that_accepts_only_crc32_gets_it(
    sink: DataSink, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: Request) -> Reply | None:
        if not re.search("crc64", str(request.headers), re.IGNORECASE):
            return None
        message = "Header 'x-amz-checksum-algorithm' with value 'CRC64NVME' not implemented"
        return Reply(501, f"<Error><Code>NotImplemented</Code><Message>{message}</Message></Error>")

    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    for operation in ("PutObject", "CreateMultipartUpload", "UploadPart"):
        script.rule(operation, refuse)
    sink.run()
    assert arrived(script) == EVERYTHING
    assert digest_of(script.requests_of("PutObject")[-1]) == "x-amz-checksum-crc32"


# What only botocore understands.


def of_another_root(_: Request) -> Reply:
    return Reply(body=STARTED.replace("InitiateMultipartUploadResult", "InitiateMultipartUpload"))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


@pytest.mark.parametrize("wanted", ["auto", "crt"])
@pytest.mark.parametrize("transfer_client", ["crt"])
def test_boto3_sends_if_the_runtime_finds_no_upload_id(
    sink: DataSink, script: Script, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    script.rule("CreateMultipartUpload", of_another_root)
    sink.inputs.s3_transfer_client = wanted
    sink.run()
    assert arrived(script) == EVERYTHING
    assert len(script.requests_of("CreateMultipartUpload")) == 2
    sink.run()
    assert len(script.requests_of("CreateMultipartUpload")) == 3
    assert len([text for text in warnings(caplog) if "boto3 sends the files" in text]) == 1


@pytest.mark.parametrize("transfer_client", ["crt"])
@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload"])
@pytest.mark.parametrize("status", [201, 202])
def test_boto3_sends_if_success_has_another_status(
    sink: DataSink, script: Script, operation: str, status: int
) -> None:
    body = COMPLETED if operation == "CompleteMultipartUpload" else ""

    def answer(request: Request) -> Reply:
        etag = hashlib.md5(request.body).hexdigest()
        return Reply(status, body, {"ETag": f'"{etag}"'})

    script.rule(operation, answer)
    script.answer("HeadObject", Reply(headers={"ETag": '"opaque-2"', "Content-Length": str(LARGE)}))
    outcomes = sink.run().outputs.out_file
    assert len(outcomes) == SMALL + 1


def open_uploads(*ages: float, clock: float = 0.0, key: str = "out/x/large") -> Reply:
    """List uploads that began so many seconds before the store's present time."""
    now = datetime.now(timezone.utc) + timedelta(seconds=clock)
    uploads = "".join(
        f"<Upload><Key>{key}</Key><UploadId>open{age}</UploadId>"
        f"<Initiated>{(now - timedelta(seconds=age)).isoformat()}</Initiated></Upload>"
        for age in ages
    )
    body = f"<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>"
    return Reply(body=body, headers={"Date": format_datetime(now, usegmt=True)})


def aborted(script: Script) -> list[str]:
    queries = [request.query for request in script.requests_of("AbortMultipartUpload")]
    return sorted({re.findall("uploadId=(open[^&]*)", query)[0] for query in queries})


@pytest.mark.parametrize("transfer_client", ["crt"])
@pytest.mark.parametrize("clock", [0, 7200, -7200])
def test_only_the_upload_of_this_run_is_aborted(
    sink: DataSink, script: Script, clock: float
) -> None:
    script.rule("CreateMultipartUpload", of_another_root)
    script.rule("ListMultipartUploads", lambda _: open_uploads(0, 3600, clock=clock))
    sink.run()
    assert aborted(script) == ["open0"]


@pytest.mark.parametrize("transfer_client", ["crt"])
def test_an_upload_with_parts_is_not_aborted(sink: DataSink, script: Script) -> None:
    script.rule("CreateMultipartUpload", of_another_root)
    script.rule("ListMultipartUploads", lambda _: open_uploads(0))
    part = "<ListPartsResult><Part><PartNumber>1</PartNumber></Part></ListPartsResult>"
    script.answer("ListParts", Reply(body=part))
    sink.run()
    assert aborted(script) == []


@pytest.mark.parametrize("transfer_client", ["crt"])
def test_an_upload_of_a_longer_key_is_not_aborted(sink: DataSink, script: Script) -> None:
    script.rule("CreateMultipartUpload", of_another_root)
    script.rule("ListMultipartUploads", lambda _: open_uploads(0, key="out/x/large2"))
    sink.run()
    assert aborted(script) == []


@pytest.mark.parametrize("transfer_client", ["crt"])
@pytest.mark.parametrize(
    "reply", [error_reply("AccessDenied"), Reply(body="<html/>")], ids=["denied", "a page"]
)
def test_one_warning_if_uploads_cannot_be_aborted(
    sink: DataSink, script: Script, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    script.rule("CreateMultipartUpload", of_another_root)
    script.answer("ListMultipartUploads", reply)
    sink.run()
    assert arrived(script) == EVERYTHING
    logged = [text for text in warnings(caplog) if "may be left open" in text]
    assert len(logged) == ("AccessDenied" in reply.body)


# Too many requests.


@pytest.mark.parametrize("operation", ["PutObject", "CreateMultipartUpload", "UploadPart"])
def test_files_rejected_by_status_429_are_sent_again(
    sink: DataSink, script: Script, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.05)
    seen: set[str] = set()

    def refuse(request: Request) -> Reply | None:
        if request.path in seen:
            return None
        seen.add(request.path)
        return Reply(429)

    script.rule(operation, refuse)
    sink.run()
    assert arrived(script) == EVERYTHING


def test_status_429_is_an_error_after_the_last_attempt(
    sink: DataSink, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.05)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    script.answer("PutObject", Reply(429), ending="small0")
    with pytest.raises(S3Error, match=r"(?s)429.*\n  failed: s3://mybucket/out/x/small0\n"):
        sink.run()
    assert len([each for each in script.requests_of("PutObject") if "small0" in each.path]) == 2
    assert arrived(script) == EVERYTHING
