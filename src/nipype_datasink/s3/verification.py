"""Verify uploads: compare the digests that a store states with those of the file that was sent.

A file is verified if the store states a digest of at least 64 bits, and every digest that it states
equals the file's. That a checksum is *present* is not enough.
If the store states no digest, or one that differs, an object is read back and compared byte by
byte. This is done once for each store: an ETag of 32 digits need not be an MD5
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nipype_datasink.errors import S3Error
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.comparison import (
    PART_BYTES,
    ExpectedDigest,
    compare_digests,
    digests_from_response,
    known_part_size,
    part_size_for,
)
from nipype_datasink.s3.dialect import Dialect, dialect_of, remember_dialect
from nipype_datasink.s3.digest_selection import DigestSelector
from nipype_datasink.s3.errors import DENIED, code_of
from nipype_datasink.s3.part_digests import PartDigests, compare_with_computed
from nipype_datasink.s3.readback import equals_file
from nipype_datasink.s3.upload_response import UploadResponse

_logger = logging.getLogger("nipype.interface")

# Larger objects are not read back if no digest differs. The number is a guess.
_MAX_READ_BACK_BYTES = 256 << 20
_ARCHIVED = "InvalidObjectState"  # as of the storage class GLACIER: GetObject is rejected
_NOT_FOUND = ("404", "NoSuchKey", "NotFound", "NoSuchBucket")


class Verdict(Enum):
    """What the digests in a response show about a file."""

    EQUAL = "the object has the file's bytes"
    UNKNOWN = "there is no usable digest"
    ETAG_DIFFERS = "only the ETag differs"
    CHECKSUM_DIFFERS = "a checksum differs"


def has_same_bytes(
    expected: Sequence[ExpectedDigest],
    path: str,
    part_size: int | None = None,
    *,
    on_read: Callable[[int], object] = lambda _: None,
    threads: int = 1,
) -> bool:
    """Return whether the digests of an object show that the file at `path` has its bytes."""
    return any(digest.is_strong for digest in expected) and all(
        compare_digests(expected, path, part_size, on_read=on_read, threads=threads)
    )


def compare_stated(
    digests: Sequence[ExpectedDigest],
    path: str,
    size: int,
    *,
    selector: DigestSelector,
    use_etags: bool = True,
    computed: ExpectedDigest | None = None,
) -> Verdict:
    """Compare the file at `path` with the digests that a response states.

    Parameters
    ----------
    digests
        Of boto3's response to ``put_object`` or ``head_object``.
    path
        File that was sent.
    size
        Its size in bytes.
    selector
        Selects which of the digests are compared.
    use_etags
        Whether the store's ETags are digests.
    computed
        Digest of the file's parts, if it was computed while they were sent.
    """
    stated = [digest for digest in digests if _is_usable(digest, size)]
    counted = [digest for digest in stated if use_etags or digest.name != "ETag"]
    with selector.selected(counted, size) as expected:
        equal = compare_with_computed(expected, path, part_size_for(size), computed)
        if all(equal):
            selector.record_match(expected)
    differ = [digest.name for digest, is_equal in zip(expected, equal, strict=True) if not is_equal]
    if differ:
        return Verdict.ETAG_DIFFERS if differ == ["ETag"] else Verdict.CHECKSUM_DIFFERS
    is_verified = any(digest.is_strong for digest in expected)
    return Verdict.EQUAL if is_verified else Verdict.UNKNOWN


def _is_usable(digest: ExpectedDigest, size: int) -> bool:
    """Return whether a digest can be computed from the file.

    A digest of parts can if their size is known: if they are the parts that were sent. A store may
    also give an object that was sent in one request an ETag of parts.
    """
    count = digest.part_count
    return count is None or (size > PART_BYTES and bool(known_part_size(size, count)))


class UploadVerifier:
    """Verify the uploads of one run to one bucket; for any thread.

    Parameters
    ----------
    bucket
        Where the files were sent.
    part_digests
        Digests that are computed while files are sent.
    """

    def __init__(self, bucket: BucketClient, part_digests: PartDigests) -> None:
        self._bucket = bucket
        self._part_digests = part_digests
        self._selector = DigestSelector(
            checksum_is_enough=dialect_of(bucket).checksum_is_enough,
            on_match=lambda: remember_dialect(bucket, Dialect(checksum_is_enough=True)),
        )
        # The lock guards what is known of this store's ETags. A thread holds it while it reads an
        # object back, so that the others wait for the result and do not read objects themselves.
        self._lock = threading.Lock()
        self._use_etags = True
        self._has_read_back = False
        self._may_read = True
        self._has_warned = False

    def verify(self, transfer: FileTransfer, size: int, response: UploadResponse) -> bool:
        """Return whether an upload is verified; False if the store took it but stated no digest.

        Parameters
        ----------
        transfer
            What was sent.
        size
            Number of bytes that were sent.
        response
            To CompleteMultipartUpload if `size` is larger than a part, otherwise to PutObject.

        Raises
        ------
        S3Error
            If the store does not hold the file, or the response is not from S3.
        """
        if size <= PART_BYTES and response.is_from_s3:
            return self._check_digests(transfer, size, response.fields, is_from_s3=True)
        # The response to CompleteMultipartUpload has no size and, on many stores, no checksum.
        head = self._head(transfer)
        if head is None:
            if response.is_from_s3:
                return False
            raise _not_from_s3()
        length = head.get("ContentLength", size)  # a proxy may remove it
        if length != size:
            if not response.is_from_s3:
                raise _not_from_s3()
            raise S3Error(f"the object has {length:,} bytes after the upload, the file {size:,}")
        return self._check_digests(transfer, size, head, is_from_s3=response.is_from_s3)

    def _head(self, transfer: FileTransfer) -> Mapping[str, Any] | None:
        """Return the response to HeadObject; None where it is denied, or fails after retries."""
        try:
            return self._bucket.head(transfer.key)
        except (ClientError, BotoCoreError) as error:
            _raise_if_not_found(error)
            return None

    def _check_digests(
        self, transfer: FileTransfer, size: int, fields: Mapping[str, object], *, is_from_s3: bool
    ) -> bool:
        verdict = self._compare(transfer, size, fields)
        if verdict is Verdict.EQUAL:
            return True
        with self._lock:
            # While this thread waited, another may have found that ETags are not MD5.
            if verdict is Verdict.ETAG_DIFFERS and not self._use_etags:
                verdict = self._compare(transfer, size, fields)
            if verdict is Verdict.EQUAL:
                return True
            skip_reading = self._has_read_back or size > _MAX_READ_BACK_BYTES
            if verdict is Verdict.UNKNOWN and is_from_s3 and skip_reading:
                return False
            is_same = self._read_back(transfer, size)
            if is_same is None:
                return _result_without_reading(verdict, is_from_s3=is_from_s3)
            if not is_same:
                raise _checksum_mismatch()
            self._has_read_back = True
            if verdict is Verdict.ETAG_DIFFERS:
                self._ignore_etags()
            return True

    def _compare(self, transfer: FileTransfer, size: int, fields: Mapping[str, object]) -> Verdict:
        if self._bucket.encryption and not fields.get("ServerSideEncryption"):
            self._warn_of_missing_encryption()
        digests = digests_from_response(fields)
        verdict = compare_stated(
            digests,
            transfer.source,
            size,
            selector=self._selector,
            use_etags=self._use_etags,
            computed=self._part_digests.take(transfer),
        )
        needed = self._selector.select_for_large(digests)
        self._part_digests.record(needed if self._use_etags else ())
        return verdict

    def _warn_of_missing_encryption(self) -> None:
        if not self._has_warned:  # without the lock: at worst two threads warn at the same time
            self._has_warned = True
            _logger.warning(
                "%s: this store does not confirm the encryption that was asked for (%s)",
                self._bucket.name,
                self._bucket.encryption,
            )

    def _ignore_etags(self) -> None:
        self._use_etags = False
        _logger.warning(
            "%s: this store's ETags are not the MD5 of the bytes; they are not used to verify "
            "files in this run",
            self._bucket.name,
        )

    def _read_back(self, transfer: FileTransfer, size: int) -> bool | None:
        """Return whether an object has the bytes of its source; None if it cannot be read."""
        if not self._may_read:
            return None
        try:
            return equals_file(self._bucket, transfer, size)
        except Exception as error:  # noqa: BLE001 - a user's event handlers may raise anything
            _raise_if_not_found(error)
            self._may_read = code_of(error) not in (*DENIED, _ARCHIVED)
            return None


def _result_without_reading(verdict: Verdict, *, is_from_s3: bool) -> bool:
    """Return False for an object that may be right but cannot be read; raise for all others."""
    if not is_from_s3:
        raise _not_from_s3()
    if verdict is Verdict.CHECKSUM_DIFFERS:
        raise _checksum_mismatch()
    return False


def _raise_if_not_found(error: Exception) -> None:
    if code_of(error) in _NOT_FOUND:
        raise S3Error("the store confirmed the upload, but the object does not exist") from error


def _checksum_mismatch() -> S3Error:
    return S3Error("checksum mismatch after upload: the store holds other bytes than were sent")


def _not_from_s3() -> S3Error:
    return S3Error("the response is not from S3; check s3_endpoint_url")
