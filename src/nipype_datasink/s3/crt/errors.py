"""Translate errors of the AWS Common Runtime into those that boto3 would have raised."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from awscrt.s3 import S3ResponseError
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    SSLError,
)
from botocore.model import Shape
from botocore.parsers import create_parser

from nipype_datasink.errors import S3Error
from nipype_datasink.s3.dialect import DialectError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_NO_CONNECTION = (
    "AWS_IO_DNS",
    "AWS_IO_SOCKET_CONNECTION_REFUSED",
    "AWS_IO_SOCKET_TIMEOUT",
    "AWS_IO_SOCKET_NO_ROUTE",
    "AWS_IO_SOCKET_NETWORK_DOWN",
    "AWS_IO_SOCKET_CONNECT_ABORTED",
)

_CLOSED = (
    "AWS_IO_SOCKET_CLOSED",
    "AWS_ERROR_HTTP_CONNECTION_CLOSED",
    "AWS_ERROR_HTTP_SERVER_CLOSED",
)

# Responses of which the runtime reports only a name: S3's error code and status.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_S3_ERRORS = {
    "AWS_ERROR_S3_INTERNAL_ERROR": ("InternalError", 500),
    "AWS_ERROR_S3_REQUEST_TIMEOUT": ("RequestTimeout", 400),
    "AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED": ("RequestTimeTooSkewed", 403),
    "AWS_ERROR_S3_SLOW_DOWN": ("SlowDown", 503),
}

_FIRST_ERROR_STATUS = 301  # botocore takes lower ones for a success
_ERROR_DOCUMENT = re.compile(rb"<(\w+:)?Error[\s/>]")


def is_cancellation(error: Exception) -> bool:
    """Return whether a request failed because it was cancelled."""
    return _name(error) == "AWS_ERROR_S3_CANCELED"


def translate_error(error: Exception, client: S3Client, operation: str = "PutObject") -> Exception:
    """Return the error that boto3 would have raised.

    Parameters
    ----------
    error
        Raised by the runtime.
    client
        boto3's client, which would have sent the request.
    operation
        Name of the request, where the runtime does not tell it.
    """
    if _name(error) == "AWS_ERROR_S3_MISSING_UPLOAD_ID":
        return DialectError("the store's response to CreateMultipartUpload has no upload id")
    try:
        return _translate(error, client, operation)
    except Exception as failure:  # noqa: BLE001 - a strange response must not end other uploads
        return S3Error(f"the AWS Common Runtime: {error} ({failure!r})")


def _translate(error: Exception, client: S3Client, operation: str) -> Exception:
    if isinstance(error, S3ResponseError):
        return _from_response(error, client, operation)
    name, endpoint = _name(error), client.meta.endpoint_url
    if name in _S3_ERRORS:
        code, status = _S3_ERRORS[name]
        parsed = {
            "Error": {"Code": code, "Message": str(error)},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        return _client_error(parsed, operation, client)
    network = _network_error(name, str(error), endpoint)
    return network or (S3Error(f"the AWS Common Runtime: {error}") if name else error)


def _network_error(name: str, text: str, endpoint: str) -> Exception | None:
    if name.startswith(_NO_CONNECTION):
        return EndpointConnectionError(endpoint_url=endpoint, error=text)
    if name.startswith("AWS_IO_TLS"):
        return SSLError(endpoint_url=endpoint, error=RuntimeError(text))
    if name in _CLOSED:
        return ConnectionClosedError(endpoint_url=endpoint)
    if name.startswith(("AWS_IO_", "AWS_ERROR_HTTP_")):
        return HTTPClientError(error=text)
    return None


def _name(error: Exception) -> str:
    return str(getattr(error, "name", ""))


def _from_response(error: S3ResponseError, client: S3Client, operation: str) -> Exception:
    operation, status = error.operation_name or operation, error.status_code
    body = error.body or b""
    if status < _FIRST_ERROR_STATUS and not _ERROR_DOCUMENT.search(body):
        return DialectError(f"the response to {operation} has status {status}, S3's has 200")
    response = {
        # Some stores put an error document into a response of success. botocore reads it only if
        # the status is one of an error.
        "status_code": max(status, _FIRST_ERROR_STATUS),
        "headers": dict(error.headers or ()),
        "body": body,
        "context": {},
    }
    parsed = create_parser("rest-xml").parse(response, Shape("Nothing", {"type": "structure"}))
    if not parsed["Error"].get("Code"):  # of another XML namespace, or empty
        code, message = parsed.get("Code") or str(status), parsed.get("Message") or ""
        parsed["Error"] = {"Code": code, "Message": message}
    parsed.setdefault("ResponseMetadata", {})["HTTPStatusCode"] = status
    return _client_error(parsed, operation, client)


def _client_error(parsed: dict[str, Any], operation: str, client: S3Client) -> ClientError:
    kind: Any = client.exceptions.from_code(parsed["Error"].get("Code", ""))
    error: ClientError = kind(parsed, operation)
    return error
