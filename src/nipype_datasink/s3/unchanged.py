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
    unchanged = _find_unchanged(bucket, transfers, stored, estimator, progress)
    if unchanged:
        breaker.record_success()
    return BucketContents(stored=stored, unchanged=unchanged)


def _find_unchanged(
    bucket: BucketClient,
    transfers: Sequence[FileTransfer],
    stored: Mapping[str, StoredObject],
    estimator: ConcurrencyEstimator,
    progress: Progress,
) -> set[FileTransfer]:
    candidates = [
        transfer
        for transfer in transfers
        if transfer.key in stored and stored[transfer.key].size == transfer.size
    ]
    phase, selector = progress.begin(Phase.COMPARING, amount_of(candidates)), DigestSelector()

    def compare(transfer: FileTransfer) -> bool:
        file = phase.file(transfer.size)
        found = _is_unchanged(
            bucket, transfer, stored[transfer.key], selector=selector, on_read=file.add_bytes
        )
        file.finish(arrived=found)
        return found

    unchanged = parallel_map(
        compare,
        candidates,
        threads=estimator.estimate(CLASSIC_REQUESTS._replace(minimum=_READERS)),
    )
    return {item for item, is_same in zip(candidates, unchanged, strict=True) if is_same}


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


def _is_unchanged(
    bucket: BucketClient,
    transfer: FileTransfer,
    stored: StoredObject,
    *,
    selector: DigestSelector,
    on_read: Callable[[int], object],
) -> bool:
    """Return whether an object of the file's size has the file's bytes and the wanted encryption.

    A small file is first compared with the listed ETag, which needs no request. For a large file a
    HeadObject comes first: it may state a CRC64NVME, which is much faster to compute than an MD5.
    """
    listed = digest_from_etag(stored.etag)
    head_first = bool(bucket.encryption) or (transfer.size > PART_BYTES and has_crt())
    try:
        if listed and not head_first and _has_digests(bucket, transfer, [listed], on_read):
            return True
        # A listing states neither checksum nor encryption, and with KMS its ETag only looks like
        # an MD5.
        response = _head(bucket, transfer.key)
        if bucket.encryption not in (None, response.get("ServerSideEncryption")):
            return False
        digests = digests_from_response(response)
        if not response and listed and head_first:
            digests = [listed]
        elif listed in digests and not head_first:
            return False  # it was just compared, and differs
        digests = selector.select(digests, transfer.size)
        if _has_digests(bucket, transfer, digests, on_read):
            selector.record_match(digests)
            return True
    except OSError:
        pass  # the file cannot be read: the same error will be reported when it is sent
    return False


def _has_digests(
    bucket: BucketClient,
    transfer: FileTransfer,
    digests: Sequence[ExpectedDigest],
    on_read: Callable[[int], object],
) -> bool:
    same_bytes = partial(has_same_bytes, digests, transfer.source, on_read=on_read)
    part_counts = [digest.part_count for digest in digests if digest.part_count]
    if not part_counts:
        return same_bytes()
    own_size = known_part_size(transfer.size, min(part_counts))
    if own_size and same_bytes(own_size):
        return True
    # Another program may have sent parts of another size.
    size = _head(bucket, transfer.key, PartNumber=1).get("ContentLength", 0)
    return size > 0 and size != own_size and same_bytes(size)


def _head(bucket: BucketClient, key: str, **extra: Any) -> Mapping[str, Any]:
    """Return the response to HeadObject; an empty one if S3 rejects the request."""
    try:
        return bucket.head(key, **extra)
    except ClientError:
        return {}
