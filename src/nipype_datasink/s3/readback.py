"""Read objects back, to compare them with their files byte for byte."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from nipype_datasink.parallel import raise_if_cancelled
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient

__all__ = ["holds_file"]

_BLOCK = 1 << 20  # bytes


def holds_file(bucket: BucketClient, transfer: FileTransfer, size: int) -> bool:
    """Return whether an object holds the bytes of its file; stop at the first that differs.

    Parameters
    ----------
    bucket
        Where the object is.
    transfer
        The file and its key.
    size
        Of the file, in bytes.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If the object cannot be read.
    """
    told = bucket.read(transfer.key)
    with closing(told["Body"]) as body, open(transfer.source, "rb") as file:
        return told.get("ContentLength", size) == size and _are_same(body, file, size)


def _are_same(body: Any, file: Any, size: int) -> bool:
    left = size  # botocore compares checksums at the end, but these bytes are what counts
    while left:
        raise_if_cancelled()
        block = body.read(min(left, _BLOCK))
        if not block or block != file.read(len(block)):
            return False
        left -= len(block)
    return True
