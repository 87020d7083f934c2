"""Adapt to a store: if its errors show what it requires, send the files again accordingly."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.dialect import Dialect, dialect_after, dialect_of, remember_dialect
from nipype_datasink.s3.transport import Transport, UploadCancelled

_logger = logging.getLogger("nipype.interface")

_CLOCK_RESOLUTION_SECONDS = 2  # times in responses are whole seconds


class AdaptiveTransport:
    """Send files, and send them again in another way if the store's errors ask for it.

    Parameters
    ----------
    bucket
        Where the files are sent.
    choose
        Returns the transport for what is known of the store at that time.
    """

    def __init__(self, bucket: BucketClient, choose: Callable[[], Transport]) -> None:
        self._bucket = bucket
        self._choose = choose
        self._transport = choose()

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send files; return the outcome of each, in the order of `transfers`."""
        outcomes: dict[FileTransfer, Outcome] = {}
        waiting = list(transfers)
        while waiting:
            attempt = _AttemptBreaker(breaker, dialect_of(self._bucket))
            start = time.time()
            try:
                sent = self._transport.send(waiting, attempt)
            except Exception as error:
                if not outcomes:
                    raise
                # Outcomes of the attempts before must not be lost.
                sent = [Outcome.failure(item, error) for item in waiting]
            outcomes.update((outcome.transfer, outcome) for outcome in sent)
            # Each new dialect differs from the one before in one more field, so this loop ends.
            if attempt.new_dialect is None or breaker.is_open:
                break
            self._adapt(attempt.dialect, attempt.new_dialect)
            failed = [outcome for outcome in sent if _can_be_repeated(outcome, attempt)]
            waiting = [outcome.transfer for outcome in failed]
            if not attempt.new_dialect.works_with_crt:
                _abort_uploads(self._bucket, failed, start)
            self._transport = self._choose()
        return [outcomes[transfer] for transfer in transfers]

    def _adapt(self, before: Dialect, now: Dialect) -> None:
        remember_dialect(self._bucket, now)
        if before.works_with_crt and not now.works_with_crt:
            _logger.warning(
                "%s: the AWS CRT cannot interpret this store's responses, so boto3 sends the files;"
                " set s3_transfer_client to 'classic' to use it from the start",
                self._bucket.name,
            )
        else:
            _logger.debug("%s: the store requires %s", self._bucket.name, now)


class _AttemptBreaker(CircuitBreaker):
    """The breaker of one attempt: it opens, too, when an error shows a new dialect.

    Such an error is not recorded as a failure of the run, as the files will be sent again.
    Everything else is passed on to the breaker of the run.
    """

    def __init__(self, breaker: CircuitBreaker, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect
        self.new_dialect: Dialect | None = None
        self._run_breaker = breaker
        # Guards `new_dialect` where several threads find one; reading it needs no lock.
        self._dialect_lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self.new_dialect is not None or self._run_breaker.is_open

    def open(self) -> None:
        self._run_breaker.open()

    def record_success(self) -> None:
        self._run_breaker.record_success()

    def record_listing_failure(self) -> None:
        self._run_breaker.record_listing_failure()

    def record_failure(self, error: BaseException) -> None:
        if not self.shows_new_dialect(error):
            self._run_breaker.record_failure(error)
            return
        with self._dialect_lock:
            self.new_dialect = self.new_dialect or dialect_after(error, self.dialect)

    def shows_new_dialect(self, error: BaseException | None) -> bool:
        return error is not None and dialect_after(error, self.dialect) != self.dialect


def _can_be_repeated(outcome: Outcome, attempt: _AttemptBreaker) -> bool:
    """Return whether the store's dialect is the only reason why a file did not arrive."""
    return (
        outcome.status is Status.NOT_TRIED
        or isinstance(outcome.cause, UploadCancelled)
        or (outcome.status is Status.FAILED and attempt.shows_new_dialect(outcome.cause))
    )


def _abort_uploads(bucket: BucketClient, outcomes: Iterable[Outcome], start: float) -> None:
    """Abort the multipart uploads whose ids the AWS CRT could not find in the responses.

    Other programs may be sending to the same keys. Only an upload that was created after `start`,
    in seconds since 1970, and that has no part yet can be one of this run.
    """
    for outcome in outcomes:
        transfer = outcome.transfer
        if outcome.status is Status.NOT_TRIED or transfer.size <= PART_BYTES:
            continue
        try:
            for upload_id in list(_upload_ids(bucket, transfer.key, start)):
                args: Any = {"Key": transfer.key, "UploadId": upload_id, "Bucket": bucket.name}
                if not bucket.client.list_parts(**args, **bucket.request_args).get("Parts"):
                    bucket.client.abort_multipart_upload(**args, **bucket.request_args)
        except Exception as error:  # noqa: BLE001 - responses of such a store may have any form
            _logger.warning(
                "%s: a multipart upload of %r may be left open; abort it: %s",
                bucket.name,
                transfer.key,
                error,
            )
            return


def _upload_ids(bucket: BucketClient, key: str, start: float) -> Iterator[str]:
    """Yield the ids of the open multipart uploads of a key that were created after `start`."""
    response = bucket.client.list_multipart_uploads(
        Bucket=bucket.name, Prefix=key, **bucket.request_args
    )
    # The store's clock may be wrong by hours. Its dates have no time zone, but HTTP's are in UTC.
    now = datetime.now(timezone.utc)
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    store_now = parsedate_to_datetime(date).replace(tzinfo=timezone.utc) if date else now
    since = datetime.fromtimestamp(start - _CLOCK_RESOLUTION_SECONDS, timezone.utc) + (
        store_now - now
    )
    for upload in response.get("Uploads", []):
        if upload["Key"] == key and upload["Initiated"] >= since:
            yield upload["UploadId"]
