"""Delivery to a bucket: what is there stays, what is not is sent, and S3 confirms each file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from nipype_datasink.delivery import Outcome, Status
from nipype_datasink.errors import DataSinkError, DeliveryError, S3Error
from nipype_datasink.location import S3Prefix
from nipype_datasink.plan import FileTransfer, Plan
from nipype_datasink.progress import Progress, progress_for
from nipype_datasink.s3.comparison import Proof, checksum_proof, etag_proof, holds, part_size_of
from nipype_datasink.s3.injected import send_as_nipype, send_by_hook
from nipype_datasink.s3.listing import StoredObject, list_below, look_up
from nipype_datasink.s3.reference import is_boto3
from nipype_datasink.s3.refusal import DENIED, S3Refused, code_of, concerns_bucket, explain
from nipype_datasink.s3.transfer import Sender

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.service_resource import Bucket

__all__ = ["S3Target"]

_logger = logging.getLogger("nipype.interface")

_DELETED_AT_ONCE = (
    1000  # objects; https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
)


class S3Target:
    """A prefix in a bucket.

    Parameters
    ----------
    location
        Base directory and container.
    open_bucket
        Returns the bucket; called when there is something to deliver.
    upload_args
        boto3's ``ExtraArgs``.
    concurrency
        Requests at a time.
    hook
        A subclass's own way of sending one source to one destination in a bucket, if it has one.
    """

    def __init__(
        self,
        location: S3Prefix,
        open_bucket: Callable[[], Any],
        *,
        upload_args: Mapping[str, Any],
        concurrency: int,
        hook: Callable[[Any, str, str], object] | None = None,
    ) -> None:
        self.location = location
        self._open_bucket = open_bucket
        self._args = upload_args
        self._concurrency = concurrency
        self._hook = hook

    def deliver(self, plan: Plan) -> list[Outcome]:
        """Bring every file of `plan` there; return what became of each."""
        if not plan.transfers:
            return []
        try:
            bucket = self._open_bucket()
            with progress_for(plan.size, self.location.label) as progress:
                return self._way(bucket)(plan, bucket, progress)
        except (DataSinkError, ClientError, BotoCoreError) as error:
            return [
                Outcome(transfer=transfer, status=Status.NOT_TRIED, cause=error)
                for transfer in plan.transfers
            ]

    def error(self, message: str, cause: Exception | None, /) -> DeliveryError:
        """Return the error to be raised where some files did not arrive."""
        return _error(message, cause)

    def _way(self, bucket: Any) -> Callable[[Plan, Any, Progress], list[Outcome]]:
        if self._hook:
            return self._by_hook
        return self._together if is_boto3(bucket) else self._one_by_one

    def _by_hook(self, plan: Plan, bucket: Any, _progress: Progress) -> list[Outcome]:
        assert self._hook
        sent = [send_by_hook(self._hook, bucket, delivery) for delivery in plan.deliveries]
        return [outcome for outcomes in sent for outcome in outcomes]

    def _one_by_one(self, plan: Plan, bucket: Any, progress: Progress) -> list[Outcome]:
        if any(delivery.replaces for delivery in plan.deliveries):
            _logger.warning("%s: remove_dest_dir needs a bucket of boto3", self.location.label)
        sent = [
            send_as_nipype(bucket, delivery, self._args, progress.advance)
            for delivery in plan.deliveries
        ]
        return [outcome for outcomes in sent for outcome in outcomes]

    def _together(self, plan: Plan, bucket: Bucket, progress: Progress) -> list[Outcome]:
        client = bucket.meta.client
        with Sender(
            client,
            bucket.name,
            upload_args=self._args,
            concurrency=self._concurrency,
            progress=progress,
        ) as sender:
            superfluous = _superfluous(plan, client, bucket.name, sender)
            outcomes = self._send(
                plan.transfers, _stored(plan, client, bucket.name, sender), sender
            )
            if superfluous and all(outcome.status.arrived for outcome in outcomes):
                outcomes += _delete(client, bucket.name, superfluous, sender)
        return outcomes

    def _send(
        self,
        transfers: Sequence[FileTransfer],
        stored: Mapping[str, StoredObject],
        sender: Sender,
    ) -> list[Outcome]:
        upload = _Upload(sender, stored, self._args.get("ServerSideEncryption"))
        threads = min(self._concurrency, len(transfers))
        with ThreadPoolExecutor(threads, thread_name_prefix="datasink") as pool:
            try:
                return list(pool.map(upload, transfers))
            except BaseException:  # an interrupt: nothing more is begun
                upload.stop()
                sender.cancel()
                raise


def _error(message: str, cause: Exception | None) -> DeliveryError:
    """Return an error of ours that also is what S3 answered, if it did."""
    if cause:
        message = f"{explain(cause)}; {message}"
    if isinstance(cause, ClientError):
        return S3Refused(message, cause.response, cause.operation_name)
    if isinstance(cause, S3Error):
        return type(cause)(message)
    return S3Error(message)


class _Upload:
    """Decides for one file after the other whether it must be sent, and sends it."""

    def __init__(
        self, sender: Sender, stored: Mapping[str, StoredObject], encryption: str | None
    ) -> None:
        self._sender = sender
        self._stored = stored
        self._encryption = encryption
        self._stopped_by: Exception | None = None
        self._stop = threading.Event()
        self._accepted = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def __call__(self, transfer: FileTransfer) -> Outcome:
        if self._stop.is_set():
            return Outcome(transfer=transfer, status=Status.NOT_TRIED, cause=self._stopped_by)
        try:
            if self._is_there(transfer):
                return Outcome(transfer=transfer, status=Status.UNCHANGED)
            verified = self._sender.send(transfer)
        except (ClientError, BotoCoreError, S3Error, OSError) as error:
            if concerns_bucket(error) or (
                # One denied object among others is its own affair; a first one speaks for all.
                code_of(error) in DENIED and not self._accepted.is_set()
            ):
                self._stopped_by = error
                self._stop.set()
            return Outcome(transfer=transfer, status=Status.FAILED, cause=error)
        self._accepted.set()
        return Outcome(transfer=transfer, status=Status.SENT, verified=verified)

    def _is_there(self, transfer: FileTransfer) -> bool:
        there = self._stored.get(transfer.key)
        if there is None or there.size != transfer.size:
            return False
        proof = etag_proof(there.etag)
        if proof is None or self._encryption:  # a listing tells neither checksum nor encryption
            response = self._head(transfer.key)
            encryption = response.get("ServerSideEncryption")
            if self._encryption and encryption != self._encryption:
                return False
            proof = etag_proof(response.get("ETag", ""), encryption) or checksum_proof(response)
        return proof is not None and self._matches(proof, transfer)

    def _matches(self, proof: Proof, transfer: FileTransfer) -> bool:
        if proof.parts is None:
            return holds(proof, transfer.source)
        ours = part_size_of(transfer.size, proof.parts)
        if ours and holds(proof, transfer.source, ours):
            return True
        # Somebody else's parts may have another size.
        theirs = self._head(transfer.key, PartNumber=1).get("ContentLength")
        return theirs not in (None, ours) and holds(proof, transfer.source, theirs)

    def _head(self, key: str, **extra: Any) -> Mapping[str, Any]:
        try:
            return self._sender.head(key, **extra)
        except ClientError:  # may not look: it is sent
            return {}


def _stored(
    plan: Plan, client: S3Client, bucket: str, sender: Sender
) -> Mapping[str, StoredObject]:
    keys = {transfer.key for transfer in plan.transfers}
    try:
        return look_up(client, bucket, keys, sender.request_args)
    except ClientError as error:
        if code_of(error) not in DENIED:
            raise
        return {}  # may not look: everything is sent


def _superfluous(plan: Plan, client: S3Client, bucket: str, sender: Sender) -> list[str]:
    """Return what is in folders that are to hold only what is delivered (`remove_dest_dir`)."""
    delivered = {transfer.key for transfer in plan.transfers}
    folders = [delivery.replaces for delivery in plan.deliveries if delivery.replaces]
    found = {
        key
        for folder in folders
        for key in list_below(client, bucket, f"{folder.split('/', 3)[3]}/", sender.request_args)
    }
    return sorted(found - delivered)


def _delete(client: S3Client, bucket: str, keys: list[str], sender: Sender) -> list[Outcome]:
    """Delete objects; return an outcome for each that remains."""
    remaining: list[Outcome] = []
    for begin in range(0, len(keys), _DELETED_AT_ONCE):
        batch = keys[begin : begin + _DELETED_AT_ONCE]
        try:
            response = client.delete_objects(
                Bucket=bucket,
                Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True},
                **sender.request_args,
            )
        except (ClientError, BotoCoreError) as error:
            remaining += [_undeleted(bucket, key, error) for key in batch]
            continue
        for item in response.get("Errors", []):
            why = S3Error(f"was not deleted: {item.get('Message') or item.get('Code')}")
            remaining.append(_undeleted(bucket, item.get("Key", ""), why))
    return remaining


def _undeleted(bucket: str, key: str, error: Exception) -> Outcome:
    transfer = FileTransfer(source="", destination=f"s3://{bucket}/{key}", size=0)
    return Outcome(transfer=transfer, status=Status.FAILED, cause=error)
