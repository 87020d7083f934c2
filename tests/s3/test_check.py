"""`DataSink.check` finds what would fail in S3, by few requests, and leaves nothing there."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from nipype_datasink import DataSink
from nipype_datasink.delivery.check_report import CheckReport, CheckStep, StepVerdict
from nipype_datasink.s3 import probe
from nipype_datasink.s3.access import mask
from nipype_datasink.s3.errors import explain
from nipype_datasink.s3.probe import MAX_REQUESTS
from tests.conftest import contents, tree
from tests.s3.conftest import Answer
from tests.s3.scripted_store import Reply, Request, Script, error_reply
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

ENCRYPTION = "x-amz-server-side-encryption"
NOT_KNOWN = ("kms:Decrypt", "quota", "Object Lock")


def sink_of(url: str, **inputs: Any) -> DataSink:
    return DataSink(**{"base_directory": "s3://mybucket/deriv", "s3_endpoint_url": url, **inputs})


def steps(report: CheckReport) -> dict[str, CheckStep]:
    """Return the steps of the only place by their names."""
    (place,) = report.places
    return {step.name: step for step in place.steps}


def failed(report: CheckReport) -> str:
    """Return name and advice of the only step that failed."""
    (step,) = [step for step in steps(report).values() if step.verdict is StepVerdict.FAILED]
    assert not report.ok
    assert str(report).endswith("would work: no")
    return f"{step.name}: {step.advice}"


def warnings(report: CheckReport) -> list[str]:
    """Return name and advice of the steps with a warning, of a report without a failure."""
    assert report.ok
    assert str(report).endswith("would work: yes")
    found = [step for step in steps(report).values() if step.verdict is StepVerdict.WARNING]
    return [f"{step.name}: {step.advice}" for step in found]


def operations(script: Script) -> list[str]:
    assert len(script.requests) <= MAX_REQUESTS
    return [request.operation for request in script.requests]


UPLOAD = ["CreateMultipartUpload", "AbortMultipartUpload"]


def test_a_place_that_works(script: Script, credentials: None) -> None:
    report = sink_of(script.url, encrypt_bucket_keys=True).check()

    assert warnings(report) == []
    assert [step.verdict for step in steps(report).values()] == [StepVerdict.OK] * 4
    assert report.places[0].not_known == NOT_KNOWN
    assert operations(script) == ["ListObjectsV2", *UPLOAD]
    (begun,) = script.requests_of("CreateMultipartUpload")
    (aborted,) = script.requests_of("AbortMultipartUpload")
    assert begun.headers[ENCRYPTION] == "AES256"
    assert aborted.path == begun.path
    assert begun.path.startswith("/mybucket/deriv/.datasink-check-")
    assert "prefix=deriv%2F" in script.requests[0].query
    assert "max-keys=1" in script.requests[0].query
    lines = [
        "s3://mybucket/deriv",
        f"  endpoint   {script.url} (s3_endpoint_url), region us-east-1",
        "  identity   AK... (AWS_ACCESS_KEY_ID in the environment)",
        "  list       below deriv/",
        "  write      upload in parts begun and aborted, AES256",
    ]
    printed = str(report).splitlines()
    assert [line.removesuffix("ok").rstrip() for line in printed[:5]] == lines
    assert {line.rindex("ok") for line in printed[1:5]} == {len(lines[1]) + 2}
    assert printed[5:] == [
        "  not known  kms:Decrypt, quota, Object Lock",
        "would work: yes",
    ]


def test_uploads_have_the_arguments_of_the_sink(script: Script, credentials: None) -> None:
    args = {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/lab",
        "StorageClass": "STANDARD_IA",
        "RequestPayer": "requester",
        "ChecksumAlgorithm": "SHA256",
    }
    assert sink_of(script.url, s3_upload_args=args).check().ok

    (begun,) = script.requests_of("CreateMultipartUpload")
    assert begun.headers[ENCRYPTION] == "aws:kms"
    assert begun.headers[f"{ENCRYPTION}-aws-kms-key-id"] == "alias/lab"
    assert begun.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert {request.headers["x-amz-request-payer"] for request in script.requests} == {"requester"}


def test_a_refused_listing_is_a_warning(script: Script, credentials: None) -> None:
    script.answer("ListObjectsV2", error_reply("AccessDenied"))

    assert warnings(sink_of(script.url).check()) == [
        "list: the identity is not allowed to list (s3:ListBucket), so every run will send "
        "everything"
    ]
    assert operations(script) == ["ListObjectsV2", *UPLOAD]


@pytest.mark.parametrize(
    ("code", "step", "advice"),
    [
        ("InvalidAccessKeyId", "identity", "the access key is unknown"),
        ("SignatureDoesNotMatch", "identity", "the secret access key is wrong"),
        ("ExpiredToken", "identity", "the credentials have expired"),
        ("InvalidToken", "identity", "the session token is wrong"),
        ("RequestTimeTooSkewed", "clock", "the clock of this machine is wrong"),
        ("NoSuchBucket", "bucket", "the bucket does not exist"),
        ("AllAccessDisabled", "bucket", "the bucket is disabled"),
    ],
)
@pytest.mark.parametrize("operation", ["ListObjectsV2", "CreateMultipartUpload"])
def test_what_concerns_every_request_ends_the_check(
    *, script: Script, credentials: None, code: str, step: str, advice: str, operation: str
) -> None:
    script.answer(operation, error_reply(code))

    report = sink_of(script.url).check()

    assert failed(report).startswith(f"{step}: {advice}")
    assert operations(script)[-1] == operation
    assert len(script.requests_of(operation)) == 1


def test_the_clock_is_compared_with_the_stores(script: Script, credentials: None) -> None:
    reply = error_reply("RequestTimeTooSkewed", Date="Thu, 01 Jan 2015 00:00:00 GMT")
    script.answer("ListObjectsV2", reply)

    assert "seconds ahead of the store's" in failed(sink_of(script.url).check())


def test_a_refused_upload_names_the_permission(script: Script, credentials: None) -> None:
    script.answer("CreateMultipartUpload", error_reply("AccessDenied"))

    report = failed(sink_of(script.url, container="sub-01").check())

    assert report.startswith("write: access is denied; the identity needs s3:PutObject on ")
    assert "arn:aws:s3:::mybucket/deriv/sub-01/*" in report
    assert operations(script) == ["ListObjectsV2", *["CreateMultipartUpload"] * 2]


def test_the_message_of_aws_is_shown(script: Script, credentials: None) -> None:
    said = "User: arn:aws:iam::1:user/me is not authorized to perform: kms:GenerateDataKey"
    body = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"
    script.answer("CreateMultipartUpload", Reply(403, body))
    args = {"ServerSideEncryption": "aws:kms"}

    report = failed(sink_of(script.url, s3_upload_args=args).check())

    assert "kms:GenerateDataKey and kms:Decrypt on the KMS key" in report
    assert said in report


def test_a_policy_that_requires_encryption_is_named(script: Script, credentials: None) -> None:
    script.rule(
        "CreateMultipartUpload",
        lambda request: None if ENCRYPTION in request.headers else error_reply("AccessDenied"),
    )

    assert failed(sink_of(script.url).check()) == (
        "write: the bucket's policy requires encryption, and this sink asks for none; set "
        "encrypt_bucket_keys"
    )
    assert operations(script) == ["ListObjectsV2", "CreateMultipartUpload", *UPLOAD]


@pytest.mark.parametrize(("code", "status"), [("NotImplemented", 501), ("InvalidArgument", 400)])
def test_encryption_that_a_store_refuses_is_named(
    script: Script, credentials: None, code: str, status: int
) -> None:
    script.rule(
        "CreateMultipartUpload",
        lambda request: error_reply(code, status) if ENCRYPTION in request.headers else None,
    )

    report = failed(sink_of(script.url, encrypt_bucket_keys=True).check())

    assert report.startswith("write: the store refuses the encryption AES256")
    assert "unset encrypt_bucket_keys" in report
    assert operations(script) == ["ListObjectsV2", "CreateMultipartUpload", *UPLOAD]


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_store_without_uploads_in_parts_is_a_warning(
    script: Script, credentials: None, encrypt: bool
) -> None:
    script.answer("CreateMultipartUpload", error_reply("NotImplemented", 501))

    (warning,) = warnings(sink_of(script.url, encrypt_bucket_keys=encrypt).check())

    assert warning.startswith("write: this store has no uploads in parts")
    assert "--write-object" in warning


def test_an_abort_that_needs_the_encryption_too(script: Script, credentials: None) -> None:
    for operation in UPLOAD:
        script.rule(
            operation,
            lambda request: None if ENCRYPTION in request.headers else error_reply("AccessDenied"),
        )

    assert failed(sink_of(script.url).check()).startswith("write: the bucket's policy requires")
    (*_, aborted) = script.requests_of("AbortMultipartUpload")
    assert aborted.headers[ENCRYPTION] == "AES256"
    assert len(operations(script)) == MAX_REQUESTS


def test_an_upload_that_cannot_be_aborted_is_named(script: Script, credentials: None) -> None:
    script.answer("AbortMultipartUpload", error_reply("AccessDenied"))

    (warning,) = warnings(sink_of(script.url).check())

    (begun,) = script.requests_of("CreateMultipartUpload")
    assert "ID 'upload'" in warning
    assert begun.path.removeprefix("/mybucket/") in warning
    assert "s3:AbortMultipartUpload" in warning
    assert steps(sink_of(script.url).check())["write"].text == "upload in parts begun, not aborted"


def test_a_profile_that_does_not_exist_is_named_with_what_to_do(script: Script) -> None:
    found = failed(sink_of(script.url, s3_profile="nope").check())
    assert found.startswith("identity: cannot make a client for S3: The config profile (nope)")
    assert "set s3_profile" in found


# Requests that are sent again, and their number.


def once(reply: Reply) -> Callable[[Request], Reply | None]:
    """Return a rule that gives this reply to the first request only."""
    replies = [reply]
    return lambda _: replies.pop() if replies else None


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a request again without a pause."""
    monkeypatch.setattr(probe, "RETRY_SECONDS", 0)


@pytest.mark.parametrize("operation", ["ListObjectsV2", *UPLOAD])
def test_a_busy_store_is_asked_once_more(script: Script, credentials: None, operation: str) -> None:
    script.rule(operation, once(error_reply("SlowDown", 503)))

    assert warnings(sink_of(script.url).check()) == []
    assert len(operations(script)) == 4


def test_a_store_that_stays_busy_is_an_error(script: Script, credentials: None) -> None:
    script.answer("ListObjectsV2", error_reply("SlowDown", 503))

    assert "SlowDown" in failed(sink_of(script.url).check())
    assert operations(script) == ["ListObjectsV2"] * 2


@pytest.mark.parametrize("aborts", [True, False])
@pytest.mark.parametrize("redirects", [True, False])
@pytest.mark.parametrize("busy", ["ListObjectsV2", "CreateMultipartUpload", None])
def test_there_are_at_most_five_requests(
    script: Script, credentials: None, redirects: bool, busy: str | None, aborts: bool
) -> None:
    if redirects:
        moved = error_reply("PermanentRedirect", 301, x_amz_bucket_region="eu-central-1")
        script.rule("ListObjectsV2", once(moved))
    if busy:
        script.rule(busy, once(error_reply("SlowDown", 503)))
    script.rule(
        "CreateMultipartUpload",
        lambda request: None if ENCRYPTION in request.headers else error_reply("AccessDenied"),
    )
    if not aborts:
        script.answer("AbortMultipartUpload", error_reply("SlowDown", 503))

    assert failed(sink_of(script.url).check()).startswith("write: ")

    begun = [request for request in script.requests if ENCRYPTION in request.headers]
    ended = len(script.requests_of("AbortMultipartUpload"))
    assert len(operations(script)) <= MAX_REQUESTS
    assert ended >= len(begun)


def test_the_region_of_the_bucket_is_named(script: Script, credentials: None) -> None:
    moved = error_reply("PermanentRedirect", 301, x_amz_bucket_region="eu-central-1")
    script.rule("ListObjectsV2", once(moved))

    assert warnings(sink_of(script.url).check()) == [
        "region: the bucket is in eu-central-1; set s3_region to 'eu-central-1' to save requests"
    ]
    assert operations(script) == ["ListObjectsV2", "ListObjectsV2", *UPLOAD]


def test_a_region_that_cannot_be_found_is_an_error(script: Script, credentials: None) -> None:
    script.answer("ListObjectsV2", error_reply("AuthorizationHeaderMalformed", 400))

    report = failed(sink_of(script.url).check())
    assert report.startswith("region: the region is wrong, or the access key ID; set s3_region")
    assert operations(script) == ["ListObjectsV2"]


def test_a_region_that_boto3_cannot_follow_is_named(script: Script, credentials: None) -> None:
    moved = error_reply("PermanentRedirect", 301, x_amz_bucket_region="eu-central-1")
    script.answer("ListObjectsV2", moved)

    report = failed(sink_of(script.url).check())
    assert report == "region: the bucket is in eu-central-1; set s3_region to 'eu-central-1'"
    assert operations(script) == ["ListObjectsV2"] * 2


def test_a_name_that_is_not_a_region(credentials: None) -> None:
    report = sink_of("http://127.0.0.1:9", s3_region="us east\n1").check()
    wanted = "region: 'us east\\n1' is not a region; set s3_region to one like 'us-east-1'"
    assert failed(report) == wanted
    assert report.places[0].not_tried == ("endpoint", "identity", "list", "write")


def test_a_region_that_aws_does_not_have(credentials: None) -> None:
    error = EndpointConnectionError(endpoint_url="https://mybucket.s3.us-esat-1.amazonaws.com/x")
    error.__cause__ = socket.gaierror()
    assert "check s3_region and the network" in explain(error)


# Addresses and TLS.


def test_an_address_without_a_scheme(credentials: None) -> None:
    report = failed(sink_of("minio.lab:9000").check())
    assert report.startswith("endpoint: the endpoint 'minio.lab:9000' does not start with a scheme")
    assert "'https://minio.lab:9000'" in report


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://[::", "is not a valid address"),
        ("http://127.0.0.1:99999", "has a wrong port; the port must be between 1 and 65535"),
        ("http://minio.lab:9000\n", "contains white space; remove it"),
    ],
)
@pytest.mark.parametrize("source", ["s3_endpoint_url", "AWS_ENDPOINT_URL"])
def test_an_address_that_is_not_valid(
    credentials: None, monkeypatch: pytest.MonkeyPatch, url: str, problem: str, source: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    sink = DataSink(base_directory="s3://mybucket")
    if source == "s3_endpoint_url":
        sink.inputs.s3_endpoint_url = url
    report = sink.check()
    assert failed(report).startswith("endpoint: the endpoint ")
    assert problem in failed(report)
    assert steps(report)["endpoint"].text == f"{url} ({source})"


def test_the_password_in_an_address_is_not_shown(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "me:hidden@minio.lab:9000")
    report = DataSink(base_directory="s3://mybucket").check()
    assert failed(report).startswith("endpoint: the endpoint 'minio.lab:9000' does not start")
    assert "hidden" not in f"{report}{report!r}"


def test_an_address_in_a_configuration_file_that_is_not_valid(
    credentials: None, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "config").write_text("[default]\nendpoint_url = http://minio.lab:99999\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(workdir / "config"))
    report = failed(DataSink(base_directory="s3://mybucket").check())
    assert report.startswith("endpoint: ")
    assert "'minio.lab:99999' has a wrong port" in report


def test_plain_http_on_a_tls_port(secure: Script, credentials: None) -> None:
    url = secure.url.replace("https", "http")
    wanted = f"endpoint: the store uses TLS at this port; set s3_endpoint_url to {secure.url!r}"
    assert failed(sink_of(url).check()) == wanted


def test_tls_on_a_plain_port(script: Script, credentials: None) -> None:
    url = script.url.replace("http", "https")
    report = failed(sink_of(url).check())
    assert report.startswith("endpoint: ")
    assert f"does not use TLS; set s3_endpoint_url to {script.url!r}" in report


def test_a_certificate_of_an_unknown_authority(
    secure: Script, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    report = failed(sink_of(secure.url).check())
    assert "is from an unknown authority" in report
    assert "set AWS_CA_BUNDLE to a file with the authority's certificate" in report


def test_a_path_in_the_address(script: Script, credentials: None) -> None:
    script.answer("ListObjectsV2", Reply(body="<html>Welcome</html>"))
    report = failed(sink_of(f"{script.url}/console").check())
    assert report.startswith("endpoint: the response is not from S3; check s3_endpoint_url")
    assert "most stores have no path such as '/console'" in report


def test_a_web_server_that_knows_no_s3(script: Script, credentials: None) -> None:
    script.answer("ListObjectsV2", Reply(404, "<html>Not found</html>"))
    report = failed(sink_of(script.url).check())
    assert report.startswith("endpoint: the response is not from S3 (HTTP status 404)")


def test_an_address_that_redirects(script: Script, credentials: None) -> None:
    moved = Reply(301, headers={"Location": "https://minio.lab:9000/mybucket?list-type=2"})
    script.answer("ListObjectsV2", moved)
    report = failed(sink_of(script.url).check())
    wanted = "endpoint: requests are redirected to https://minio.lab:9000; set s3_endpoint_url to"
    assert report.startswith(wanted)
    assert operations(script) == ["ListObjectsV2"]


def test_an_address_that_redirects_to_nowhere(script: Script, credentials: None) -> None:
    script.answer("ListObjectsV2", Reply(301))
    report = failed(sink_of(script.url).check())
    assert report.startswith("endpoint: the response is not from S3 (HTTP status 301)")
    assert operations(script) == ["ListObjectsV2"]


def test_a_closed_port(credentials: None) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        report = sink_of(url).check()
    assert f"endpoint: nothing accepts connections at {url}" in failed(report)
    assert steps(report)["identity"].verdict is StepVerdict.UNKNOWN
    assert report.places[0].not_tried == ("list", "write")


def test_a_host_name_that_does_not_exist(credentials: None) -> None:
    report = failed(sink_of("http://store.invalid").check())
    assert "the host name 'store.invalid' is not known" in report


def test_a_store_that_does_not_respond(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "READ_SECONDS", 0.2)
    another_request = mock.Mock(return_value=True)
    monkeypatch.setattr("nipype_datasink.s3.silence.is_silent", another_request)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        report = sink_of(f"http://127.0.0.1:{server.getsockname()[1]}").check()
    assert failed(report).startswith("endpoint: no response within 0.2 seconds")
    assert not another_request.called


@pytest.mark.parametrize("operation", ["ListObjectsV2", *UPLOAD])
@pytest.mark.parametrize("encrypted", [True, False])
def test_control_characters_of_a_store_are_escaped(
    script: Script, credentials: None, operation: str, encrypted: bool
) -> None:
    answer = "<Error><Code>Broken\u009b</Code><Message>first\nsecond\u009b2J</Message></Error>"
    script.rule(operation, once(Reply(400, answer)))
    report = sink_of(script.url, encrypt_bucket_keys=encrypted).check()

    advice = "".join(step.advice for step in steps(report).values())
    assert "first\\nsecond\\x9b2J" in advice
    assert "\x9b" not in f"{report}{advice}"


# Identities.


def test_without_credentials_there_is_a_warning(script: Script) -> None:
    (warning,) = warnings(sink_of(script.url).check())
    assert warning.startswith("identity: set creds_path, s3_profile or AWS_ACCESS_KEY_ID")


def test_without_credentials_a_refusal_concerns_the_identity(script: Script) -> None:
    script.answer("CreateMultipartUpload", error_reply("AccessDenied"))
    report = failed(sink_of(script.url).check())
    assert report.startswith("identity: access is denied, and no credentials were found")


@pytest.mark.parametrize(
    ("inputs", "step"),
    [
        ({"creds_path": "/nowhere/keys.csv"}, "identity: creds_path '/nowhere/keys.csv' cannot"),
        ({"s3_profile": "nobody"}, "identity: cannot make a client for S3: The config profile"),
        ({"creds_path": "/keys.csv", "s3_profile": "lab"}, "settings: set either creds_path or"),
        ({"base_directory": "s3://my bucket!"}, "settings: 'my bucket!' is not a valid bucket"),
        ({"base_directory": "s3://mybucket/.."}, "settings: 's3://mybucket/..' leaves its bucket"),
        ({"s3_upload_args": {"Colour": "red"}}, "settings: s3_upload_args: unknown upload"),
    ],
)
def test_wrong_settings_are_findings(
    script: Script, credentials: None, inputs: dict[str, Any], step: str
) -> None:
    assert failed(sink_of(script.url, **inputs).check()).startswith(step)
    assert operations(script) == []


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "AKIA...PLE"),
        ("minioadmin", "mi..."),
        (SECRET_KEY, "..."),
    ],
)
def test_an_access_key_is_shown_in_part(key: str, shown: str) -> None:
    assert mask(key) == shown


SWAPPED = "the access key ID looks like a secret access key"


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("wJalr/XUtnFEMI", "AKIAIOSFODNN7EXAMPLE"),
        ("wJalrXUtnFEMIxK7MDENGxbPxRfiCYEXAMPLEKEY", "AKIAIOSFODNN7EXAMPLE"),
    ],
)
def test_a_swapped_access_key_is_named_and_not_shown(
    workdir: Path, script: Script, key: str, secret: str
) -> None:
    (workdir / "keys").write_text(f"Access key ID,Secret access key\n{key},{secret}\n")
    sink = sink_of(script.url, creds_path=str(workdir / "keys"))

    (warning,) = warnings(sink.check())
    assert warning.startswith(f"identity: {SWAPPED}")

    script.answer("ListObjectsV2", error_reply("InvalidAccessKeyId"))
    report = sink.check()
    assert failed(report).startswith("identity: the access key is unknown")
    assert SWAPPED in failed(report)
    assert steps(report)["identity"].text == f"... (creds_path {workdir / 'keys'})"
    assert [each for each in (key[:4], key[-4:], secret) if each in f"{report}{report!r}"] == []


def test_a_swapped_access_key_is_named_if_the_store_is_not_reached(workdir: Path) -> None:
    (workdir / "keys").write_text("Access key ID,Secret access key\nab/cd,AKIAIOSFODNN7EXAMPLE\n")
    report = sink_of("http://store.invalid", creds_path=str(workdir / "keys")).check()
    assert steps(report)["identity"].advice.startswith(SWAPPED)


def test_a_swapped_access_key_is_not_in_the_error_of_a_run(workdir: Path, script: Script) -> None:
    (workdir / "keys").write_text("Access key ID,Secret access key\nwJalr/XUtnFEMI,AKIDEXAMPLE\n")
    (workdir / "a").write_text("a")
    sink = sink_of(script.url, creds_path=str(workdir / "keys"))
    sink.inputs.x = str(workdir / "a")
    said = "<AWSAccessKeyId>wJalr/XUtnFEMI</AWSAccessKeyId>"
    body = f"<Error><Code>InvalidAccessKeyId</Code><Message>unknown</Message>{said}</Error>"
    for operation in ("ListObjectsV2", "PutObject"):
        script.answer(operation, Reply(403, body))
    with pytest.raises(ClientError) as caught:
        sink.run()
    assert caught.value.response["Error"]["Code"] == "InvalidAccessKeyId"
    assert "wJalr/XUtnFEMI" not in f"{caught.value}{caught.value.response}"


def planted(directory: Path) -> tuple[str, list[str]]:
    """Write a file with credentials; return its path, and what must not be shown."""
    key, secret, token = "ASIAIOSFODNN7EXAMPLE", "wJalr/XUtnFEMI+K7MDENG", "IQoJb3JpZ2luX2VjE/+="
    path = directory / "keys"
    path.write_text(
        f"[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n"
        f"aws_session_token={token}\n"
    )
    return str(path), [key, secret, token]


@pytest.mark.parametrize("operation", ["ListObjectsV2", *UPLOAD, None])
def test_secrets_are_not_shown(workdir: Path, script: Script, operation: str | None) -> None:
    path, secrets = planted(workdir)

    def repeat(request: Request) -> Reply:
        said = f"not authorized {' '.join(secrets)} {request.headers}"
        body = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"
        return Reply(403 if "ccess" in said else 400, body.replace("&", "&amp;"))

    if operation:
        script.rule(operation, repeat)
    report = sink_of(script.url, creds_path=path).check()

    shown = f"{report}{report!r}{report._repr_html_()}{json.dumps(report.as_json())}"
    assert steps(report)["identity"].text == f"ASIA...PLE (creds_path {path})"
    assert [secret for secret in secrets if secret in shown] == []


def test_the_profile_of_a_file_is_named(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = f"[lab]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n"
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(keys)
    monkeypatch.setenv("AWS_PROFILE", "lab")
    text = steps(sink_of(script.url).check())["identity"].text
    assert text == "AK... (AWS's credentials file, profile lab)"


def test_what_the_settings_of_a_sink_need_is_not_known(script: Script, credentials: None) -> None:
    class OwnSink(DataSink):
        def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
            raise AssertionError

    sink = OwnSink(base_directory="s3://mybucket", s3_endpoint_url=script.url)
    sink.inputs.remove_dest_dir = True
    (report,) = sink.check().places
    assert report.not_known == (
        *NOT_KNOWN,
        "s3:DeleteObject (remove_dest_dir)",
        "_upload_to_s3 of OwnSink",
    )


# Buckets that the user has injected.


def test_an_injected_bucket_is_checked_through_its_own_client(
    lone_bucket: Bucket, answer: Answer
) -> None:
    answer("CreateMultipartUpload", 403, "AccessDenied")
    sink = DataSink(base_directory="s3://other/deriv", bucket=lone_bucket)

    report = sink.check()

    assert report.places[0].place == "s3://mybucket/deriv"
    assert "s3:PutObject on arn:aws:s3:::mybucket/deriv/*" in failed(report)
    assert "(the injected bucket)" in steps(report)["endpoint"].text
    assert "(the injected bucket)" in steps(report)["identity"].text


def test_a_mock_is_not_checked() -> None:
    bucket = MagicMock()
    bucket.name = "mybucket"
    report = DataSink(base_directory="s3://mybucket", bucket=bucket).check()
    assert report.ok
    assert steps(report)["bucket"].text == "a MagicMock object, which is not checked"
    assert bucket.mock_calls == []


def test_a_subclass_that_opens_another_bucket() -> None:
    bucket = MagicMock()
    bucket.name = "other"

    class Other(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            return bucket

    report = Other(base_directory="s3://mybucket").check()
    wanted = "bucket: the bucket that was opened is 'other', not 'mybucket'; write its name into"
    assert failed(report).startswith(wanted)
    assert "s3_endpoint_url" not in failed(report)


# A store that works.


def incomplete_uploads(bucket: Bucket) -> Any:
    listing = bucket.meta.client.list_multipart_uploads(Bucket=bucket.name)
    return listing.get("Uploads", [])


@pytest.mark.parametrize("write_object", [False, True])
def test_nothing_remains(
    *, workdir: Path, bucket: Bucket, endpoint: str, requests: Counter[str], write_object: bool
) -> None:
    bucket.put_object(Key="deriv/x", Body=b"x")
    requests.clear()
    before = tree(workdir)
    report = sink_of(endpoint, encrypt_bucket_keys=True).check(write_object=write_object)
    assert report.ok
    assert sum(requests.values()) == 3
    assert ("PutObject" in requests) == write_object
    assert contents(bucket) == {"deriv/x": b"x"}
    assert incomplete_uploads(bucket) == []
    assert tree(workdir) == before


def test_an_object_is_deleted_from_a_bucket_with_versions(bucket: Bucket, endpoint: str) -> None:
    bucket.Versioning().enable()
    assert sink_of(endpoint).check(write_object=True).ok
    assert list(bucket.object_versions.all()) == []


def test_an_object_that_cannot_be_deleted_is_named(script: Script, credentials: None) -> None:
    script.answer("DeleteObject", error_reply("AccessDenied"))
    (warning,) = warnings(sink_of(script.url).check(write_object=True))
    (written,) = script.requests_of("PutObject")
    assert written.path.removeprefix("/mybucket/") in warning
    assert "s3:DeleteObject" in warning


def test_a_refused_object_names_the_permission(script: Script, credentials: None) -> None:
    script.answer("PutObject", error_reply("AccessDenied"))
    report = failed(sink_of(script.url).check(write_object=True))
    assert "s3:PutObject on arn:aws:s3:::mybucket/deriv/*" in report
    assert operations(script) == ["ListObjectsV2", "PutObject", "PutObject"]


def handlers_of(client: Any) -> list[Any]:
    """Return what is called before and after requests of a client."""
    events = ("needs-retry.s3", "before-send.s3", "response-received.s3")
    found = client.meta.events._emitter._handlers
    return [handler for event in events for handler in found.prefix_search(event)]


def test_the_client_of_the_bucket_is_not_changed(lone_bucket: Bucket) -> None:
    client: Any = lone_bucket.meta.client
    session, handlers = client._endpoint.http_session, client.meta.events
    before, registered = vars(session).copy(), handlers_of(client)
    assert DataSink(base_directory="s3://mybucket", bucket=lone_bucket).check().ok
    assert client._endpoint.http_session is session
    assert client.meta.events is handlers
    assert vars(session) == before
    assert handlers_of(client) == registered
    assert list(lone_bucket.objects.all()) == []


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_S3"),
        ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL"),
    ],
)
def test_the_source_of_the_endpoint_is_named(
    script: Script, credentials: None, monkeypatch: pytest.MonkeyPatch, variable: str, shown: str
) -> None:
    monkeypatch.setenv(variable, script.url)
    report = DataSink(base_directory="s3://mybucket").check()
    assert f"{script.url} ({shown}), region" in steps(report)["endpoint"].text


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_advice_names_the_variable_that_has_set_the_endpoint(
    credentials: None, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    report = DataSink(base_directory="s3://mybucket").check()
    assert f"check {variable} (host and port)" in failed(report)
    assert "s3_endpoint_url" not in str(report)


def test_advice_names_the_variable_if_the_endpoint_includes_the_bucket(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9/mybucket")
    report = failed(DataSink(base_directory="s3://mybucket").check())
    assert "set AWS_ENDPOINT_URL_S3 to 'http://127.0.0.1:9'" in report


def test_advice_names_the_configuration_that_has_set_the_endpoint(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text("[default]\nendpoint_url = http://127.0.0.1:9\n")
    report = failed(DataSink(base_directory="s3://mybucket").check())
    assert "check endpoint_url in AWS's configuration files (host and port)" in report


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        ("http://minio\x07.lab/x", "redirected to http://minio\\x07.lab; set s3_endpoint_url"),
        ("http://minio\x1b[2J.lab/x", "'http://minio\\x1b[2J.lab/x', which is not valid; check s3"),
    ],
)
def test_control_characters_of_a_redirect_are_escaped_in_the_error_of_a_run(
    location: str, advice: str
) -> None:
    metadata: Any = {"HTTPStatusCode": 301, "HTTPHeaders": {"location": location}}
    error = ClientError({"Error": {"Code": "301"}, "ResponseMetadata": metadata}, "PutObject")
    assert advice in explain(error)
