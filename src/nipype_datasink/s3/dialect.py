"""How stores differ: what a bucket asks of those who send, as its refusals have shown."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from botocore.exceptions import ClientError

from nipype_datasink.errors import S3Error
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.errors import code_of

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

__all__ = ["Dialect", "DialectError", "dialect_of", "learn", "remember"]


class DialectError(S3Error):
    """The store has answered in a way that only botocore understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a store asks of those who send; the defaults are what S3 asks."""

    needs_digest: bool = False
    """Whether each upload must carry ``Content-MD5`` or a checksum, as with Object Lock."""

    takes_crc64nvme: bool = True
    """Whether the fastest checksum may be sent in place of the one that botocore would send."""

    suits_crt: bool = True
    """Whether the AWS Common Runtime understands the answers."""


# The dialect of each bucket, beside the client that reaches it. The lock guards both levels.
_dialects: WeakKeyDictionary[S3Client, dict[str, Dialect]] = WeakKeyDictionary()
_lock = threading.Lock()


def _forget() -> None:
    """In a forked child, start again: a thread that it does not have may hold the lock."""
    global _dialects, _lock  # noqa: PLW0603
    _dialects = WeakKeyDictionary()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def dialect_of(bucket: BucketClient) -> Dialect:
    """Return what is known of a bucket."""
    with _lock:
        return _dialects.get(bucket.client, {}).get(bucket.name, Dialect())


def remember(bucket: BucketClient, dialect: Dialect) -> None:
    """Remember what a bucket asks for, for as long as its client is kept."""
    with _lock:
        _dialects.setdefault(bucket.client, {})[bucket.name] = dialect


_DIGEST = re.compile(r"content-md5|x-amz-(sdk-)?checksum", re.IGNORECASE)
_NEEDED = re.compile(r"\brequire|\bmust\b|\bmissing\b|\bneed", re.IGNORECASE)
_CHECKSUM = re.compile(r"checksum|crc64", re.IGNORECASE)
# The store has computed the checksum: it knows it.
_MISMATCH = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch")


def learn(error: BaseException, dialect: Dialect) -> Dialect:
    """Return the dialect that a store's answer shows; `dialect` itself, if it shows nothing new.

    Parameters
    ----------
    error
        That ended the sending of a file.
    dialect
        As which that file was sent.
    """
    if isinstance(error, DialectError):
        return replace(dialect, suits_crt=False)
    if not isinstance(error, ClientError) or code_of(error) in _MISMATCH:
        return dialect
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code_of(error) == "MissingContentMD5" or (
        _DIGEST.search(message) and _NEEDED.search(message)
    ):
        if dialect.needs_digest:  # the runtime's checksum was not enough; boto3 sends Content-MD5
            return replace(dialect, suits_crt=False)
        return replace(dialect, needs_digest=True)
    if _CHECKSUM.search(message):  # Cloudflare's R2 knows none but CRC32
        return replace(dialect, takes_crc64nvme=False)
    return dialect
