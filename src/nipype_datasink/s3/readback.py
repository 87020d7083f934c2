"""Read objects back and compare them with their files, byte by byte."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from nipype_datasink.opening import open_regular
from nipype_datasink.parallel import raise_if_cancelled
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient

_BLOCK_BYTES = 1 << 20


def equals_file(bucket: BucketClient, transfer: FileTransfer, size: int) -> bool:
    """Return whether an object has the same bytes as its file; stop at the first difference.

    Parameters
    ----------
    bucket
        The bucket that holds the object.
    transfer
        The file and its key.
    size
        Size of the file in bytes.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        If the object cannot be read.
    """
    response = bucket.read(transfer.key)
    with (
        closing(response["Body"]) as body,
        open(transfer.source, "rb", opener=open_regular) as file,
    ):
        return response.get("ContentLength", size) == size and _have_equal_bytes(body, file, size)


def _have_equal_bytes(body: Any, file: Any, size: int) -> bool:
    # Read no further than `size`. At the end of the body botocore would compare a checksum and may
    # raise an error, but only the bytes themselves count here.
    left = size
    while left:
        raise_if_cancelled()
        block = body.read(min(left, _BLOCK_BYTES))
        if not block or block != file.read(len(block)):
            return False
        left -= len(block)
    return True
