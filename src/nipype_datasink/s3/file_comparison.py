"""Compare one file with the object at its destination, by digests that the store states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.comparison import (
    PART_BYTES,
    ExpectedDigest,
    digest_from_etag,
    digests_from_response,
    known_part_size,
)
from nipype_datasink.s3.digest_selection import DigestSelector
from nipype_datasink.s3.head_requests import HeadSender
from nipype_datasink.s3.listing import StoredObject
from nipype_datasink.s3.sent_again import Mismatch
from nipype_datasink.s3.verification import has_same_bytes


def needs_head_first(transfer: FileTransfer, stored: StoredObject, encryption: str | None) -> bool:
    """Return whether a file is compared only after a HeadObject request.

    A small file is first compared with the listed ETag, which needs no request. For a large file a
    HeadObject comes first: it may state a CRC64NVME, which is much faster to compute than an MD5. A
    listing does not state the encryption.

    Parameters
    ----------
    transfer
        The file.
    stored
        The object at its destination, as it was listed.
    encryption
        What the user asks for.
    """
    prefers_head = bool(encryption) or (transfer.size > PART_BYTES and has_crt())
    return prefers_head or digest_from_etag(stored.etag) is None


class FileComparison:
    """Compare files with objects of the same size; any thread may call `compare`.

    Parameters
    ----------
    heads
        Sends HeadObject requests.
    encryption
        What each object must have; None if the user asks for none.
    threads
        Number of parts of one file that are read at a time.
    """

    def __init__(self, heads: HeadSender, encryption: str | None, *, threads: int = 1) -> None:
        self._heads = heads
        self._encryption = encryption
        self._threads = threads
        self._selector = DigestSelector()

    def compare(
        self, transfer: FileTransfer, stored: StoredObject, on_read: Callable[[int], object]
    ) -> Mismatch | None:
        """Return why an object is not the file with the wanted encryption; None if it is.

        Parameters
        ----------
        transfer
            The file.
        stored
            The object, as it was listed.
        on_read
            Called with each number of bytes that was read.
        """
        try:
            return self._compare(transfer, stored, on_read)
        except OSError:
            # The file cannot be read: the same error will be reported when it is sent.
            return Mismatch.UNKNOWN

    def _compare(
        self, transfer: FileTransfer, stored: StoredObject, on_read: Callable[[int], object]
    ) -> Mismatch | None:
        listed = digest_from_etag(stored.etag)
        head_first = needs_head_first(transfer, stored, self._encryption)
        differs: Mismatch | None = None
        if listed and not head_first:
            differs = self._compare_digests(transfer, [listed], on_read)
            if not differs:
                return None
        # A listing states neither checksum nor encryption, and with KMS its ETag only looks like
        # an MD5.
        response = self._head(transfer.key)
        if self._encryption not in (None, response.get("ServerSideEncryption")):
            return Mismatch.ENCRYPTION if response else Mismatch.UNKNOWN
        digests = digests_from_response(response)
        if not response and listed and head_first:
            digests = [listed]
        elif listed in digests and differs:
            return differs  # it was just compared
        with self._selector.selected(digests, transfer.size) as expected:
            differs = self._compare_digests(transfer, expected, on_read)
            if not differs:
                self._selector.record_match(expected)
        return differs

    def _compare_digests(
        self,
        transfer: FileTransfer,
        digests: Sequence[ExpectedDigest],
        on_read: Callable[[int], object],
    ) -> Mismatch | None:
        if not any(digest.is_strong for digest in digests):
            return Mismatch.UNKNOWN
        same_bytes = partial(
            has_same_bytes, digests, transfer.source, on_read=on_read, threads=self._threads
        )
        part_counts = [digest.part_count for digest in digests if digest.part_count]
        if not part_counts:
            return None if same_bytes() else Mismatch.BYTES
        own_size = known_part_size(transfer.size, min(part_counts))
        if own_size and same_bytes(own_size):
            return None
        # Another program may have sent parts of another size.
        size = self._head(transfer.key, part_number=1).get("ContentLength", 0)
        if size > 0 and size != own_size and same_bytes(size):
            return None
        return Mismatch.BYTES if size > 0 else Mismatch.UNKNOWN

    def _head(self, key: str, *, part_number: int | None = None) -> Mapping[str, Any]:
        """Return the response to HeadObject; an empty one if S3 rejects the request."""
        try:
            return self._heads.head(key, part_number=part_number)
        except ClientError:
            return {}
