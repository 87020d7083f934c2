"""Sending files through boto3: small ones in one request, large ones in parts."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.manager import TransferManager
from s3transfer.subscribers import BaseSubscriber

from nipype_datasink.delivery import Outcome, Status
from nipype_datasink.errors import S3Error, SettingsError
from nipype_datasink.plan import FileTransfer
from nipype_datasink.progress import Progress
from nipype_datasink.s3.comparison import (
    PART_SIZE,
    confirms,
    etag_proof,
    holds,
    part_size_of,
)
from nipype_datasink.s3.refusal import Trouble
from nipype_datasink.s3.store import Store

if TYPE_CHECKING:
    from s3transfer.futures import TransferFuture

__all__ = ["ClassicTransport", "Transport", "check_upload_args"]

# nipype would pickle and print them, and an object's own checksum fits one object only.
_REFUSED = ("SSECustomer", "Checksum")
_ALLOWED_CHECKSUM_ARGS = ("ChecksumAlgorithm",)


def check_upload_args(args: Mapping[str, Any]) -> None:
    """Refuse upload arguments that boto3 does not know or that are no setting of a whole sink.

    Raises
    ------
    SettingsError
        Naming the argument.
    """
    for name in args:
        if name not in S3Transfer.ALLOWED_UPLOAD_ARGS:
            known = ", ".join(S3Transfer.ALLOWED_UPLOAD_ARGS)
            raise SettingsError(f"s3_upload_args: boto3 knows no {name!r}; it knows {known}")
        if name == "MpuObjectSize" or (
            name.startswith(_REFUSED) and name not in _ALLOWED_CHECKSUM_ARGS
        ):
            reason = (
                "it is a secret, which nipype would write into reports and pickles; "
                "use ServerSideEncryption 'aws:kms' with SSEKMSKeyId"
                if name.startswith("SSECustomer")
                else "it says something about one object and not about all"
            )
            raise SettingsError(f"s3_upload_args: {name!r} is refused: {reason}")


class Transport(Protocol):
    """A way of sending files to a bucket."""

    def send(self, transfers: Sequence[FileTransfer]) -> list[Outcome]:
        """Send every file that can be sent; return what became of each, in order."""


class ClassicTransport:
    """Sends files through boto3.

    Parameters
    ----------
    store
        Where they go.
    concurrency
        Requests at a time.
    progress
        Told of bytes on their way.
    """

    def __init__(self, store: Store, *, concurrency: int, progress: Progress) -> None:
        self._store = store
        self._concurrency = concurrency
        self._progress = progress
        self._manager = TransferManager(
            store.client,
            TransferConfig(
                multipart_threshold=PART_SIZE,
                multipart_chunksize=PART_SIZE,
                max_concurrency=concurrency,
            ),
        )

    def send(self, transfers: Sequence[FileTransfer]) -> list[Outcome]:
        """Send every file that can be sent; return what became of each, in order."""
        trouble = Trouble()
        threads = min(self._concurrency, len(transfers))
        # The manager ends first, so that an interrupt cancels what the threads wait for.
        with ThreadPoolExecutor(threads, thread_name_prefix="datasink") as pool, self._manager:
            try:
                return list(pool.map(lambda transfer: self._try(transfer, trouble), transfers))
            except BaseException:
                trouble.stop()
                raise

    def _try(self, transfer: FileTransfer, trouble: Trouble) -> Outcome:
        if trouble.stopped:
            return Outcome(transfer=transfer, status=Status.NOT_TRIED)
        try:
            verified = self._send(transfer)
        except (ClientError, BotoCoreError, S3Error, OSError) as error:
            trouble.refuse(error)
            return Outcome(transfer=transfer, status=Status.FAILED, cause=error)
        trouble.accept()
        return Outcome(transfer=transfer, status=Status.SENT, verified=verified)

    def _send(self, transfer: FileTransfer) -> bool:
        """Send one file; return whether the store has proved that it holds the right bytes."""
        with open(transfer.source, "rb") as file:
            before = _version(file)
            if before[0] < PART_SIZE:
                verified = self._send_whole(file.read(), transfer.key)
            else:
                self._send_parts(transfer)
                verified = self._prove_parts(transfer, before[0])
            if _version(file) != before:
                raise OSError(errno.EIO, "changed while it was read", transfer.source)
        return verified

    def _send_whole(self, body: bytes, key: str) -> bool:
        store = self._store
        response = store.client.put_object(
            Bucket=store.bucket, Key=key, Body=body, **store.upload_args
        )
        self._progress.advance(len(body))
        confirmed = confirms(response, body)
        if confirmed is False:
            raise S3Error("the store confirmed other bytes than were sent")
        return bool(confirmed)

    def _send_parts(self, transfer: FileTransfer) -> None:
        self._manager.upload(
            transfer.source,
            self._store.bucket,
            transfer.key,
            extra_args=dict(self._store.upload_args),
            subscribers=[_Watch(self._progress)],
        ).result()

    def _prove_parts(self, transfer: FileTransfer, size: int) -> bool:
        try:
            response = self._store.head(transfer.key)
        except ClientError:  # it may be written but not looked at
            return False
        if response["ContentLength"] != size:
            raise S3Error(f"the store holds {response['ContentLength']:,} of {size:,} bytes")
        if any(name.startswith("Checksum") for name in response):
            return True  # the store has compared each part with its checksum
        proof = etag_proof(response.get("ETag", ""), response.get("ServerSideEncryption"))
        part_size = part_size_of(size, proof.parts) if proof and proof.parts else None
        if proof is None or (proof.parts and part_size is None):
            return False
        if not holds(proof, transfer.source, part_size):
            raise S3Error("the store confirmed other bytes than were sent")
        return True


class _Watch(BaseSubscriber):
    """Tells of the bytes of one transfer."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_progress(
        self,
        future: TransferFuture,  # noqa: ARG002 - s3transfer names its arguments
        bytes_transferred: int,
        **_: Any,
    ) -> None:
        self._progress.advance(bytes_transferred)


def _version(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
