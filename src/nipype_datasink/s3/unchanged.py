"""Find files whose bytes are already in the bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import Progress, amount_of
from nipype_datasink.delivery.progress_text import Phase
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.comparison import (
    PART_BYTES,
    ExpectedDigest,
    digest_from_etag,
    digests_from_response,
    known_part_size,
)
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.errors import concerns_bucket
from nipype_datasink.s3.listing import StoredObject, look_up
from nipype_datasink.s3.sent_again import Mismatch
from nipype_datasink.s3.verification import DigestSelector, has_same_bytes

# Files that are read at a time where no request is needed; more would only compete for processors.
_READERS = max(2, min(4, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketContents:
    """What a bucket holds of the files of a plan, before any is sent."""

    stored: Mapping[str, StoredObject] | None
    """Objects at the destinations, by key; None if the bucket may not be listed."""

    unchanged: set[FileTransfer] = field(default_factory=set)
    """Files whose bytes are in these objects."""

    mismatches: Mapping[FileTransfer, Mismatch] = field(default_factory=dict)
    """Why other files of the size of their objects are not unchanged."""

    def unchanged_outcomes(self) -> list[Outcome]:
        """Return the outcomes of the unchanged files."""
        stored = self.stored or {}
        return [
            Outcome(transfer=item, status=Status.UNCHANGED, etag=stored[item.key].etag.strip('"'))
            for item in self.unchanged
        ]

    def with_known_status(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a file that was sent; tell whether an object was replaced."""
        if outcome.status is not Status.SENT or self.stored is None:
            return outcome
        is_there = outcome.transfer.key in self.stored
        return replace(outcome, status=Status.REPLACED if is_there else Status.NEW)


def compare_with_bucket(
    bucket: BucketClient,
    transfers: Sequence[FileTransfer],
    *,
    estimator: ConcurrencyEstimator,
    breaker: CircuitBreaker,
    progress: Progress,
) -> BucketContents:
    """Find out which destinations exist, and which of them hold the bytes of their files.

    Where the bucket may not be listed, nothing is found and all files will be sent.

    Parameters
    ----------
    bucket
        Where the files will be sent.
    transfers
        Files that will be sent unless they are found.
    estimator
        Measures the latency of the listing.
    breaker
        Records whether the bucket can be listed, and whether files were found.
    progress
        Counts the files that are compared.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If S3 rejects every request, or cannot be reached.
    """
    with estimator.measure_latency():
        stored = _list_stored(bucket, transfers)
    if stored is None:
        breaker.record_listing_failure()
        return BucketContents(stored=None)
    compared = _compare_all(bucket, transfers, stored, estimator, progress)
    unchanged = {transfer for transfer, mismatch in compared.items() if mismatch is None}
    if unchanged:
        breaker.record_success()
    mismatches = {transfer: mismatch for transfer, mismatch in compared.items() if mismatch}
    return BucketContents(stored=stored, unchanged=unchanged, mismatches=mismatches)


def _compare_all(
    bucket: BucketClient,
    transfers: Sequence[FileTransfer],
    stored: Mapping[str, StoredObject],
    estimator: ConcurrencyEstimator,
    progress: Progress,
) -> dict[FileTransfer, Mismatch | None]:
    """Compare each file with its object, if that has the same size; see `_compare`."""
    candidates = [
        transfer
        for transfer in transfers
        if transfer.key in stored and stored[transfer.key].size == transfer.size
    ]
    phase, selector = progress.begin(Phase.COMPARING, amount_of(candidates)), DigestSelector()

    def compare(transfer: FileTransfer) -> Mismatch | None:
        file = phase.file(transfer.size)
        found = _compare(
            bucket, transfer, stored[transfer.key], selector=selector, on_read=file.add_bytes
        )
        file.finish(arrived=found is None)
        return found

    compared = parallel_map(
        compare,
        candidates,
        threads=estimator.estimate(CLASSIC_REQUESTS._replace(minimum=_READERS)),
    )
    return dict(zip(candidates, compared, strict=True))


def _list_stored(
    bucket: BucketClient, transfers: Sequence[FileTransfer]
) -> Mapping[str, StoredObject] | None:
    """Return the objects that exist, by key; None if the bucket may not be listed."""
    keys = {transfer.key for transfer in transfers}
    try:
        return look_up(bucket.client, bucket.name, keys, bucket.request_args)
    except ClientError as error:
        if concerns_bucket(error):
            raise
        return None


def _compare(
    bucket: BucketClient,
    transfer: FileTransfer,
    stored: StoredObject,
    *,
    selector: DigestSelector,
    on_read: Callable[[int], object],
) -> Mismatch | None:
    """Return why an object of the file's size is not the file with the wanted encryption.

    A small file is first compared with the listed ETag, which needs no request. For a large file a
    HeadObject comes first: it may state a CRC64NVME, which is much faster to compute than an MD5.
    """
    listed = digest_from_etag(stored.etag)
    head_first = bool(bucket.encryption) or (transfer.size > PART_BYTES and has_crt())
    differs: Mismatch | None = None
    try:
        if listed and not head_first:
            differs = _compare_digests(bucket, transfer, [listed], on_read)
            if not differs:
                return None
        # A listing states neither checksum nor encryption, and with KMS its ETag only looks like
        # an MD5.
        response = _head(bucket, transfer.key)
        if bucket.encryption not in (None, response.get("ServerSideEncryption")):
            return Mismatch.ENCRYPTION if response else Mismatch.UNKNOWN
        digests = digests_from_response(response)
        if not response and listed and head_first:
            digests = [listed]
        elif listed in digests and differs:
            return differs  # it was just compared
        digests = selector.select(digests, transfer.size)
        differs = _compare_digests(bucket, transfer, digests, on_read)
        if not differs:
            selector.record_match(digests)
    except OSError:
        # The file cannot be read: the same error will be reported when it is sent.
        return Mismatch.UNKNOWN
    return differs


def _compare_digests(
    bucket: BucketClient,
    transfer: FileTransfer,
    digests: Sequence[ExpectedDigest],
    on_read: Callable[[int], object],
) -> Mismatch | None:
    if not any(digest.is_strong for digest in digests):
        return Mismatch.UNKNOWN
    same_bytes = partial(has_same_bytes, digests, transfer.source, on_read=on_read)
    part_counts = [digest.part_count for digest in digests if digest.part_count]
    if not part_counts:
        return None if same_bytes() else Mismatch.BYTES
    own_size = known_part_size(transfer.size, min(part_counts))
    if own_size and same_bytes(own_size):
        return None
    # Another program may have sent parts of another size.
    size = _head(bucket, transfer.key, PartNumber=1).get("ContentLength", 0)
    if size > 0 and size != own_size and same_bytes(size):
        return None
    return Mismatch.BYTES if size > 0 else Mismatch.UNKNOWN


def _head(bucket: BucketClient, key: str, **extra: Any) -> Mapping[str, Any]:
    """Return the response to HeadObject; an empty one if S3 rejects the request."""
    try:
        return bucket.head(key, **extra)
    except ClientError:
        return {}
