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
    kind: Any = client.exceptions.from_code(parsed["Error"].get("Code", ""))
    refused: ClientError = kind(parsed, error.operation_name or "PutObject")
    return refused
