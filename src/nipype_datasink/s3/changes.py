"""Tell what a delivery would change in a bucket, without sending anything."""

from __future__ import annotations

from collections.abc import Sequence

from nipype_datasink.delivery.changes import Change
from nipype_datasink.delivery.progress import hidden_progress
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.head_requests import ClassicHeadSender
from nipype_datasink.s3.unchanged import BucketContents, compare_with_bucket


def find_changes(
    bucket: BucketClient, transfers: Sequence[FileTransfer]
) -> dict[FileTransfer, Change]:
    """Return what sending each file would do.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If S3 rejects every request, or cannot be reached.
    """
    contents = compare_with_bucket(
        bucket,
        transfers,
        estimator=ConcurrencyEstimator(),
        breaker=CircuitBreaker(),
        progress=hidden_progress(),
        open_heads=lambda _: ClassicHeadSender(bucket),
    )
    return {transfer: _change(transfer, contents) for transfer in transfers}


def _change(transfer: FileTransfer, contents: BucketContents) -> Change:
    if contents.stored is None:
        return Change.UNKNOWN
    if transfer in contents.unchanged:
        return Change.UNCHANGED
    return Change.REPLACED if transfer.key in contents.stored else Change.NEW
