"""Sending as a store wants it: what its refusals ask for is done, and the files are sent again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from nipype_datasink.delivery.execution import Outcome, Status
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.comparison import PART_SIZE
from nipype_datasink.s3.dialect import Dialect, dialect_of, learn, remember
from nipype_datasink.s3.transport import GivenUp, Transport

__all__ = ["AdaptiveTransport"]

_logger = logging.getLogger("nipype.interface")

_CLOCK_SECONDS = 2  # times in answers are whole seconds


class AdaptiveTransport:
    """Sends files through a transport, and once more through another where a store asks for it.

    Parameters
    ----------
    bucket
        Where they go.
    choose
        Returns the transport that suits what is known of the store.
    """

    def __init__(self, bucket: BucketClient, choose: Callable[[], Transport]) -> None:
        self._bucket = bucket
        self._choose = choose
        self._transport = choose()

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send every file that can be sent; return what became of each, in order."""
        outcomes: dict[FileTransfer, Outcome] = {}
        waiting = list(transfers)
        while waiting:
            attempt = _Attempt(breaker, dialect_of(self._bucket))
            begun = time.time()
            try:
                sent = self._transport.send(waiting, attempt)
            except Exception as error:
                if not outcomes:
                    raise
                sent = [Outcome.failure(item, error) for item in waiting]
            outcomes.update((outcome.transfer, outcome) for outcome in sent)
            if attempt.learnt is None or breaker.is_open:
                break
            self._adapt(attempt.dialect, attempt.learnt)
            failed = [outcome for outcome in sent if _may_be_sent(outcome, attempt)]
            waiting = [outcome.transfer for outcome in failed]
            if not attempt.learnt.suits_crt:
                _abort(self._bucket, failed, begun)
            self._transport = self._choose()
        return [outcomes[transfer] for transfer in transfers]

    def _adapt(self, before: Dialect, now: Dialect) -> None:
        remember(self._bucket, now)
        if before.suits_crt and not now.suits_crt:
            _logger.warning(
                "%s: boto3 sends, as only it understands this store; set s3_transfer_client to "
                "'classic' to do so from the start",
                self._bucket.name,
            )
        else:
            _logger.debug("%s: the store asks for %s", self._bucket.name, now)


class _Attempt(CircuitBreaker):
    """End one attempt when it shows a dialect; pass every other result on to the run's breaker."""

    def __init__(self, breaker: CircuitBreaker, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect
        self.learnt: Dialect | None = None
        self._run_breaker = breaker
        self._learning = threading.Lock()  # guards `learnt`

    @property
    def is_open(self) -> bool:
        return self.learnt is not None or self._run_breaker.is_open

    def open(self) -> None:
        self._run_breaker.open()

    def record_success(self) -> None:
        self._run_breaker.record_success()

    def record_listing_failure(self) -> None:
        self._run_breaker.record_listing_failure()

    def record_failure(self, error: BaseException) -> None:
        if not self.teaches(error):
            self._run_breaker.record_failure(error)
            return
        with self._learning:
            self.learnt = self.learnt or learn(error, self.dialect)

    def teaches(self, error: BaseException | None) -> bool:
        return error is not None and learn(error, self.dialect) != self.dialect


def _may_be_sent(outcome: Outcome, attempt: _Attempt) -> bool:
    """Return whether a file did not arrive for no reason but the store's dialect."""
    return (
        outcome.status is Status.NOT_TRIED
        or isinstance(outcome.cause, GivenUp)
        or (outcome.status is Status.FAILED and attempt.teaches(outcome.cause))
    )


def _abort(bucket: BucketClient, outcomes: Iterable[Outcome], begun: float) -> None:
    """Abort the uploads that the runtime has begun without learning their names.

    Others may be sending to the same keys: only what began after `begun`, in seconds since 1970,
    and has no part yet can be such an upload.
    """
    for outcome in outcomes:
        transfer = outcome.transfer
        if outcome.status is Status.NOT_TRIED or transfer.size <= PART_SIZE:
            continue
        try:
            for upload in list(_begun_uploads(bucket, transfer.key, begun)):
                where: Any = {"Key": transfer.key, "UploadId": upload, "Bucket": bucket.name}
                if not bucket.client.list_parts(**where, **bucket.request_args).get("Parts"):
                    bucket.client.abort_multipart_upload(**where, **bucket.request_args)
        except Exception as error:  # noqa: BLE001 - such a store may answer anything
            _logger.warning(
                "%s: an upload of %r may have been left open; abort it: %s",
                bucket.name,
                transfer.key,
                error,
            )
            return


def _begun_uploads(bucket: BucketClient, key: str, begun: float) -> Iterator[str]:
    answer = bucket.client.list_multipart_uploads(
        Bucket=bucket.name, Prefix=key, **bucket.request_args
    )
    now = datetime.now(timezone.utc)
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    # How fast the store's clock is. HTTP's times are in UTC.
    there = parsedate_to_datetime(told).replace(tzinfo=timezone.utc) if told else now
    since = datetime.fromtimestamp(begun - _CLOCK_SECONDS, timezone.utc) + (there - now)
    for upload in answer.get("Uploads", []):
        if upload["Key"] == key and upload["Initiated"] >= since:
            yield upload["UploadId"]
