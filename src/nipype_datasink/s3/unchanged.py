"""Which files are in the bucket already, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.comparison import (
    PART_SIZE,
    ExpectedDigest,
    etag_proof,
    part_size_of,
    proofs,
)
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.errors import CircuitBreaker, concerns_bucket
from nipype_datasink.s3.listing import StoredObject, look_up
from nipype_datasink.s3.verification import Agreement, proves

__all__ = ["find_unchanged"]

# Files at a time, where nothing is asked of the store: more than processors would only contend.
_READERS = max(2, min(4, os.cpu_count() or 1))


def find_unchanged(
    bucket: BucketClient,
    transfers: Sequence[FileTransfer],
    *,
    estimator: ConcurrencyEstimator,
    breaker: CircuitBreaker,
) -> set[FileTransfer]:
    """Return those of `transfers` that need not be sent.

    Where the bucket may not be looked at, all are sent.

    Parameters
    ----------
    bucket
        Where they go.
    transfers
        What is to be there.
    estimator
        Told how long a listing takes.
    breaker
        Told whether the bucket may be listed, and holds files of ours.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If S3 refuses or is not there at all.
    """
    with estimator.measure_latency():
        stored = _listed(bucket, transfers, breaker)
    candidates = [
        transfer
        for transfer in transfers
        if transfer.key in stored and stored[transfer.key].size == transfer.size
    ]
    agreement = Agreement()
    same = parallel_map(
        lambda item: _is_there(bucket, item, stored[item.key], agreement),
        candidates,
        threads=estimator.estimate(CLASSIC_REQUESTS._replace(minimum=_READERS)),
    )
    present = {item for item, is_same in zip(candidates, same, strict=True) if is_same}
    if present:
        breaker.record_success()
    return present


def _listed(
    bucket: BucketClient, transfers: Sequence[FileTransfer], breaker: CircuitBreaker
) -> Mapping[str, StoredObject]:
    keys = {transfer.key for transfer in transfers}
    try:
        return look_up(bucket.client, bucket.name, keys, bucket.request_args)
    except ClientError as error:
        if concerns_bucket(error):
            raise
        breaker.record_listing_failure()
        return {}  # may not look, or the store cannot list so


def _is_there(
    bucket: BucketClient, transfer: FileTransfer, there: StoredObject, agreement: Agreement
) -> bool:
    listed = etag_proof(there.etag)
    # Of a large file one request saves more time than it costs, if S3 has a fast checksum.
    ask_first = bool(bucket.encryption) or (transfer.size > PART_SIZE and has_crt())
    try:
        if listed and not ask_first and _matches(bucket, [listed], transfer):
            return True
        # A listing tells neither checksum nor encryption, and an ETag of KMS only looks like MD5.
        response = _head(bucket, transfer.key)
        if bucket.encryption not in (None, response.get("ServerSideEncryption")):
            return False
        found = proofs(response)
        if not response and listed and ask_first:
            found = [listed]
        elif listed in found and not ask_first:
            return False  # as has just been seen
        found = agreement.needed(found, transfer.size)
        if _matches(bucket, found, transfer):
            agreement.note(found)
            return True
    except OSError:  # told when it is sent
        pass
    return False


def _matches(bucket: BucketClient, found: Sequence[ExpectedDigest], transfer: FileTransfer) -> bool:
    numbers = {proof.parts for proof in found} - {None}
    if not numbers:
        return proves(found, transfer.source)
    ours = part_size_of(transfer.size, min(number for number in numbers if number))
    if ours and proves(found, transfer.source, ours):
        return True
    # Somebody else's parts may have another size.
    theirs = _head(bucket, transfer.key, PartNumber=1).get("ContentLength", 0)
    return theirs > 0 and theirs != ours and proves(found, transfer.source, theirs)


def _head(bucket: BucketClient, key: str, **extra: Any) -> Mapping[str, Any]:
    try:
        return bucket.head(key, **extra)
    except ClientError:
        return {}
