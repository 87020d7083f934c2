"""Send files through boto3: small ones in one request, large ones in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from s3transfer.exceptions import CancelledError
from s3transfer.manager import TransferManager
from s3transfer.subscribers import BaseSubscriber

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import FileProgress, PhaseProgress
from nipype_datasink.opening import open_regular
from nipype_datasink.parallel import Pool, parallel_map, raise_if_cancelled, wait_for_result
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.client import session_of
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS, MAX_CLASSIC_PARTS, ConcurrencyEstimator
from nipype_datasink.s3.content_md5 import DigestingClient
from nipype_datasink.s3.content_type import content_type_of
from nipype_datasink.s3.dialect import dialect_of
from nipype_datasink.s3.part_digests import PartDigests
from nipype_datasink.s3.transport import (
    FileVersion,
    cancelled,
    check_unchanged,
    file_version,
    sent_outcome,
)
from nipype_datasink.s3.upload_response import UploadResponse
from nipype_datasink.s3.verification import UploadVerifier

if TYPE_CHECKING:
    from s3transfer.futures import TransferFuture

    _StartedUpload = tuple[FileTransfer, FileVersion, TransferFuture, "_Subscriber"]

_DIGESTING_THREADS = 2  # more would take processor time from s3transfer's threads


class ClassicTransport:
    """Send files through boto3: small ones first, then large ones in parts.

    Parameters
    ----------
    bucket
        Where the files are sent.
    estimator
        Estimates the number of concurrent requests.
    phase
        Counts what is sent.
    """

    def __init__(
        self, bucket: BucketClient, *, estimator: ConcurrencyEstimator, phase: PhaseProgress
    ) -> None:
        self._bucket = bucket
        self._args = {**_fastest_checksum(bucket), **bucket.upload_args}
        needs_md5 = dialect_of(bucket).requires_digest
        self._client: Any = DigestingClient(bucket.client) if needs_md5 else bucket.client
        self._estimator = estimator
        self._phase = phase
        self._part_digests = PartDigests.for_uploads_to(bucket)
        self._verifier = UploadVerifier(bucket, self._part_digests)

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send files; return the outcome of each, in the order of `transfers`."""
        small = [transfer for transfer in transfers if transfer.size <= PART_BYTES]
        large = [transfer for transfer in transfers if transfer.size > PART_BYTES]
        sent = parallel_map(
            lambda item: self._send_small(item, breaker),
            small,
            threads=self._estimator.estimate(CLASSIC_REQUESTS),
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
            before = file_version(transfer.source)
            response = self._put(transfer)
            check_unchanged(transfer.source, before)
            uploaded = _upload_response(response)
            verified = self._verifier.verify(transfer, before[0], uploaded)
        except Exception as error:  # noqa: BLE001 - a user's event handlers may raise anything
            breaker.record_failure(error)
            return Outcome.failure(transfer, error)
        breaker.record_success()
        self._phase.file(transfer.size).finish()
        return sent_outcome(transfer, before[0], uploaded, verified=verified)

    def _send_large(
        self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker
    ) -> dict[FileTransfer, Outcome]:
        requests = self._estimator.limit or min(MAX_CLASSIC_PARTS, self._estimator.affordable)
        config = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=PART_BYTES,
            max_concurrency=requests,
        )
        # After an interrupt, the manager's exit cancels the uploads and aborts their parts.
        client, pool = _RecordingClient(self._client), Pool
        with Pool(_DIGESTING_THREADS) as digesting:
            with TransferManager(client, config, executor_cls=pool) as manager:  # type: ignore[arg-type]
                started, outcomes = self._start(manager, transfers, breaker, digesting)
                sent = []
                for transfer, before, future, subscriber in started:
                    if outcome := self._wait(transfer, future, subscriber, breaker):
                        outcomes[transfer] = outcome
                        self._part_digests.abandon(transfer)
                        if breaker.is_open:
                            _cancel(started)
                    else:
                        sent.append((transfer, before, subscriber.progress))
            responses = client.responses
            for outcome in parallel_map(
                lambda item: self._verify(*item, responses), sent, threads=requests
            ):
                outcomes[outcome.transfer] = outcome
        return outcomes

    def _wait(
        self,
        transfer: FileTransfer,
        future: TransferFuture,
        subscriber: _Subscriber,
        breaker: CircuitBreaker,
    ) -> Outcome | None:
        """Wait until a file is sent; return the outcome if that failed."""
        try:
            wait_for_result(subscriber.done)
            future.result()
        except CancelledError:
            return cancelled(transfer)
        except Exception as error:  # noqa: BLE001
            breaker.record_failure(error)
            return Outcome.failure(transfer, error)
        breaker.record_success()
        return None

    def _start(
        self,
        manager: TransferManager,
        transfers: Sequence[FileTransfer],
        breaker: CircuitBreaker,
        digesting: Executor,
    ) -> tuple[list[_StartedUpload], dict[FileTransfer, Outcome]]:
        started: list[_StartedUpload] = []
        outcomes: dict[FileTransfer, Outcome] = {}
        for transfer in transfers:
            if breaker.is_open:
                outcomes[transfer] = Outcome(transfer=transfer, status=Status.NOT_TRIED)
                continue
            subscriber = _Subscriber(self._phase.file(transfer.size))
            try:
                before = file_version(transfer.source)
                future = manager.upload(
                    transfer.source,
                    self._bucket.name,
                    transfer.key,
                    extra_args=self._args_of(transfer),
                    subscribers=[subscriber],
                )
            except Exception as error:  # noqa: BLE001
                outcomes[transfer] = Outcome.failure(transfer, error)
                continue
            started.append((transfer, before, future, subscriber))
            self._part_digests.begin(transfer, before[0], digesting)
        return started, outcomes

    def _verify(
        self,
        transfer: FileTransfer,
        before: FileVersion,
        progress: FileProgress,
        responses: Mapping[str, Mapping[str, Any]],
    ) -> Outcome:
        raise_if_cancelled()
        try:
            check_unchanged(transfer.source, before)
            fields = responses.get(transfer.key, {})
            response = UploadResponse.from_complete_multipart_upload(fields)
            verified = self._verifier.verify(transfer, before[0], response)
        except Exception as error:  # noqa: BLE001
            return Outcome.failure(transfer, error)
        finally:
            self._part_digests.abandon(transfer)
        progress.finish()
        return sent_outcome(transfer, before[0], response, verified=verified)

    def _put(self, transfer: FileTransfer) -> Mapping[str, Any]:
        with open(transfer.source, "rb", opener=open_regular) as body:
            response: Mapping[str, Any] = self._client.put_object(
                Bucket=self._bucket.name,
                Key=transfer.key,
                Body=body,
                **self._args_of(transfer),
            )
            return response

    def _args_of(self, transfer: FileTransfer) -> dict[str, Any]:
        content_type = content_type_of(transfer.key)
        return {**({"ContentType": content_type} if content_type else {}), **self._args}


def _fastest_checksum(bucket: BucketClient) -> dict[str, str]:
    """Return the checksum by which a later run finds unchanged files fastest, as ``ExtraArgs``.

    The client of an injected bucket keeps the checksum that the user has configured.
    """
    accepted = dialect_of(bucket).accepts_crc64nvme
    if not (accepted and bucket.sends_checksums and session_of(bucket.client)):
        return {}
    if has_crt():
        return {"ChecksumAlgorithm": "CRC64NVME"}
    # With KMS an ETag is not an MD5, and boto3's default, CRC32, cannot show that bytes are equal.
    is_kms = str(bucket.encryption).startswith("aws:kms")
    return {"ChecksumAlgorithm": "SHA256"} if is_kms else {}


def _upload_response(response: Mapping[str, Any]) -> UploadResponse:
    metadata = response.get("ResponseMetadata", {})
    headers, status = metadata.get("HTTPHeaders", {}), metadata.get("HTTPStatusCode", 200)
    return UploadResponse.from_put_object(response, headers, status)


class _RecordingClient:
    """A client that records the responses to CompleteMultipartUpload, which s3transfer drops.

    Threads of the manager add responses, each for another key; they are read when all have ended.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.responses: dict[str, Mapping[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def complete_multipart_upload(self, **kwargs: Any) -> Mapping[str, Any]:
        response: Mapping[str, Any] = self._client.complete_multipart_upload(**kwargs)
        self.responses[kwargs["Key"]] = response
        return response


def _cancel(started: Sequence[_StartedUpload]) -> None:
    for _, _, future, _ in started:
        future.cancel()


class _Subscriber(BaseSubscriber):
    """Report the progress and the end of one upload; threads of the manager call it.

    `TransferFuture.result` waits without a timeout, so an interrupt could be seen only at its end.
    `done` can be waited for in short steps.
    """

    def __init__(self, progress: FileProgress) -> None:
        self.done: Future[None] = Future()
        self.progress = progress

    def on_done(self, future: TransferFuture, **_: Any) -> None:  # noqa: ARG002 - see below
        self.done.set_result(None)

    def on_progress(
        self,
        future: TransferFuture,  # noqa: ARG002 - s3transfer passes it by this name
        bytes_transferred: int,
        **_: Any,
    ) -> None:
        self.progress.add_bytes(bytes_transferred)
