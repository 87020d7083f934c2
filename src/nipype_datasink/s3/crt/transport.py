"""Sending files through the AWS Common Runtime: small ones in one request, large ones in parts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO

from awscrt.http import HttpHeaders, HttpRequest
from awscrt.s3 import (
    S3ChecksumAlgorithm,
    S3ChecksumConfig,
    S3ChecksumLocation,
    S3RequestType,
)

from nipype_datasink.delivery.execution import Outcome, Status
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.parallel import Pool, WorkCancelled, parallel_map, raise_if_cancelled
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.comparison import CHECKSUMS, PART_SIZE, part_size_for
from nipype_datasink.s3.concurrency import CRT_PARTS, CRT_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.content_type import content_type_of
from nipype_datasink.s3.crt.errors import is_cancellation, translated
from nipype_datasink.s3.crt.request import RequestTemplate
from nipype_datasink.s3.crt.throttling import Throttle, attempts_of
from nipype_datasink.s3.dialect import Dialect, dialect_of
from nipype_datasink.s3.transport import (
    Version,
    cancelled,
    refuse_change,
    version_of,
)
from nipype_datasink.s3.verification import UploadResponse, UploadVerifier

if TYPE_CHECKING:
    from awscrt.s3 import S3Client as CrtClient

__all__ = ["CrtTransport", "checksum_of"]

_PROVERS = 2  # files at a time
_TOO_MANY_REQUESTS = 429
# Headers of answers, and what boto3 calls them.
_FIELDS = {
    "etag": "ETag",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-checksum-type": "ChecksumType",
    **{f"x-amz-checksum-{name.lower()}": f"Checksum{name}" for name in CHECKSUMS},
}
_OPENING = 2.0  # seconds; an upload in parts is never aborted if cancelled while it is opened


class CrtTransport:
    """Sends files through the AWS Common Runtime, in the order in which they come.

    Parameters
    ----------
    bucket
        Where they go.
    client
        The runtime's.
    template
        Of its requests.
    estimator
        Of requests.
    progress
        Called with the number of bytes sent.
    """

    def __init__(
        self,
        bucket: BucketClient,
        client: CrtClient,
        template: RequestTemplate,
        *,
        estimator: ConcurrencyEstimator,
        progress: Progress,
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._template = template
        self.progress = progress
        self.attempts = attempts_of(bucket.client)
        self._estimator = estimator
        self._verifier = UploadVerifier(bucket)
        self._requests = self._parts = 1
        self._checksum = checksum_of(
            template, dialect_of(bucket), chosen="ChecksumAlgorithm" in bucket.upload_args
        )

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send every file that can be sent; return what became of each, in order."""
        estimator = self._estimator
        self._requests = estimator.estimate(CRT_REQUESTS)
        parts = estimator.estimate(CRT_PARTS)
        self._parts = min(parts, CRT_PARTS.maximum)
        # An interrupt comes to the main thread; none may come between a request and our note of it.
        with Pool(_PROVERS) as provers:
            run = _Run(self, breaker, provers)
            parallel_map(run.send, [transfers], threads=1, own_thread=True, on_interrupt=run.cancel)
        return [run.outcome(transfer) for transfer in transfers]

    def weight(self, transfer: FileTransfer) -> tuple[int, int]:
        """Return how many requests and bytes of a file are on the way at a time."""
        if transfer.size <= PART_SIZE:
            return 1, transfer.size
        return self._parts_of_one, self._parts_of_one * PART_SIZE

    @property
    def _parts_of_one(self) -> int:
        return max(1, self._parts // 2)  # large files are sent two at a time

    def fits(self, requests: int, size: int) -> bool:
        """Return whether so many requests and bytes may be on the way at a time."""
        return requests <= self._requests and size <= self._parts * PART_SIZE

    def request(self, upload: _Upload) -> Any:
        """Begin to send a file; the runtime calls `upload` when it is done."""
        source, size = upload.transfer.source, upload.version[0]
        large = size > PART_SIZE
        headers = [*self._template.headers, ("Content-Length", str(size))]
        # The template's headers are those of all files.
        content_type = content_type_of(upload.transfer.key)
        if content_type and "ContentType" not in self._bucket.upload_args:
            headers.append(("Content-Type", content_type))
        if self._checksum and not large:
            headers.append(("x-amz-sdk-checksum-algorithm", self._checksum.algorithm.name))
        path = self._template.path(upload.transfer.key)
        return self._client.make_request(
            type=S3RequestType.PUT_OBJECT,
            request=HttpRequest("PUT", path, HttpHeaders(headers), upload.body),
            send_filepath=None if upload.body else source,
            checksum_config=self._checksum,
            part_size=part_size_for(size) if large else None,
            max_active_connections_override=self._parts_of_one if large else None,
            on_headers=upload.on_headers,
            on_done=upload.on_done,
            on_progress=upload.on_progress if large else None,
        )

    def translate(self, error: Exception) -> Exception:
        """Return what boto3 would have raised."""
        return translated(error, self._bucket.client)

    def prove(self, upload: _Upload) -> Outcome:
        """Return what became of a file that the store has taken."""
        raise_if_cancelled()  # many may be waiting for their turn
        transfer, size = upload.transfer, upload.version[0]
        try:
            refuse_change(transfer.source, upload.version)
            verified = self._verifier.verify(transfer, size, upload.answer)
        except Exception as error:  # noqa: BLE001
            return Outcome.failure(transfer, error)
        if size <= PART_SIZE:
            self.progress(size)
        return Outcome(transfer=transfer, status=Status.SENT, verified=verified)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def checksum_of(
    template: RequestTemplate, dialect: Dialect, *, chosen: bool
) -> S3ChecksumConfig | None:
    """Return the checksum that requests carry, or None.

    Parameters
    ----------
    template
        Says which checksum botocore would use, and where.
    dialect
        Of the store.
    chosen
        Whether the user has asked for it; otherwise the fastest takes its place.
    """
    name, trailer = template.checksum_algorithm, template.checksum_in_trailer
    if name is None:
        if not dialect.needs_digest:
            return None
        name, trailer = S3ChecksumAlgorithm.CRC32.name, False  # what most stores take
    elif not chosen and dialect.takes_crc64nvme:
        name = S3ChecksumAlgorithm.CRC64NVME.name
    return S3ChecksumConfig(
        algorithm=S3ChecksumAlgorithm[name],
        location=S3ChecksumLocation.TRAILER if trailer else S3ChecksumLocation.HEADER,
    )


class _Upload:
    """One file on its way; the runtime's threads tell it what the store answers."""

    def __init__(
        self,
        transfer: FileTransfer,
        done: SimpleQueue[_Upload | None],
        progress: Progress,
    ) -> None:
        self.transfer = transfer
        self.version: Version = version_of(transfer.source)
        self.body: BinaryIO | None = None
        if not _is_utf8(transfer.source):  # the runtime cannot open it by name
            self.body = open(transfer.source, "rb")  # noqa: SIM115 - until it is sent
        self.status = 0
        self.headers: dict[str, str] = {}
        self.error: Exception | None = None
        self.request: Any = None
        self._begun = monotonic()
        self._opened = threading.Event()  # or over
        self._done = done
        self._progress = progress

    @property
    def answer(self) -> UploadResponse:
        """What the store has answered; of an upload in parts, to its completion."""
        fields = {_FIELDS[name]: self.headers[name] for name in _FIELDS if name in self.headers}
        if self.version[0] > PART_SIZE:  # the runtime makes a header of the ETag that it has read
            return UploadResponse.of_complete_multipart_upload(fields)
        return UploadResponse.of_put_object(fields, self.headers, self.status)

    def cancel(self) -> None:
        if self.transfer.size > PART_SIZE:
            self._opened.wait(max(0.0, self._begun + _OPENING - monotonic()))
        self.request.cancel()

    def close(self) -> None:
        self.request = None  # which refers to this upload in turn
        if self.body:
            self.body.close()

    def on_headers(
        self, headers: Sequence[tuple[str, str]], status_code: int = 0, **_: Any
    ) -> None:
        self.status = status_code
        self.headers = {name.lower(): value for name, value in headers}

    def on_progress(self, count: int) -> None:
        self._opened.set()  # a part has arrived
        self._progress(count)

    def on_done(self, error: Exception | None = None, **_: Any) -> None:
        self._opened.set()
        self.error = error
        self._done.put(self)


class _Run:
    """What is on its way, and what became of the rest; `send` has a thread of its own."""

    def __init__(self, transport: CrtTransport, breaker: CircuitBreaker, pool: Pool) -> None:
        self._transport = transport
        self._breaker = breaker
        self._pool = pool
        self._done: SimpleQueue[_Upload | None] = SimpleQueue()
        self._under_way: dict[FileTransfer, _Upload] = {}
        self._weight = (0, 0)
        self._outcomes: dict[FileTransfer, Outcome | Future[Outcome]] = {}
        self._throttle = Throttle(transport.attempts)
        self._refused: list[FileTransfer] = []  # to be sent again

    def outcome(self, transfer: FileTransfer) -> Outcome:
        outcome = self._outcomes[transfer]
        return outcome.result() if isinstance(outcome, Future) else outcome

    def send(self, transfers: Sequence[FileTransfer]) -> None:
        waiting = transfers
        try:
            while waiting:
                self._refused = []
                for transfer in waiting:
                    self._make_room(self._transport.weight(transfer))
                    self._begin(transfer)
                self._finish()
                waiting = self._refused
        except WorkCancelled:
            self.cancel()
            raise
        finally:
            self._finish()

    def _finish(self) -> None:
        """Wait for what is under way, also where an interrupt ends the proof of a file."""
        interrupted: WorkCancelled | None = None
        while self._under_way:
            try:
                self._settle(self._done.get())
            except WorkCancelled as error:
                interrupted = error
                self.cancel()
        if interrupted:
            raise interrupted

    def cancel(self) -> None:
        """Begin nothing more, and end what is under way; from any thread."""
        self._breaker.open()
        self._done.put(None)

    def _make_room(self, weight: tuple[int, int]) -> None:
        while self._under_way and not self._fits(*_sum(self._weight, weight)):
            self._settle(self._done.get())
        while self._throttle.pause and not self._breaker.is_open:
            with suppress(Empty):
                self._settle(self._done.get(timeout=self._throttle.pause))

    def _fits(self, requests: int, size: int) -> bool:
        return requests <= self._throttle.limit and self._transport.fits(requests, size)

    def _begin(self, transfer: FileTransfer) -> None:
        if self._breaker.is_open:
            self._outcomes[transfer] = Outcome(transfer=transfer, status=Status.NOT_TRIED)
            return
        try:
            upload = _Upload(transfer, self._done, self._transport.progress)
            upload.request = self._transport.request(upload)
        except Exception as error:  # noqa: BLE001 - the runtime raises builtins of many kinds
            self._outcomes[transfer] = Outcome.failure(transfer, error)
            return
        self._under_way[transfer] = upload
        self._weight = _sum(self._weight, self._transport.weight(transfer))

    def _settle(self, upload: _Upload | None) -> None:
        if upload is None:
            for each in self._under_way.values():
                each.cancel()
            return
        transfer = upload.transfer
        upload.close()
        del self._under_way[transfer]
        under_way, _ = self._weight
        requests, size = self._transport.weight(transfer)
        self._weight = _sum(self._weight, (-requests, -size))
        if upload.error is None:
            self._breaker.record_success()
            self._outcomes[transfer] = self._proof(upload)
        elif is_cancellation(upload.error):
            self._outcomes[transfer] = cancelled(transfer)
        elif _is_throttled(upload.error) and self._throttle.refuse(transfer, under_way):
            self._refused.append(transfer)
        else:
            error = self._transport.translate(upload.error)
            self._outcomes[transfer] = Outcome.failure(transfer, error)
            self._refuse(error)

    def _proof(self, upload: _Upload) -> Outcome | Future[Outcome]:
        if upload.transfer.size <= PART_SIZE:
            return self._transport.prove(upload)
        return self._pool.submit(self._transport.prove, upload)  # may have to be read again

    def _refuse(self, error: Exception) -> None:
        self._breaker.record_failure(error)
        if self._breaker.is_open:
            for other in self._under_way.values():
                if other.transfer.size > PART_SIZE:  # small ones end soon by themselves
                    other.cancel()


def _is_throttled(error: Exception) -> bool:
    return getattr(error, "status_code", None) == _TOO_MANY_REQUESTS  # not retried by the runtime


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
