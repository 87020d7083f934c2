"""Verify uploads: what a store's answer must say before a file counts as delivered.

An answer proves a file if it carries a digest of at least 64 bits, and every digest that it carries
is the file's. That a checksum is *there* proves nothing.
Where an answer proves nothing, or carries another digest than the file's, the object is read back,
once for each store: an ETag of 32 digits need not be an MD5
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nipype_datasink.errors import S3Error
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.comparison import (
    PART_SIZE,
    ExpectedDigest,
    part_size_for,
    part_size_of,
    proofs,
    which_hold,
)
from nipype_datasink.s3.errors import DENIED, code_of
from nipype_datasink.s3.readback import holds_file

__all__ = ["Agreement", "Answer", "Verdict", "Verifier", "judge", "proves"]

_logger = logging.getLogger("nipype.interface")

_WORTH_READING = 256 << 20  # bytes, where nothing speaks against an object; this is a guess
_SUCCESS = range(200, 300)  # some stores answer 201 or 202
_ARCHIVED = "InvalidObjectState"  # as of the storage class GLACIER: each reading is refused
_NOT_THERE = ("404", "NoSuchKey", "NotFound", "NoSuchBucket")


class Verdict(Enum):
    """What an answer says of a file."""

    PROVED = "proved"
    SILENT = "nothing"
    ETAG_DIFFERS = "another ETag"
    CHECKSUM_DIFFERS = "another checksum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a store answered to an upload."""

    fields: Mapping[str, object]
    """As boto3 names them: ``ETag``, ``ServerSideEncryption``, ``ChecksumSHA256`` ..."""

    is_own: bool
    """Whether it is one that S3 gives: success and an ETag, and no body where S3 has none."""

    @classmethod
    def of_put(
        cls, fields: Mapping[str, object], headers: Mapping[str, str], status: int
    ) -> Answer:
        """Return the answer to PutObject.

        Parameters
        ----------
        fields
            As boto3 names them.
        headers
            Those of HTTP, in lower case.
        status
            That of HTTP.
        """
        is_page = headers.get("content-type", "").startswith("text/html")
        length = headers.get("content-length")
        has_body = is_page if length is None else length != "0"
        is_own = status in _SUCCESS and bool(fields.get("ETag")) and not has_body
        return cls(fields=fields, is_own=is_own)

    @classmethod
    def of_completion(cls, fields: Mapping[str, object]) -> Answer:
        """Return the answer to CompleteMultipartUpload."""
        return cls(fields=fields, is_own=bool(fields.get("ETag")))


class Agreement:
    """Whether a store's ETag and its checksum of the whole have agreed before; for any thread.

    Of large files the checksum is enough from then on, which takes a fourth of the time of an MD5.
    Of small ones both must hold: a store may repeat the checksum that it was sent.
    """

    def __init__(self) -> None:
        self._reached = False

    def needed(self, found: Sequence[ExpectedDigest], size: int) -> list[ExpectedDigest]:
        """Return those proofs that must hold of a file of `size` bytes."""
        checksums = [proof for proof in found if proof.name != "ETag"]
        if self._reached and size > PART_SIZE and any(_of_all_bytes(proof) for proof in checksums):
            return checksums
        return list(found)

    def note(self, held: Sequence[ExpectedDigest]) -> None:
        """Take note of proofs that held together."""
        if any(proof.name == "ETag" for proof in held) and any(map(_of_all_bytes, held)):
            self._reached = True


def _of_all_bytes(proof: ExpectedDigest) -> bool:
    return proof.name != "ETag" and proof.strong and proof.parts is None


def proves(found: Sequence[ExpectedDigest], path: str, part_size: int | None = None) -> bool:
    """Return whether the file at `path` is the object that all of these proofs are of."""
    return any(proof.strong for proof in found) and all(which_hold(found, path, part_size))


def judge(
    answer: Mapping[str, object], path: str, size: int, *, agreement: Agreement, etags: bool = True
) -> Verdict:
    """Return what an answer says of the file at `path`.

    Parameters
    ----------
    answer
        boto3's answer to ``put_object`` or ``head_object``.
    path
        File that was sent.
    size
        Its size in bytes.
    agreement
        Of the store's digests.
    etags
        Whether the store's ETags count.
    """
    usable = [proof for proof in proofs(answer) if _is_usable(proof, size)]
    counted = [proof for proof in usable if etags or proof.name != "ETag"]
    found = agreement.needed(counted, size)
    held = which_hold(found, path, part_size_for(size)) if found else []
    differ = [proof.name for proof, equal in zip(found, held, strict=True) if not equal]
    if differ:
        return Verdict.ETAG_DIFFERS if differ == ["ETag"] else Verdict.CHECKSUM_DIFFERS
    agreement.note(found)
    return Verdict.PROVED if any(proof.strong for proof in found) else Verdict.SILENT


def _is_usable(proof: ExpectedDigest, size: int) -> bool:
    """Return whether we know the parts that a proof is of; what is sent whole has none."""
    return proof.parts is None or (size > PART_SIZE and bool(part_size_of(size, proof.parts)))


class Verifier:
    """Verifies the uploads of one run to one store; for any thread.

    Parameters
    ----------
    bucket
        Where the files were sent.
    """

    def __init__(self, bucket: BucketClient) -> None:
        self._bucket = bucket
        self._agreement = Agreement()
        # What this store's answers are worth. The lock guards them, and lets one object be read
        # back while other threads wait for what that shows.
        self._lock = threading.Lock()
        self._etags_count = True
        self._has_been_read = False
        self._may_read = True
        self._has_warned = False

    def verify(self, transfer: FileTransfer, size: int, answer: Answer) -> bool:
        """Return whether an upload is proved; False if the store took it but nothing proves it.

        Parameters
        ----------
        transfer
            What was sent.
        size
            How many bytes were sent.
        answer
            To PutObject, or, if `size` is above that of a part, to CompleteMultipartUpload.

        Raises
        ------
        S3Error
            If the store does not hold the file, or does not answer as S3 does.
        """
        if size <= PART_SIZE and answer.is_own:
            return self._weigh(transfer, size, answer.fields, is_own=True)
        head = self._look(transfer)
        if head is None:
            if answer.is_own:
                return False
            raise _foreign()
        length = head.get("ContentLength", size)  # something on the way may leave it out
        if length != size:
            if not answer.is_own:
                raise _foreign()
            raise S3Error(f"the store holds {length:,} of {size:,} bytes")
        return self._weigh(transfer, size, head, is_own=answer.is_own)

    def _look(self, transfer: FileTransfer) -> Mapping[str, Any] | None:
        """Return what HeadObject tells; None where it may not be asked, or cannot answer.

        botocore has tried again by then. What the store has taken is not lost for that.
        """
        try:
            return self._bucket.head(transfer.key)
        except (ClientError, BotoCoreError) as error:
            _refuse_absence(error)
            return None

    def _weigh(
        self, transfer: FileTransfer, size: int, fields: Mapping[str, object], *, is_own: bool
    ) -> bool:
        verdict = self._judge(transfer, size, fields)
        if verdict is Verdict.PROVED:
            return True
        with self._lock:
            if verdict is Verdict.ETAG_DIFFERS and not self._etags_count:  # since then
                verdict = self._judge(transfer, size, fields)
            if verdict is Verdict.PROVED:
                return True
            enough = self._has_been_read or size > _WORTH_READING
            if verdict is Verdict.SILENT and is_own and enough:
                return False
            is_right = self._read_back(transfer, size)
            if is_right is None:
                return _unread(verdict, is_own=is_own)
            if not is_right:
                raise _mismatch()
            self._has_been_read = True
            if verdict is Verdict.ETAG_DIFFERS:
                self._ignore_etags()
            return True

    def _judge(self, transfer: FileTransfer, size: int, fields: Mapping[str, object]) -> Verdict:
        if self._bucket.encryption and not fields.get("ServerSideEncryption"):
            self._warn_of_no_encryption()
        etags, known = self._etags_count, self._agreement
        return judge(fields, transfer.source, size, agreement=known, etags=etags)

    def _warn_of_no_encryption(self) -> None:
        if not self._has_warned:  # two threads may warn at the same time, which does no harm
            self._has_warned = True
            _logger.warning(
                "%s: this store does not confirm the encryption that was asked for (%s)",
                self._bucket.name,
                self._bucket.encryption,
            )

    def _ignore_etags(self) -> None:
        self._etags_count = False
        _logger.warning(
            "%s: this store's ETags are not the MD5 of the bytes; they are not used to verify "
            "files in this run",
            self._bucket.name,
        )

    def _read_back(self, transfer: FileTransfer, size: int) -> bool | None:
        """Return whether an object holds the bytes of its source; None if it cannot be read."""
        if not self._may_read:
            return None
        try:
            return holds_file(self._bucket, transfer, size)
        except Exception as error:  # noqa: BLE001 - also where a user's handlers make up answers
            _refuse_absence(error)
            self._may_read = code_of(error) not in (*DENIED, _ARCHIVED)
            return None


def _unread(verdict: Verdict, *, is_own: bool) -> bool:
    """Return that an object which cannot be read back is not proved, if it may be there."""
    if not is_own:
        raise _foreign()
    if verdict is Verdict.CHECKSUM_DIFFERS:
        raise _mismatch()
    return False


def _refuse_absence(error: Exception) -> None:
    if code_of(error) in _NOT_THERE:
        raise S3Error("the store answered that it has the file, but does not hold it") from error


def _mismatch() -> S3Error:
    return S3Error("checksum mismatch after upload: the store holds other bytes than were sent")


def _foreign() -> S3Error:
    return S3Error("the answer is not one of S3's; check s3_endpoint_url")
