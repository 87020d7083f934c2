"""Compute the MD5 of the parts of large files while they are sent.

The ETag of an object in parts states this MD5. Where a store keeps no checksums, nothing else shows
that the object has the file's bytes, and in a fast network it takes longer than sending. The file
is read a second time, but from memory, as the transport reads the same bytes at about this time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future

from nipype_datasink.parallel import wait_for_result
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.comparison import (
    PART_BYTES,
    ExpectedDigest,
    compare_digests,
    digest_of_parts,
    part_size_for,
)
from nipype_datasink.s3.dialect import dialect_of


class _Abandoned(Exception):
    """The digest is not needed any more."""


class _Reading:
    """The computation of one digest; it ends early where `is_abandoned` is set."""

    def __init__(self) -> None:
        self.is_abandoned = False
        self.digest: Future[ExpectedDigest]

    def check(self, _: int) -> None:
        if self.is_abandoned:
            raise _Abandoned


class PartDigests:
    """Digests of large files of one run to one bucket.

    Parameters
    ----------
    is_needed
        Whether large files will probably be verified by their ETags.
    only_first
        Whether this probably holds for the first of them only.
    """

    def __init__(self, *, is_needed: bool, only_first: bool = False) -> None:
        # The verification of each file tells whether this is right. Its threads set it without a
        # lock, as it only decides when the MD5 is computed.
        self._is_needed = is_needed
        self._only_first = only_first
        self.deciding_file: FileTransfer | None = None
        """The file whose comparison will show whether the others need an MD5; None if that is
        known, or if every file needs one."""
        # Each key is added by the thread that starts uploads, and removed once.
        self._readings: dict[FileTransfer, _Reading] = {}

    @classmethod
    def for_uploads_to(cls, bucket: BucketClient) -> PartDigests:
        """Return those of files that are sent to a bucket.

        A store that is sent checksums usually states one of all bytes. Once both were right, in
        this run or before, no further MD5 is needed. With KMS an ETag is not an MD5.
        """
        is_kms = str(bucket.encryption).startswith("aws:kms")
        is_known = bucket.sends_checksums and dialect_of(bucket).checksum_is_enough
        return cls(is_needed=not is_kms and not is_known, only_first=bucket.sends_checksums)

    def record(self, needed: Sequence[ExpectedDigest]) -> None:
        """Record which digests a large file needs, as the verification of a file has shown."""
        self._only_first, self.deciding_file = False, None
        self._is_needed = any(digest.name == "ETag" for digest in needed)

    def begin(self, transfer: FileTransfer, size: int, pool: Executor) -> None:
        """Begin to compute the digest of a file that is being sent, if it will be needed.

        Parameters
        ----------
        transfer
            The file.
        size
            Its size in bytes.
        pool
            Reads the file.
        """
        if size <= PART_BYTES or not self._is_needed:
            return
        if self._only_first:
            self._is_needed, self.deciding_file = False, transfer
        reading = self._readings[transfer] = _Reading()
        reading.digest = pool.submit(
            digest_of_parts, transfer.source, part_size_for(size), on_read=reading.check
        )

    def abandon(self, transfer: FileTransfer) -> None:
        """Stop computing the digest of a file if nobody has taken it."""
        if reading := self._readings.pop(transfer, None):
            reading.is_abandoned = True
            if transfer == self.deciding_file:  # the next file decides
                self._is_needed, self.deciding_file = True, None

    def take(self, transfer: FileTransfer) -> ExpectedDigest | None:
        """Return the digest of a file, once; None if it was not computed."""
        reading = self._readings.pop(transfer, None)
        try:
            return wait_for_result(reading.digest) if reading else None
        except OSError:
            return None  # the verification reads the file again, and reports this error


def compare_with_computed(
    expected: Sequence[ExpectedDigest],
    path: str,
    part_size: int,
    computed: ExpectedDigest | None,
) -> list[bool]:
    """Return for each digest whether a file has it; read the file only if that is necessary.

    Parameters
    ----------
    expected
        Digests of one object.
    path
        The file.
    part_size
        In bytes.
    computed
        Digest of the file's parts, if it was computed before.
    """
    kind = (computed.name, computed.part_count) if computed else None
    others = [item for item in expected if (item.name, item.part_count) != kind]
    found = compare_digests(others, path, part_size) if others else []
    equal = dict(zip(others, found, strict=True))
    return [equal.get(item, item == computed) for item in expected]
