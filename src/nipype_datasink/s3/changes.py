"""Tell what a delivery would change in a bucket, without sending anything."""

from __future__ import annotations

from collections.abc import Sequence

from nipype_datasink.delivery.changes import Change
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.unchanged import find_unchanged_among, list_stored


def compare_with_bucket(
    bucket: BucketClient, transfers: Sequence[FileTransfer]
) -> dict[FileTransfer, Change]:
    """Return what sending each file would do.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If S3 rejects every request, or cannot be reached.
    """
    estimator = ConcurrencyEstimator()
    with estimator.measure_latency():
        stored = list_stored(bucket, transfers)
    if stored is None:
        return dict.fromkeys(transfers, Change.UNKNOWN)
    unchanged = find_unchanged_among(bucket, transfers, stored, estimator)
    return {
        transfer: _change(is_there=transfer.key in stored, is_same=transfer in unchanged)
        for transfer in transfers
    }


def _change(*, is_there: bool, is_same: bool) -> Change:
    if is_same:
        return Change.UNCHANGED
    return Change.REPLACED if is_there else Change.NEW
