"""Sending files through boto3: small ones in one request, large ones in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from s3transfer.exceptions import CancelledError
from s3transfer.manager import TransferManager
from s3transfer.subscribers import BaseSubscriber

from nipype_datasink.delivery.execution import Outcome, Status
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.parallel import Pool, parallel_map, raise_if_cancelled, wait_for_result
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.client import session_of
from nipype_datasink.s3.comparison import PART_SIZE
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS, MAX_CLASSIC_PARTS, ConcurrencyEstimator
from nipype_datasink.s3.content_md5 import DigestingClient
from nipype_datasink.s3.content_type import content_type_of
from nipype_datasink.s3.dialect import dialect_of
from nipype_datasink.s3.transport import (
    Version,
    cancelled,
    refuse_change,
    version_of,
)
from nipype_datasink.s3.verification import UploadResponse, UploadVerifier

if TYPE_CHECKING:
    from s3transfer.futures import TransferFuture

    _Begun = tuple[FileTransfer, Version, TransferFuture, Future[None]]

__all__ = ["ClassicTransport"]


class ClassicTransport:
    """Sends files through boto3: small ones first, then large ones in parts.

    Parameters
    ----------
    bucket
        Where they go.
    estimator
        Of requests.
    progress
        Called with the number of bytes sent.
    """

    def __init__(
        self, bucket: BucketClient, *, estimator: ConcurrencyEstimator, progress: Progress
    ) -> None:
        self._bucket = bucket
        self._args = {**_fastest_checksum(bucket), **bucket.upload_args}
        digest = dialect_of(bucket).needs_digest
        self._client: Any = DigestingClient(bucket.client) if digest else bucket.client
        self._estimator = estimator
        self._progress = progress
        self._verifier = UploadVerifier(bucket)

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send every file that can be sent; return what became of each, in order."""
        small = [transfer for transfer in transfers if transfer.size <= PART_SIZE]
        large = [transfer for transfer in transfers if transfer.size > PART_SIZE]
        threads = self._estimator.estimate(CLASSIC_REQUESTS)
        sent = parallel_map(
            lambda item: self._send_small(item, breaker),
            small,
            threads=threads,
            on_interrupt=breaker.open,
        )
        outcomes = {outcome.transfer: outcome for outcome in sent}
        if large:
            outcomes.update(self._send_large(large, breaker))
        return [outcomes[transfer] for transfer in transfers]

    def _send_small(self, transfer: FileTransfer, breaker: CircuitBreaker) -> Outcome:
        if breaker.is_open:
            return Outcome(transfer=transfer, status=Status.NOT_TRIED)
        try:
            before = version_of(transfer.source)
            response = self._put(transfer)
            refuse_change(transfer.source, before)
            verified = self._verifier.verify(transfer, before[0], _answer(response))
        except Exception as error:  # noqa: BLE001 - a client may carry handlers of the user's
            breaker.record_failure(error)
            return Outcome.failure(transfer, error)
        breaker.record_success()
        self._progress(transfer.size)
        return Outcome(transfer=transfer, status=Status.SENT, verified=verified)

    def _send_large(
        self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker
    ) -> dict[FileTransfer, Outcome]:
        at_once = self._estimator.limit or min(MAX_CLASSIC_PARTS, self._estimator.affordable)
        config = TransferConfig(
            multipart_threshold=PART_SIZE,
            multipart_chunksize=PART_SIZE,
            max_concurrency=at_once,
        )
        # The manager aborts what is on its way, parts included, if an interrupt ends it.
        client, pool = _Recorder(self._client), Pool
        with TransferManager(client, config, executor_cls=pool) as manager:  # type: ignore[arg-type]
            begun, outcomes = self._begin(manager, transfers, breaker)
            sent = []
            for transfer, before, future, ended in begun:
                try:
                    wait_for_result(ended)
                    future.result()
                except CancelledError:
                    outcomes[transfer] = cancelled(transfer)
                except Exception as error:  # noqa: BLE001
                    breaker.record_failure(error)
                    outcomes[transfer] = Outcome.failure(transfer, error)
                    if breaker.is_open:
                        _cancel(begun)
                else:
                    breaker.record_success()
                    sent.append((transfer, before))
        answers = client.completions
        for outcome in parallel_map(
            lambda item: self._prove(*item, answers), sent, threads=at_once
        ):
            outcomes[outcome.transfer] = outcome
        return outcomes

    def _begin(
        self, manager: TransferManager, transfers: Sequence[FileTransfer], breaker: CircuitBreaker
    ) -> tuple[list[_Begun], dict[FileTransfer, Outcome]]:
        begun: list[_Begun] = []
        outcomes: dict[FileTransfer, Outcome] = {}
        for transfer in transfers:
            if breaker.is_open:
                outcomes[transfer] = Outcome(transfer=transfer, status=Status.NOT_TRIED)
                continue
            watch = _Watch(self._progress)
            try:
                before = version_of(transfer.source)
                future = manager.upload(
                    transfer.source,
                    self._bucket.name,
                    transfer.key,
                    extra_args=self._args_of(transfer),
                    subscribers=[watch],
                )
            except Exception as error:  # noqa: BLE001
                outcomes[transfer] = Outcome.failure(transfer, error)
                continue
            begun.append((transfer, before, future, watch.ended))
        return begun, outcomes

    def _prove(
        self, transfer: FileTransfer, before: Version, completions: Mapping[str, Mapping[str, Any]]
    ) -> Outcome:
        raise_if_cancelled()
        try:
            refuse_change(transfer.source, before)
            answer = UploadResponse.of_complete_multipart_upload(completions.get(transfer.key, {}))
            verified = self._verifier.verify(transfer, before[0], answer)
        except Exception as error:  # noqa: BLE001
            return Outcome.failure(transfer, error)
        return Outcome(transfer=transfer, status=Status.SENT, verified=verified)

    def _put(self, transfer: FileTransfer) -> Mapping[str, Any]:
        with open(transfer.source, "rb") as body:
            answer: Mapping[str, Any] = self._client.put_object(
                Bucket=self._bucket.name,
                Key=transfer.key,
                Body=body,
                **self._args_of(transfer),
            )
            return answer

    def _args_of(self, transfer: FileTransfer) -> dict[str, Any]:
        content_type = content_type_of(transfer.key)
        return {**({"ContentType": content_type} if content_type else {}), **self._args}


def _fastest_checksum(bucket: BucketClient) -> dict[str, str]:
    """Return the checksum by which a later run recognises even large files at once.

    An injected client sends what it was made to send.
    """
    known = dialect_of(bucket).takes_crc64nvme
    if not (known and bucket.sends_checksums and session_of(bucket.client)):
        return {}
    if has_crt():
        return {"ChecksumAlgorithm": "CRC64NVME"}
    # Under a key of KMS an ETag is no MD5, and boto3's own CRC32 is too short to prove anything.
    is_kms = str(bucket.encryption).startswith("aws:kms")
    return {"ChecksumAlgorithm": "SHA256"} if is_kms else {}


def _answer(response: Mapping[str, Any]) -> UploadResponse:
    told = response.get("ResponseMetadata", {})
    return UploadResponse.of_put_object(
        response, told.get("HTTPHeaders", {}), told.get("HTTPStatusCode", 200)
    )


class _Recorder:
    """A client that keeps what CompleteMultipartUpload answers, which s3transfer does not."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.completions: dict[str, Mapping[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def complete_multipart_upload(self, **kwargs: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._client.complete_multipart_upload(**kwargs)
        self.completions[kwargs["Key"]] = answer
        return answer


def _cancel(begun: Sequence[_Begun]) -> None:
    for _, _, future, _ in begun:
        future.cancel()


class _Watch(BaseSubscriber):
    """Tells of the bytes of one transfer, and of its end."""

    def __init__(self, progress: Progress) -> None:
        self.ended: Future[None] = Future()
        self._progress = progress

    def on_done(self, future: TransferFuture, **_: Any) -> None:  # noqa: ARG002 - see below
        self.ended.set_result(None)

    def on_progress(
        self,
        future: TransferFuture,  # noqa: ARG002 - s3transfer names its arguments
        bytes_transferred: int,
        **_: Any,
    ) -> None:
        self._progress(bytes_transferred)
