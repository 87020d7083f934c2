"""What S3's answers mean: an error of ours, and whether going on makes sense."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from nipype_datasink.errors import S3Error

__all__ = [
    "DENIED",
    "S3Refused",
    "Trouble",
    "code_of",
    "concerns_bucket",
    "explain",
    "forget_secrets",
]

DENIED = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled")

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_BUCKET_WIDE = {
    "NoSuchBucket": "the bucket does not exist; check its name",
    "InvalidBucketName": "the bucket cannot exist; check its name",
    "InvalidAccessKeyId": "the access key is unknown; check the credentials",
    "SignatureDoesNotMatch": "the secret access key is wrong; check the credentials",
    "ExpiredToken": "the credentials have expired; get new ones",
    "TokenRefreshRequired": "the credentials have expired; get new ones",
    "InvalidToken": "the session token is wrong; check the credentials",
    "AccountProblem": "the account may not do this; ask AWS",
    "AllAccessDisabled": "the bucket is disabled; ask AWS",
    "PermanentRedirect": "the bucket is in another region; set s3_region",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
}
_DENIED = "access is denied; check the credentials and what they may do in this bucket"
_NOBODY_FOUND = (
    "access is denied, and no credentials were found, so requests were not signed; set creds_path, "
    "s3_profile or AWS_ACCESS_KEY_ID"
)
_DENIED_BEFORE_ANY = 10  # objects
_WITH_SECRETS = ("Token", "CanonicalRequest", "StringToSign")
_UNREACHABLE = (ConnectionError, HTTPClientError)
_NOBODY = (NoCredentialsError, PartialCredentialsError, TokenRetrievalError)


class S3Refused(S3Error, ClientError):
    """S3 answered, and refused; `response` and `operation_name` are botocore's.

    Parameters
    ----------
    message
        What did and did not arrive.
    response
        The answer as botocore parsed it.
    operation_name
        Name of the request.
    """

    def __init__(self, message: str, response: Mapping[str, Any], operation_name: str) -> None:
        Exception.__init__(self, message)
        self.response = response  # type: ignore[assignment]
        self.operation_name = operation_name

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling, with the arguments the class takes."""
        state = {"outcomes": self.outcomes}
        return type(self), (str(self), self.response, self.operation_name), state


def code_of(error: BaseException) -> str:
    """Return S3's code for `error`, or ``""`` if it is no answer of S3."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def concerns_bucket(error: BaseException) -> bool:
    """Return whether every further request would end as this one did."""
    return code_of(error) in _BUCKET_WIDE or isinstance(error, (*_UNREACHABLE, *_NOBODY))


class Trouble:
    """Whether going on makes sense, as the requests so far have shown; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._accepted = False
        self._patience = _DENIED_BEFORE_ANY

    @property
    def stopped(self) -> bool:
        """Whether nothing more should be begun."""
        return self._stopped

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def accept(self) -> None:
        """Take note that the bucket holds an object of ours."""
        self._accepted = True

    def suspect(self) -> None:
        """Take note that the bucket could not be listed."""
        self._patience = 1

    def refuse(self, error: BaseException) -> None:
        """Take note of an error; stop if it concerns the whole bucket and not one object."""
        with self._lock:
            # Denied objects among others are their own affair; many before any is stored are not.
            self._patience -= code_of(error) in DENIED
            if concerns_bucket(error) or (self._patience <= 0 and not self._accepted):
                self.stop()


def forget_secrets(error: BaseException | None) -> None:
    """Remove the session token: S3 tells what it is, or what it was signed with, if it is wrong."""
    answer = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    for name in [name for name in answer if name.startswith(_WITH_SECRETS)]:
        del answer[name]  # type: ignore[misc]


def explain(error: BaseException, *, signed: bool = True) -> str:
    """Say in plain words what an error means and what to try."""
    code = code_of(error)
    if code in DENIED:
        return _DENIED if signed else _NOBODY_FOUND
    if isinstance(error, EndpointConnectionError):
        return f"{error}; check s3_endpoint_url, the network and proxies"
    return _BUCKET_WIDE.get(code) or str(error) or type(error).__name__
