"""Translating errors of the AWS Common Runtime into those of boto3."""

from __future__ import annotations

import pickle

import boto3
import pytest
from awscrt.exceptions import AwsCrtError
from awscrt.s3 import S3ResponseError
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    SSLError,
)

from nipype_datasink import S3Error
from nipype_datasink.s3.crt.errors import is_cancellation, translate_error
from nipype_datasink.s3.dialect import DialectError
from nipype_datasink.s3.errors import concerns_bucket

CLIENT = boto3.session.Session("key", "secret", region_name="us-east-1").client("s3")


@pytest.mark.parametrize(
    ("name", "kind", "concerns_all"),
    [
        ("AWS_IO_DNS_INVALID_NAME", EndpointConnectionError, True),
        ("AWS_IO_SOCKET_CONNECTION_REFUSED", EndpointConnectionError, True),
        ("AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE", SSLError, True),
        ("AWS_IO_SOCKET_CLOSED", ConnectionClosedError, True),
        ("AWS_ERROR_HTTP_CONNECTION_CLOSED", ConnectionClosedError, True),
        ("AWS_ERROR_HTTP_SERVER_CLOSED", ConnectionClosedError, True),
        ("AWS_ERROR_HTTP_PROTOCOL_ERROR", HTTPClientError, True),
        ("AWS_ERROR_S3_INCORRECT_CONTENT_LENGTH", S3Error, False),
    ],
)
def test_network_errors_are_translated(name: str, kind: type, concerns_all: bool) -> None:
    error = translate_error(AwsCrtError(1, name, "what happened"), CLIENT)
    assert type(error) is kind
    names_endpoint = kind in (EndpointConnectionError, ConnectionClosedError)
    assert ("s3.amazonaws.com" if names_endpoint else "what happened") in str(error)
    assert concerns_bucket(error) is concerns_all
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("name", "code", "concerns_all"),
    [
        ("AWS_ERROR_S3_SLOW_DOWN", "SlowDown", False),
        ("AWS_ERROR_S3_INTERNAL_ERROR", "InternalError", False),
        ("AWS_ERROR_S3_REQUEST_TIMEOUT", "RequestTimeout", False),
        ("AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED", "RequestTimeTooSkewed", True),
    ],
)
def test_named_errors_of_s3_are_translated_into_client_errors(
    name: str, code: str, concerns_all: bool
) -> None:
    error = translate_error(AwsCrtError(1, name, "what happened"), CLIENT)
    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == code
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 400
    assert "what happened" in str(error)
    assert concerns_bucket(error) is concerns_all


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<Error><Code>NoSuchBucket</Code><Message>No.</Message></Error>", "NoSuchBucket"),
        (b"<html>Bad gateway</html>", "502"),
        (None, "502"),
    ],
    ids=["of S3", "of something before it", "empty"],
)
def test_error_responses_are_translated_into_client_errors(body: bytes | None, code: str) -> None:
    error = S3ResponseError(
        code=14343,
        name="AWS_ERROR_S3_INVALID_RESPONSE_STATUS",
        message="Invalid response status from request",
        status_code=502,
        headers=[("x-amz-request-id", "request")],
        body=body,
        operation_name="UploadPart",
    )
    translated = translate_error(error, CLIENT)
    assert isinstance(translated, ClientError)
    assert translated.operation_name == "UploadPart"
    assert translated.response["Error"]["Code"] == code
    assert translated.response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert type(translated) is CLIENT.exceptions.from_code(code)


def test_other_exceptions_are_returned_unchanged() -> None:
    error = OSError("mine")
    assert translate_error(error, CLIENT) is error


@pytest.mark.parametrize(
    ("name", "expected"), [("AWS_ERROR_S3_CANCELED", True), ("AWS_ERROR_S3_SLOW_DOWN", False)]
)
def test_cancellation_is_recognised(name: str, expected: bool) -> None:
    assert is_cancellation(AwsCrtError(1, name, "")) is expected


def translated_response(
    status: int, body: bytes = b"", operation: str | None = "PutObject"
) -> Exception:
    """Return the translated error of a response that the runtime takes for an error."""
    error = S3ResponseError(
        code=1,
        name="AWS_ERROR_S3_INVALID_RESPONSE_STATUS",
        message="Invalid response status from request",
        status_code=status,
        headers=[("x-amz-request-id", "7")],
        body=body,
        operation_name=operation,
    )
    return translate_error(error, CLIENT)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 300])
@pytest.mark.parametrize("body", [b"", b"OK", b"<html/>", b"<UploadId>1</UploadId>", b"\xff\xfe"])
def test_another_status_of_success_is_a_dialect_error(status: int, body: bytes) -> None:
    error = translated_response(status, body)
    assert type(error) is DialectError
    assert f"response to PutObject has status {status}" in str(error)


@pytest.mark.parametrize("status", [200, 202, 300, 507])
@pytest.mark.parametrize("start", ["<Error>", "<?xml version='1.0'?>\n<Error xmlns='urn:x'>"])
def test_an_error_document_in_a_response_of_success_is_an_error(status: int, start: str) -> None:
    error = translated_response(
        status, f"{start}<Code>QuotaExceeded</Code><Message>Full.</Message></Error>".encode()
    )
    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == "QuotaExceeded"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 507, 599])
@pytest.mark.parametrize("body", [b"", b"<html>", b"<Error", b"\xff\xfe", b"<a>" * 3000])
def test_without_an_error_document_the_status_is_the_code(status: int, body: bytes) -> None:
    error = translated_response(status, body, operation=None)
    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == str(status)


@pytest.mark.parametrize("body", [b"<Error><Code/></Error>", b"<Error/>", b"<x:Error "])
def test_an_incomplete_error_document_is_an_error(body: bytes) -> None:
    assert isinstance(translated_response(200, body), ClientError)


def test_an_error_that_cannot_be_translated_is_an_s3_error() -> None:
    translated = translate_error(
        S3ResponseError(code=1, name="NAME", message="what happened"), CLIENT
    )
    assert type(translated) is S3Error
    assert "what happened" in str(translated)


def test_a_missing_upload_id_is_a_dialect_error() -> None:
    error = translate_error(AwsCrtError(1, "AWS_ERROR_S3_MISSING_UPLOAD_ID", "not found"), CLIENT)
    assert type(error) is DialectError
