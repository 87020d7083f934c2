"""Find out which step of a check an error belongs to, and what to do."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from urllib.parse import urlsplit

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies

from nipype_datasink.errors import CredentialsError, S3Error
from nipype_datasink.s3 import probe
from nipype_datasink.s3.errors import DENIED, WrongBucketError, code_of, explain


class StepName(str, Enum):
    """Names of the steps of a check, in their order."""

    ENDPOINT = "endpoint"
    IDENTITY = "identity"
    CLOCK = "clock"
    REGION = "region"
    BUCKET = "bucket"
    LIST = "list"
    WRITE = "write"


# S3's error codes that say which step has failed, in whatever request.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_STEPS = {
    "InvalidAccessKeyId": StepName.IDENTITY,
    "SignatureDoesNotMatch": StepName.IDENTITY,
    "ExpiredToken": StepName.IDENTITY,
    "TokenRefreshRequired": StepName.IDENTITY,
    "InvalidToken": StepName.IDENTITY,
    "AccountProblem": StepName.IDENTITY,
    "RequestTimeTooSkewed": StepName.CLOCK,
    "PermanentRedirect": StepName.REGION,
    "AuthorizationHeaderMalformed": StepName.REGION,
    "IllegalLocationConstraintException": StepName.REGION,
    "NoSuchBucket": StepName.BUCKET,
    "InvalidBucketName": StepName.BUCKET,
    "AllAccessDisabled": StepName.BUCKET,
}
_NO_IDENTITY = (
    CredentialsError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_UNREACHABLE = (EndpointConnectionError, SSLError)
_NOT_S3 = (ConnectionError, HTTPClientError, ResponseParserError, S3Error)


@dataclass(frozen=True, slots=True)
class Finding:
    """An error of a request, as the step that has failed."""

    step: StepName
    """Name of the step."""

    advice: str
    """What is wrong and what to do."""


def find_cause(
    error: Exception, request: StepName, *, endpoint_url: str, date: str | None
) -> Finding:
    """Return the step that an error belongs to, and what to do.

    Parameters
    ----------
    error
        Raised when a bucket was opened or a request was sent.
    request
        Step that the request is part of, where the error belongs to no other.
    endpoint_url
        Address of the store.
    date
        ``Date`` of the store's last response.
    """
    code = code_of(error) or _status_of(error)
    if isinstance(error, _NO_IDENTITY) or isinstance(error.__cause__, _NO_IDENTITY):
        return Finding(StepName.IDENTITY, explain(error))
    if code in _STEPS:
        return Finding(_STEPS[code], _explain_code(error, code, endpoint_url, date))
    if finding := _find_wrong_setting(error):
        return finding
    without_answer = not code and not isinstance(error, _NOT_S3)
    if code in DENIED or without_answer or (code and not code.isdecimal()):
        return Finding(request, explain(error))
    return Finding(StepName.ENDPOINT, _explain_endpoint(error, code, endpoint_url))


def _find_wrong_setting(error: Exception) -> Finding | None:
    """Return the finding where a bucket could not be opened because of its name or region."""
    if isinstance(error, WrongBucketError):
        return Finding(StepName.BUCKET, str(error))
    if isinstance(error, NoRegionError):
        return Finding(StepName.REGION, f"{error} Set s3_region")
    if isinstance(error.__cause__, InvalidRegionError):
        region = error.__cause__.kwargs["region_name"]
        advice = f"{region!r} is not a region; set s3_region to one like 'us-east-1'"
        return Finding(StepName.REGION, advice)
    return None


def _status_of(error: Exception) -> str:
    """Return the HTTP status of a response whose document is not S3's; empty without a response."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def _explain_code(error: Exception, code: str, endpoint_url: str, date: str | None) -> str:
    text, path = explain(error), urlsplit(endpoint_url).path
    if _STEPS[code] == StepName.BUCKET and path.strip("/"):
        return (
            f"{text}. Or the store takes the path {path!r} in the endpoint for a bucket; remove it"
        )
    seconds = _seconds_ahead(date) if _STEPS[code] == StepName.CLOCK else None
    if seconds is None:
        return text
    direction = "ahead of" if seconds > 0 else "behind"
    return f"{text}: it is {abs(seconds):,.0f} seconds {direction} the store's"


def now() -> datetime:
    """Return the time by the clock of this machine."""
    return datetime.now(timezone.utc)


def _seconds_ahead(date: str | None) -> float | None:
    """Return how far the clock of this machine is ahead of that of a store, in seconds."""
    with suppress(TypeError, ValueError):
        if date:
            return (now() - parsedate_to_datetime(date)).total_seconds()
    return None


def _explain_endpoint(error: Exception, code: str, endpoint_url: str) -> str:
    if isinstance(error, ReadTimeoutError):
        return f"no response within {probe.READ_SECONDS} seconds: {explain(error)}"
    if isinstance(error, ConnectTimeoutError):
        return f"no connection within {probe.CONNECT_SECONDS} seconds: {explain(error)}"
    address = urlsplit(endpoint_url)
    if (
        address.scheme == "http"
        and not isinstance(error, _UNREACHABLE)
        and speaks_tls(endpoint_url)
    ):
        other = f"https://{address.netloc.rpartition('@')[2]}"
        return f"the store uses TLS at this port; set s3_endpoint_url to {other!r}"
    text = explain(error)
    if code and "s3_endpoint_url" not in text:
        text = f"the response is not from S3 (HTTP status {code})"
    names_setting = "s3_endpoint_url" in text or "s3_region" in text
    advice = [text if names_setting else f"{text}; check s3_endpoint_url"]
    if address.path.strip("/"):
        advice.append(f"most stores have no path such as {address.path!r} in their address")
    return "; ".join(advice)


def speaks_tls(endpoint_url: str) -> bool:
    """Return whether a TLS handshake with the endpoint of an ``http://`` address succeeds.

    Nothing is sent after the handshake. Where requests go through a proxy, the answer is False.
    """
    address = urlsplit(endpoint_url)
    host, port = address.hostname, address.port or 80
    if host is None or get_environ_proxies(endpoint_url):
        return False
    # Only whether TLS is spoken matters, so any certificate is accepted.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=probe.CONNECT_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return True
    except (OSError, ValueError):
        return False
