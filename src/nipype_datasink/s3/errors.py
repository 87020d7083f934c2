"""What S3's answers mean: an error of ours, and whether going on makes sense."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html.entities import name2codepoint
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
    "CircuitBreaker",
    "S3Refused",
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
_SHORTEST = 6  # characters of a secret; shorter ones are parts of other words
_REMOVED = "(removed)"
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


class CircuitBreaker:
    """Stop sending when further requests would fail too; any thread may call its methods."""

    def __init__(self) -> None:
        # The lock guards the count of denied objects. The two flags only change from False to
        # True, so threads may read and set them without it.
        self._lock = threading.Lock()
        self._is_open = False
        self._has_succeeded = False
        self._denials_left = _DENIED_BEFORE_ANY

    @property
    def is_open(self) -> bool:
        """Whether no further request should be started."""
        return self._is_open

    def open(self) -> None:
        """Let no further request be started."""
        self._is_open = True

    def record_success(self) -> None:
        """Record that the bucket holds an object that this run delivers."""
        self._has_succeeded = True

    def record_listing_failure(self) -> None:
        """Record that the bucket could not be listed: then one denied upload is enough."""
        self._denials_left = 1

    def record_failure(self, error: BaseException) -> None:
        """Record an error; open if it concerns the whole bucket and not one object."""
        with self._lock:
            # A policy may deny single objects while others arrive. Where many are denied and none
            # has arrived, the credentials may not write at all.
            self._denials_left -= code_of(error) in DENIED
            if concerns_bucket(error) or (self._denials_left <= 0 and not self._has_succeeded):
                self.open()


def forget_secrets(error: BaseException | None, secrets: Iterable[str | None] = ()) -> None:
    """Remove secrets from an error, its causes, and what a store has answered.

    S3 tells what a wrong session token is, and what a request was signed with; other stores, and
    proxies before them, may show parts of a request anywhere in an answer.

    Parameters
    ----------
    error
        Changed in place.
    secrets
        Removed wherever they stand, also as URLs, XML and JSON encode them.
    """
    patterns = [_encoded(secret) for secret in secrets if secret and len(secret) >= _SHORTEST]
    seen: list[BaseException] = []
    while error and error not in seen:
        seen.append(error)
        answer = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
        for name in [name for name in answer if name.startswith(_WITH_SECRETS)]:
            del answer[name]  # type: ignore[misc]
        if patterns:
            state = {name: _cleaned(value, patterns) for name, value in vars(error).items()}
            vars(error).update(state)
            error.args = _cleaned(error.args, patterns)
        error = error.__cause__ or error.__context__


def _encoded(secret: str) -> re.Pattern[str]:
    """Return what finds a text in which any character may be encoded."""
    return re.compile("".join(map(_character, secret)), re.IGNORECASE)


@cache  # a session token may have a thousand characters, and each looks at all of HTML's names
def _character(character: str) -> str:
    number = ord(character)
    forms = [
        f"(?-i:{re.escape(character)})",
        "".join(f"%(?:25)?{byte:02x}" for byte in character.encode()),
        f"&#0*{number};",
        f"&#x0*{number:x};",
        rf"\\u{number:04x}",
        rf"\\{re.escape(character)}",
        *([r"\+"] if character == " " else []),  # in forms
        *(f"&{name};" for name, code in name2codepoint.items() if code == number),
    ]
    return f"(?:{'|'.join(forms)})"


def _cleaned(value: Any, patterns: Sequence[re.Pattern[str]]) -> Any:
    """Return a copy of `value` without what the patterns find."""
    if isinstance(value, str):
        for pattern in patterns:
            value = pattern.sub(_REMOVED, value)
        return value
    if isinstance(value, bytes):
        return _cleaned(value.decode("latin-1"), patterns).encode("latin-1")
    if isinstance(value, dict):
        return {_cleaned(k, patterns): _cleaned(v, patterns) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_cleaned(item, patterns) for item in value)
    return value


def explain(error: BaseException, *, signed: bool = True) -> str:
    """Say in plain words what an error means and what to try."""
    code = code_of(error)
    if code in DENIED:
        return _DENIED if signed else _NOBODY_FOUND
    if isinstance(error, EndpointConnectionError):
        return f"{error}; check s3_endpoint_url, the network and proxies"
    return _BUCKET_WIDE.get(code) or str(error) or type(error).__name__
