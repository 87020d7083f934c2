"""Sending files through boto3: small ones in one request, large ones in parts."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from boto3.s3.transfer import S3Transfer, TransferConfig
from s3transfer.manager import TransferManager
from s3transfer.subscribers import BaseSubscriber

from nipype_datasink.errors import S3Error, SettingsError
from nipype_datasink.plan import FileTransfer
from nipype_datasink.progress import Progress
from nipype_datasink.s3.comparison import (
    PART_SIZE,
    checksum_proof,
    confirms,
    etag_proof,
    holds,
    part_size_of,
)

if TYPE_CHECKING:
    from s3transfer.futures import TransferFuture
    from types_boto3_s3.client import S3Client

__all__ = ["Sender", "check_upload_args"]

# nipype would pickle and print them, and an object's own checksum fits one object only.
_REFUSED = ("SSECustomer", "Checksum")
_ALLOWED_CHECKSUM_ARGS = ("ChecksumAlgorithm",)
_FOR_EVERY_REQUEST = ("RequestPayer", "ExpectedBucketOwner")


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


class Sender:
    """Sends files to one bucket through one client.

    Parameters
    ----------
    client
        A boto3 client, used as it is.
    bucket
        Name of the bucket.
    upload_args
        boto3's ``ExtraArgs``.
    concurrency
        Parts at a time.
    progress
        Told of bytes on their way.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        upload_args: Mapping[str, Any],
        concurrency: int,
        progress: Progress,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._args = dict(upload_args)
        self._progress = progress
        self._manager = TransferManager(
            client,
            TransferConfig(
                multipart_threshold=PART_SIZE,
                multipart_chunksize=PART_SIZE,
                max_concurrency=concurrency,
            ),
        )

    @property
    def request_args(self) -> dict[str, Any]:
        """Arguments that every request must carry, not only uploads."""
        return {name: self._args[name] for name in _FOR_EVERY_REQUEST if name in self._args}

    def __enter__(self) -> Sender:
        self._manager.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Aborts what is on its way, parts included, if an interrupt brings us here.
        self._manager.__exit__(kind, error, traceback)

    def cancel(self) -> None:
        """Abort everything that is on its way, parts included."""
        self._manager.shutdown(cancel=True)

    def send(self, transfer: FileTransfer) -> bool:
        """Send one file; return whether the store has proved that it holds the right bytes.

        Raises
        ------
        botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
            If S3 does not take it.
        OSError
            If it cannot be read, or changed meanwhile.
        S3Error
            If the store confirms other bytes than were sent.
        """
        with open(transfer.source, "rb") as file:
            before = _version(file)
            if before[0] < PART_SIZE:
                proved = self._send_whole(file.read(), transfer.key)
            else:
                self._send_parts(transfer)
                proved = self._prove_parts(transfer, before[0])
            if _version(file) != before:
                raise OSError(errno.EIO, "changed while it was read", transfer.source)
        return proved

    def _send_whole(self, body: bytes, key: str) -> bool:
        response = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **self._args)
        self._progress.advance(len(body))
        confirmed = confirms(response, body)
        if confirmed is False:
            raise S3Error("the store confirmed other bytes than were sent")
        return bool(confirmed)

    def _send_parts(self, transfer: FileTransfer) -> None:
        self._manager.upload(
            transfer.source,
            self._bucket,
            transfer.key,
            extra_args=self._args,
            subscribers=[_Watch(self._progress)],
        ).result()

    def _prove_parts(self, transfer: FileTransfer, size: int) -> bool:
        try:
            response = self.head(transfer.key)
        except self._client.exceptions.ClientError:  # it may be written but not looked at
            return False
        if response["ContentLength"] != size:
            raise S3Error(f"the store holds {response['ContentLength']:,} of {size:,} bytes")
        if checksum_proof(response):
            return True
        proof = etag_proof(response.get("ETag", ""), response.get("ServerSideEncryption"))
        part_size = part_size_of(size, proof.parts) if proof and proof.parts else None
        if proof is None or (proof.parts and part_size is None):
            return False
        if not holds(proof, transfer.source, part_size):
            raise S3Error("the store confirmed other bytes than were sent")
        return True

    def head(self, key: str, **extra: Any) -> Mapping[str, Any]:
        """Return what HeadObject tells of an object, its checksums included."""
        return self._client.head_object(
            Bucket=self._bucket, Key=key, ChecksumMode="ENABLED", **self.request_args, **extra
        )


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
