"""Read manifests from a bucket, and compare objects with their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from botocore.exceptions import ClientError

from nipype_datasink.delivery.manifest import ManifestRow, is_manifest_name
from nipype_datasink.delivery.progress import FileProgress, Progress
from nipype_datasink.delivery.recorded_files import begin_verifying
from nipype_datasink.delivery.verify_report import Finding, State
from nipype_datasink.parallel import parallel_map, raise_if_cancelled
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS
from nipype_datasink.s3.errors import code_of, concerns_bucket
from nipype_datasink.s3.listing import StoredObject, list_keys, look_up

_BLOCK_BYTES = 1 << 20
_NOT_FOUND = ("404", "NoSuchKey", "NotFound")


def manifest_keys(bucket: BucketClient, prefix: str) -> list[str]:
    """Return the keys of the manifests below a prefix.

    Parameters
    ----------
    bucket
        The bucket that holds them.
    prefix
        The key of a manifest, which ends in ``.tsv``, or a folder without its last slash.
    """
    if prefix.endswith(".tsv"):
        return [prefix]
    folder = f"{prefix}/" if prefix else ""
    keys = list_keys(bucket.client, bucket.name, folder, bucket.request_args)
    names = [key.removeprefix(folder) for key in keys]
    # As on disk, not in the folders below.
    return [f"{folder}{name}" for name in names if is_manifest_name(name) and "/" not in name]


def read_objects(bucket: BucketClient, keys: Sequence[str]) -> list[bytes]:
    """Return the bytes of small objects.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If one of them cannot be read.
    """

    def read(key: str) -> bytes:
        with closing(bucket.read(key)["Body"]) as body:
            content: bytes = body.read()
            return content

    return parallel_map(read, keys, threads=CLASSIC_REQUESTS.minimum)


def compare_objects(
    bucket: BucketClient, rows: Sequence[ManifestRow], progress: Progress, *, download: bool
) -> list[Finding]:
    """Return what is at the destination of each row, which is an object in the bucket.

    Parameters
    ----------
    bucket
        The bucket.
    rows
        Rows of manifests.
    progress
        Shows how many objects were compared.
    download
        Whether to read the objects and compute their SHA-256. Otherwise sizes and ETags are
        compared, as one listing states them.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If S3 rejects every request, or cannot be reached.
    """
    keys = {_key(row) for row in rows}
    list_objects = partial(look_up, bucket.client, bucket.name, extra=bucket.request_args)
    (stored,) = parallel_map(
        list_objects, [keys], threads=1, own_thread=True, abandon=True, on_wait=progress.show
    )
    phase = begin_verifying(rows, progress)

    def compare(row: ManifestRow) -> Finding:
        file = phase.file(row.size or 0)
        finding = compare_one(row, file)
        file.finish(arrived=False)
        return finding

    def compare_one(row: ManifestRow, file: FileProgress) -> Finding:
        found = stored.get(_key(row))
        if found is None:
            return Finding(row=row, state=State.MISSING)
        if found.size == row.size and download and row.sha256:
            return _compare_bytes(bucket, row, file.add_bytes)
        is_same = _is_same(row, found)
        return Finding(row=row, state=State.AS_DELIVERED if is_same else State.CHANGED)

    threads = CLASSIC_REQUESTS.maximum if download else 1
    return parallel_map(compare, rows, threads=threads, on_wait=progress.show)


def _key(row: ManifestRow) -> str:
    return row.destination.split("/", 3)[3]


def _is_same(row: ManifestRow, found: StoredObject) -> bool:
    etag = found.etag.strip('"')
    return found.size == row.size and (not row.etag or not etag or etag == row.etag)


def _compare_bytes(
    bucket: BucketClient, row: ManifestRow, on_read: Callable[[int], object]
) -> Finding:
    try:
        is_same = _sha256(bucket, _key(row), on_read) == row.sha256
    except ClientError as error:
        if code_of(error) in _NOT_FOUND:
            return Finding(row=row, state=State.MISSING)
        if concerns_bucket(error):
            raise
        return Finding(row=row, state=State.UNREADABLE, cause=str(error))
    return Finding(row=row, state=State.AS_DELIVERED if is_same else State.CHANGED)


def _sha256(bucket: BucketClient, key: str, on_read: Callable[[int], object]) -> str:
    hash_ = hashlib.sha256()
    with closing(bucket.read(key)["Body"]) as body:
        while block := body.read(_BLOCK_BYTES):
            raise_if_cancelled()
            hash_.update(block)
            on_read(len(block))
    return hash_.hexdigest()
