"""Find files whose bytes are already in the bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import takewhile

from botocore.exceptions import ClientError

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import PhaseProgress, Progress, amount_of
from nipype_datasink.delivery.progress_text import Phase
from nipype_datasink.parallel import parallel_map, raise_if_cancelled
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.errors import concerns_bucket
from nipype_datasink.s3.file_comparison import FileComparison, needs_head_first
from nipype_datasink.s3.head_requests import HeadSender
from nipype_datasink.s3.latency import idle_seconds
from nipype_datasink.s3.listing import StoredObject, look_up
from nipype_datasink.s3.sent_again import Mismatch

# Files that are read at a time where no response is waited for; more would only compete for
# processors.
_READERS = max(2, min(4, os.cpu_count() or 1))
# Files up to this size are compared one after the other, as threads would mostly wait for Python's
# lock. One thread was faster with 16 KiB, two with 64 KiB; the number between them is a guess.
_QUICKLY_READ_BYTES = 32 << 10
# Threads compare the rest once this one has waited for so long in total: for a slow disk, or for
# responses. The number is a guess.
_MAX_IDLE_SECONDS = 0.1


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
    open_heads: Callable[[Sequence[str]], HeadSender],
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
    open_heads
        Returns what sends HeadObject requests, for the keys for which they are needed.

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
    candidates = [
        transfer
        for transfer in transfers
        if transfer.key in stored and stored[transfer.key].size == transfer.size
    ]
    candidates.sort(key=_takes_long)
    phase = progress.begin(Phase.COMPARING, amount_of(candidates))
    keys = [
        transfer.key
        for transfer in candidates
        if needs_head_first(transfer, stored[transfer.key], bucket.encryption)
    ]
    with closing(open_heads(keys)) as heads:
        waiting = CLASSIC_REQUESTS._replace(minimum=_READERS)
        threads = _READERS if heads.sends_ahead else estimator.estimate(waiting)
        large = sum(transfer.size > PART_BYTES for transfer in candidates)
        threads_per_file = max(1, _READERS // max(1, min(large, threads)))
        comparison = FileComparison(heads, bucket.encryption, threads=threads_per_file)
        compared = _compare_all(comparison, candidates, stored, phase, threads)
    unchanged = {transfer for transfer, mismatch in compared.items() if mismatch is None}
    if unchanged:
        breaker.record_success()
    mismatches = {transfer: mismatch for transfer, mismatch in compared.items() if mismatch}
    return BucketContents(stored=stored, unchanged=unchanged, mismatches=mismatches)


def _compare_all(
    comparison: FileComparison,
    transfers: Sequence[FileTransfer],
    stored: Mapping[str, StoredObject],
    phase: PhaseProgress,
    threads: int,
) -> dict[FileTransfer, Mismatch | None]:
    """Compare each file with its object; see `FileComparison.compare`.

    Parameters
    ----------
    comparison
        Compares one file.
    transfers
        The files; those that take long to read come last.
    stored
        The objects, by key.
    phase
        Counts what is compared.
    threads
        Number of files that are compared at a time once they take long, or wait for responses.
    """

    def compare(transfer: FileTransfer) -> Mismatch | None:
        raise_if_cancelled()
        file = phase.file(transfer.size)
        found = comparison.compare(transfer, stored[transfer.key], file.add_bytes)
        file.finish(arrived=found is None)
        return found

    quick = list(takewhile(lambda transfer: not _takes_long(transfer), transfers))
    results: list[Mismatch | None] = []
    begin = idle_seconds()
    while len(results) < len(quick) and idle_seconds() - begin < _MAX_IDLE_SECONDS:
        results.append(compare(quick[len(results)]))
    results += parallel_map(compare, transfers[len(results) :], threads=threads)
    return dict(zip(transfers, results, strict=True))


def _takes_long(transfer: FileTransfer) -> bool:
    """Return whether other files should be compared while this one is read."""
    return transfer.size > _QUICKLY_READ_BYTES


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
