"""Errors of the AWS Common Runtime, as boto3 would have raised them."""

from __future__ import annotations

import re
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
from nipype_datasink.s3.dialect import DialectError

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


_ERROR = 301  # the first status that botocore takes for an error
_ERROR_DOCUMENT = re.compile(rb"<(\w+:)?Error[\s/>]")


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
    if _name(error) == "AWS_ERROR_S3_MISSING_UPLOAD_ID":
        return DialectError("the store's answer to CreateMultipartUpload names no upload")
    try:
        return _translated(error, client)
    except Exception as failure:  # noqa: BLE001 - no answer may hide what is known of other files
        return S3Error(f"the AWS Common Runtime: {error} ({failure!r})")


def _translated(error: Exception, client: S3Client) -> Exception:
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


def _answer(error: S3ResponseError, client: S3Client) -> Exception:
    operation, status = error.operation_name or "PutObject", error.status_code
    body = error.body or b""
    if status < _ERROR and not _ERROR_DOCUMENT.search(body):
        return DialectError(f"{operation} was answered by {status}, where S3 answers 200")
    answer = {
        # Botocore reads no error in what is told as a success, nor in a redirection by 300.
        "status_code": max(status, _ERROR),
        "headers": dict(error.headers or ()),
        "body": body,
        "context": {},
    }
    parsed = create_parser("rest-xml").parse(answer, Shape("Nothing", {"type": "structure"}))
    if not parsed["Error"].get("Code"):  # of another namespace, or empty
        code, message = parsed.get("Code") or str(status), parsed.get("Message") or ""
        parsed["Error"] = {"Code": code, "Message": message}
    parsed.setdefault("ResponseMetadata", {})["HTTPStatusCode"] = status
    return _refusal(parsed, operation, client)


def _refusal(parsed: dict[str, Any], operation: str, client: S3Client) -> ClientError:
    kind: Any = client.exceptions.from_code(parsed["Error"].get("Code", ""))
    refused: ClientError = kind(parsed, operation)
    return refused
