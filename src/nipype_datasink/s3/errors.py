"""Explain S3's errors: the cause in words, and whether other files can still be delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from nipype_datasink.display import escaped_lines
from nipype_datasink.errors import S3Error
from nipype_datasink.s3.connection_errors import explain_connection
from nipype_datasink.s3.redirects import explain_redirect

# Codes that stores use for "not allowed". Responses to HEAD have no body, so botocore takes the
# HTTP status as their code.
DENIED = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled")

# Errors that every other request to the bucket would get too, with cause and cure.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_BUCKET_WIDE = {
    "NoSuchBucket": "the bucket does not exist; check its name",
    "InvalidBucketName": "S3 allows no bucket of this name; check its name",
    "InvalidAccessKeyId": "the access key is unknown; check the credentials",
    "SignatureDoesNotMatch": "the secret access key is wrong; check the credentials",
    "ExpiredToken": "the credentials have expired; get new ones",
    "TokenRefreshRequired": "the credentials have expired; get new ones",
    "InvalidToken": "the session token is wrong; check the credentials",
    "AccountProblem": "the AWS account has a problem; ask AWS",
    "AllAccessDisabled": "the bucket is disabled; ask AWS",
    "PermanentRedirect": "the bucket is in another region; set s3_region",
    "IllegalLocationConstraintException": "the bucket is in another region; set s3_region",
    "AuthorizationHeaderMalformed": "the region is wrong, or the access key ID; set s3_region, and "
    "check the credentials",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
}
_UNREACHABLE = (ConnectionError, HTTPClientError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, TokenRetrievalError)

_ACCESS_DENIED = "access is denied; check the credentials and what they may do in this bucket"
ANONYMOUS_DENIED = (
    "access is denied, and no credentials were found, so requests were not signed; set creds_path, "
    "s3_profile or AWS_ACCESS_KEY_ID"
)


class S3ClientError(S3Error, ClientError):
    """An `S3Error` that is botocore's ``ClientError`` too, because S3 answered with an error.

    Parameters
    ----------
    message
        What did and did not arrive.
    response
        The response as botocore parsed it.
    operation_name
        Name of the request, such as ``PutObject``.
    """

    def __init__(self, message: str, response: Mapping[str, Any], operation_name: str) -> None:
        # Not botocore's constructor, which makes a message of its own from the response.
        Exception.__init__(self, message)
        self.response = response  # type: ignore[assignment]
        self.operation_name = operation_name

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling; the default passes only the message to the constructor."""
        state = {name: vars(self).get(name) for name in ("outcomes", "missing", "original")}
        state = {name: value for name, value in state.items() if value is not None}
        return type(self), (str(self), self.response, self.operation_name), state


class WrongBucketError(S3Error):
    """The bucket that was opened has another name than the one in ``base_directory``."""


def code_of(error: BaseException) -> str:
    """Return S3's code of `error`, such as ``AccessDenied``; ``""`` if S3 has not answered."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def concerns_bucket(error: BaseException) -> bool:
    """Return whether every other request to the bucket would fail in the same way."""
    return code_of(error) in _BUCKET_WIDE or isinstance(error, (*_UNREACHABLE, *_NO_CREDENTIALS))


def explain(error: BaseException, *, signed: bool = True) -> str:
    """Return in plain words what an error means and what to try."""
    code = code_of(error)
    if known := _BUCKET_WIDE.get(code) or explain_connection(error) or explain_redirect(error):
        return escaped_lines(known)  # a certificate or a redirect may contain any text
    if code in DENIED:
        return _ACCESS_DENIED if signed else ANONYMOUS_DENIED
    return escaped_lines(str(error)) or type(error).__name__
