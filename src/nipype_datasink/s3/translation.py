"""Errors of the AWS Common Runtime, as boto3 would have raised them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awscrt.s3 import S3ResponseError
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    SSLError,
)
from botocore.model import Shape
from botocore.parsers import create_parser

from nipype_datasink.errors import S3Error

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

__all__ = ["is_cancellation", "translated"]

_NO_CONNECTION = (
    "AWS_IO_DNS",
    "AWS_IO_SOCKET_CONNECTION_REFUSED",
    "AWS_IO_SOCKET_TIMEOUT",
    "AWS_IO_SOCKET_NO_ROUTE",
    "AWS_IO_SOCKET_NETWORK_DOWN",
    "AWS_IO_SOCKET_CONNECT_ABORTED",
)

# Answers that the runtime tells by name only: S3's codes, and the statuses that go with them.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_ANSWERS = {
    "AWS_ERROR_S3_INTERNAL_ERROR": ("InternalError", 500),
    "AWS_ERROR_S3_REQUEST_TIMEOUT": ("RequestTimeout", 400),
    "AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED": ("RequestTimeTooSkewed", 403),
    "AWS_ERROR_S3_SLOW_DOWN": ("SlowDown", 503),
}


def is_cancellation(error: Exception) -> bool:
    """Return whether a request was ended by us."""
    return _name(error) == "AWS_ERROR_S3_CANCELED"


def translated(error: Exception, client: S3Client) -> Exception:
    """Return what boto3 would have raised.

    Parameters
    ----------
    error
        Of the runtime.
    client
        boto3's, in whose place the runtime has sent.
    """
    if isinstance(error, S3ResponseError):
        return _answer(error, client)
    name, endpoint = _name(error), client.meta.endpoint_url
    if name in _ANSWERS:
        code, status = _ANSWERS[name]
        parsed = {
            "Error": {"Code": code, "Message": str(error)},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        return _refusal(parsed, "PutObject", client)
    if name.startswith(_NO_CONNECTION):
        return EndpointConnectionError(endpoint_url=endpoint, error=str(error))
    if name.startswith("AWS_IO_TLS"):
        return SSLError(endpoint_url=endpoint, error=RuntimeError(str(error)))
    if name.startswith(("AWS_IO_", "AWS_ERROR_HTTP_")):
        return HTTPClientError(error=str(error))
    return S3Error(f"the AWS Common Runtime: {error}") if name else error


def _name(error: Exception) -> str:
    return str(getattr(error, "name", ""))


def _answer(error: S3ResponseError, client: S3Client) -> ClientError:
    answer = {
        "status_code": error.status_code,
        "headers": dict(error.headers),
        "body": error.body or b"",
        "context": {},
    }
    parsed = create_parser("rest-xml").parse(answer, Shape("Nothing", {"type": "structure"}))
    return _refusal(parsed, error.operation_name or "PutObject", client)


def _refusal(parsed: dict[str, Any], operation: str, client: S3Client) -> ClientError:
    kind: Any = client.exceptions.from_code(parsed["Error"].get("Code", ""))
    refused: ClientError = kind(parsed, operation)
    return refused
