"""Remember what the responses of a store have shown about it."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from botocore.exceptions import ClientError

from nipype_datasink.errors import S3Error
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.errors import code_of

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


class DialectError(S3Error):
    """The store sent a response that only botocore can interpret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a store requires and accepts; the defaults are those of S3."""

    requires_digest: bool = False
    """Whether each upload must have ``Content-MD5`` or a checksum, as with Object Lock."""

    accepts_crc64nvme: bool = True
    """Whether the store accepts the fastest checksum in place of botocore's default."""

    works_with_crt: bool = True
    """Whether the AWS Common Runtime can interpret the store's responses."""

    checksum_is_enough: bool = False
    """Whether an ETag and a checksum of all bytes of an object were both right, so that a large
    file needs no MD5; not known at first."""


# The dialect of each bucket, by the client that reaches it. Several sinks may run in threads of
# one process: the lock guards the outer and the inner dictionaries.
_dialects: WeakKeyDictionary[S3Client, dict[str, Dialect]] = WeakKeyDictionary()
_lock = threading.Lock()


def _forget() -> None:
    """Start again in a forked child: a thread of the parent may have held the lock."""
    global _dialects, _lock  # noqa: PLW0603
    _dialects = WeakKeyDictionary()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def dialect_of(bucket: BucketClient) -> Dialect:
    """Return what is known of a bucket."""
    with _lock:
        return _dialects.get(bucket.client, {}).get(bucket.name, Dialect())


def remember_dialect(bucket: BucketClient, dialect: Dialect) -> None:
    """Remember the dialect of a bucket for as long as its client exists.

    What is known already stays, as another sink may have found it out in the meantime.
    """
    with _lock:
        dialects = _dialects.setdefault(bucket.client, {})
        known = dialects.get(bucket.name, Dialect())
        dialects[bucket.name] = Dialect(**{**_found_out(known), **_found_out(dialect)})


def _found_out(dialect: Dialect) -> dict[str, bool]:
    """Return the fields that differ from their defaults."""
    values = {field.name: getattr(dialect, field.name) for field in fields(dialect)}
    return {name: value for name, value in values.items() if value != getattr(Dialect(), name)}


# Stores word these messages differently, so the words are searched for one by one.
_DIGEST = re.compile(r"content-md5|x-amz-(sdk-)?checksum", re.IGNORECASE)
_REQUIRED = re.compile(r"\brequire|\bmust\b|\bmissing\b|\bneed", re.IGNORECASE)
_CHECKSUM = re.compile(r"checksum|crc64", re.IGNORECASE)
# These errors show that the store has computed the checksum, so it knows the algorithm.
_MISMATCH = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch")


def dialect_after(error: BaseException, dialect: Dialect) -> Dialect:
    """Return the dialect that an error shows; `dialect` itself if the error shows nothing new.

    Parameters
    ----------
    error
        Raised while a file was sent.
    dialect
        Dialect in which the file was sent.
    """
    if isinstance(error, DialectError):
        return replace(dialect, works_with_crt=False)
    if not isinstance(error, ClientError) or code_of(error) in _MISMATCH:
        return dialect
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code_of(error) == "MissingContentMD5" or (
        _DIGEST.search(message) and _REQUIRED.search(message)
    ):
        # If a checksum was sent and is not enough, the store needs Content-MD5. Only boto3 can
        # send that.
        if dialect.requires_digest:
            return replace(dialect, works_with_crt=False)
        return replace(dialect, requires_digest=True)
    if _CHECKSUM.search(message):  # Cloudflare R2, for example, accepts CRC32 only
        return replace(dialect, accepts_crc64nvme=False)
    return dialect
