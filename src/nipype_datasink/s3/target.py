"""Deliver a plan to a bucket: send the files that are not there yet, then delete old objects.

Four steps: list what is there and compare it, send the rest, look for files that have overwritten
each other, and delete what `remove_dest_dir` asks for. Each step runs in a thread of its own, so
that signals cannot interrupt botocore; see `own_thread`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from nipype_datasink.delivery.changes import Change
from nipype_datasink.delivery.check_report import CheckOptions, PlaceReport
from nipype_datasink.delivery.failure_report import Explanation
from nipype_datasink.delivery.outcome import Outcome, Status, not_tried
from nipype_datasink.delivery.progress import Progress, amount_of
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.delivery.setting_names import rename
from nipype_datasink.errors import DeliveryError, S3Error, with_original
from nipype_datasink.planning.location import S3Prefix
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.s3.access import AccessSettings
from nipype_datasink.s3.adaptive import AdaptiveTransport
from nipype_datasink.s3.boto3_bucket import is_boto3_resource, is_signed, secrets_of
from nipype_datasink.s3.bucket_client import BucketClient, check_opened_bucket
from nipype_datasink.s3.changes import find_changes
from nipype_datasink.s3.check import check_prefix
from nipype_datasink.s3.choice import choose_transport, close_idle_connections, open_head_sender
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.concurrency import CRT_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.custom_upload import send_one_by_one
from nipype_datasink.s3.deletion import delete, keys_to_delete
from nipype_datasink.s3.descriptors import reserved_requests
from nipype_datasink.s3.errors import S3ClientError, code_of, concerns_bucket, explain
from nipype_datasink.s3.own_thread import run_in_own_thread
from nipype_datasink.s3.redaction import redact
from nipype_datasink.s3.sent_again import describe_sent_again
from nipype_datasink.s3.similar_keys import mark_overwritten
from nipype_datasink.s3.unchanged import BucketContents, compare_with_bucket
from nipype_datasink.s3.unknown_size import with_known_sizes

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

_Result = TypeVar("_Result")

_logger = logging.getLogger("nipype.interface")

# What can be raised before the first file is sent: by boto3, by the store, or by the system. The
# files are then "not tried". Any other exception is a defect of this library.
_STORE_ERRORS = (BotoCoreError, ClientError, ResponseParserError, S3Error, OSError)


class S3Target:
    """A prefix in a bucket.

    Parameters
    ----------
    location
        Base directory and container.
    open_bucket
        Returns the bucket. It is called only if there is something to deliver.
    upload_args
        boto3's ``ExtraArgs``.
    concurrency
        Maximum number of concurrent requests; with None it depends on the work.
    transfer_client
        What sends the files: ``auto``, ``classic`` or ``crt``.
    access
        Settings that decide how the bucket is reached, for errors and checks.
    hook
        A subclass's own ``_upload_to_s3(bucket, source, destination)``, if it has one.
    before_removal
        Called before the first object is deleted (`remove_dest_dir`). If it raises an error,
        nothing is deleted.
    """

    def __init__(  # noqa: PLR0913 - the settings of a bucket
        self,
        location: S3Prefix,
        open_bucket: Callable[[], Any],
        *,
        upload_args: Mapping[str, Any],
        concurrency: int | None,
        transfer_client: str = "auto",
        access: AccessSettings | None = None,
        hook: Callable[[Any, str, str], object] | None = None,
        before_removal: Callable[[], object] = lambda: None,
    ) -> None:
        self.location = location
        self._open_bucket = open_bucket
        self._upload_args = upload_args
        self._concurrency = concurrency
        self._transfer_client = transfer_client
        self._access = access or AccessSettings()
        self._hook = hook
        self._before_removal = before_removal
        self._bucket: Any = None
        self._signed = True
        self._secrets: tuple[str | None, ...] = ()

    def deliver(self, plan: Plan, progress: Progress) -> list[Outcome]:
        """Deliver every file of `plan`; return the outcome of each."""
        if not plan.transfers and not plan.clears_folders:
            return []
        try:
            bucket = self._open()
        except Exception as error:  # noqa: BLE001 - subclasses open buckets in their own way
            outcomes = not_tried(plan, error)
        else:
            outcomes = self._deliver_to(bucket, plan, progress)
        # By `id`, as many outcomes may share one cause, and each is searched only once.
        for cause in {id(item.cause): item.cause for item in outcomes if item.cause}.values():
            redact(cause, self._secrets)
        return outcomes

    def check(self, options: CheckOptions) -> PlaceReport:
        """Find out whether the prefix would accept files; no object remains."""
        return check_prefix(self.location, self._open, self._upload_args, self._access, options)

    def compare(self, transfers: Sequence[FileTransfer]) -> dict[FileTransfer, Change]:
        """Return what a delivery would change; nothing is sent. Errors are those of `read`."""

        def find(bucket: Any) -> dict[FileTransfer, Change]:
            if self._hook or not is_boto3_resource(bucket):
                return dict.fromkeys(transfers, Change.UNKNOWN)
            return find_changes(self._client(bucket), transfers)

        return self.read(find, "its files cannot be compared")

    def read(self, function: Callable[[Any], _Result], message: str) -> _Result:
        """Return what `function` returns for the bucket; it sends no file.

        Raises
        ------
        S3Error
            If the bucket cannot be reached, or rejects every request; with `message`.
        """
        try:
            return run_in_own_thread(function, self._open(), CircuitBreaker(), abandon=True)
        except _STORE_ERRORS as error:
            redact(error, self._secrets)
            message = f"{self.explain([error]).text}; {message}"
            raise with_original(self.error(message, error), error) from None

    def explain(self, causes: Sequence[Exception], /) -> Explanation:
        """Return why files were not delivered, and how the bucket was reached."""
        context = self._access.describe(self._bucket)
        if not causes:
            return Explanation(text="files were not delivered", context=context)
        # An error of the whole bucket explains more than an error of one object before it.
        cause = min(causes, key=lambda each: (not concerns_bucket(each), not code_of(each)))
        names = self._access.setting_names(self._bucket)
        text = rename(explain(cause, signed=self._signed), names)
        return Explanation(text=text, cause=cause, context=context)

    def remove(self, destination: str) -> None:
        """Delete one object, unless it does not exist. Errors are those of `read`."""
        key = destination.split("/", 3)[3]

        def delete_object(bucket: Any) -> None:
            bucket.Object(key=key).delete(**self._client(bucket).request_args)

        self.read(delete_object, f"{destination} was not deleted")

    def error(self, message: str, cause: Exception | None, /) -> DeliveryError:
        """Return the error of a delivery; it is botocore's ``ClientError`` too if S3 answered."""
        if isinstance(cause, ClientError):
            return S3ClientError(message, cause.response, cause.operation_name)
        return type(cause)(message) if isinstance(cause, S3Error) else S3Error(message)

    def _open(self) -> Any:
        bucket = self._bucket = self._open_bucket()
        check_opened_bucket(bucket, self.location.actual_bucket)
        if is_boto3_resource(bucket):
            self._signed = is_signed(bucket)
            self._secrets = secrets_of(bucket)
        return bucket

    def _deliver_to(self, bucket: Any, plan: Plan, progress: Progress) -> list[Outcome]:
        if is_boto3_resource(bucket) and not self._hook:
            return self._deliver_to_boto3_bucket(bucket, plan, progress)
        phase = progress.begin(Phase.SENDING, amount_of(plan.transfers))
        return send_one_by_one(self._hook, bucket, plan, self._upload_args, phase)

    def _deliver_to_boto3_bucket(
        self, boto3_bucket: Bucket, plan: Plan, progress: Progress
    ) -> list[Outcome]:
        bucket = self._client(boto3_bucket)
        with reserved_requests(self._concurrency or CRT_REQUESTS.maximum) as affordable:
            estimator = ConcurrencyEstimator(self._concurrency, affordable=affordable)
            outcomes = self._send_and_delete(plan, bucket, estimator, progress)
        close_idle_connections()
        return outcomes

    def _client(self, bucket: Bucket) -> BucketClient:
        return BucketClient(
            client=bucket.meta.client, name=bucket.name, upload_args=self._upload_args
        )

    def _send_and_delete(
        self, plan: Plan, bucket: BucketClient, estimator: ConcurrencyEstimator, progress: Progress
    ) -> list[Outcome]:
        """Send the files that are not in the bucket; delete objects only if all have arrived."""
        breaker = CircuitBreaker()
        open_heads = partial(open_head_sender, self._transfer_client, bucket, estimator=estimator)
        with with_known_sizes(plan.transfers) as files:

            def inspect(_: None) -> tuple[list[str], BucketContents]:
                to_delete = keys_to_delete(plan, bucket)
                return to_delete, compare_with_bucket(
                    bucket,
                    files.transfers,
                    estimator=estimator,
                    breaker=breaker,
                    progress=progress,
                    open_heads=open_heads,
                )

            try:
                # Only reads, so an interrupt need not wait for the last response.
                to_delete, found = run_in_own_thread(
                    inspect, None, breaker, abandon=True, on_wait=progress.show
                )
            except _STORE_ERRORS as error:
                return not_tried(plan, error)
            self._log_not_compared(bucket, len(found.unchanged))
            outcomes = found.unchanged_outcomes()
            to_send = [transfer for transfer in files.transfers if transfer not in found.unchanged]
            if to_send:
                sent = self._send(
                    to_send, bucket, estimator=estimator, breaker=breaker, progress=progress
                )
                if text := describe_sent_again(found.mismatches, sent, bucket.encryption):
                    _logger.info("%s: %s", self.location.label, text)
                outcomes += map(found.with_known_status, sent)
                progress.begin(Phase.VERIFYING)
                outcomes = run_in_own_thread(
                    partial(mark_overwritten, bucket), outcomes, breaker, on_wait=progress.show
                )
            outcomes = [files.original(outcome) for outcome in outcomes] + files.failures
        if to_delete and all(outcome.status.arrived for outcome in outcomes):
            delivered = {transfer.key for transfer in plan.transfers}
            delete_all = partial(
                delete,
                bucket,
                delivered=delivered,
                estimator=estimator,
                before=self._before_removal,
                phase=progress.begin(Phase.REMOVING, Amount(files=len(to_delete))),
            )
            outcomes += run_in_own_thread(delete_all, to_delete, breaker, on_wait=progress.show)
        return outcomes

    def _log_not_compared(self, bucket: BucketClient, unchanged: int) -> None:
        if unchanged and bucket.not_compared:
            names = ", ".join(bucket.not_compared)
            text = f"of {unchanged:,} unchanged objects were not compared and are not updated"
            _logger.info("%s: %s %s", self.location.label, names, text)

    def _send(
        self,
        transfers: Sequence[FileTransfer],
        bucket: BucketClient,
        *,
        estimator: ConcurrencyEstimator,
        breaker: CircuitBreaker,
        progress: Progress,
    ) -> list[Outcome]:
        phase = progress.begin(Phase.SENDING, amount_of(transfers))
        try:
            # Chosen after the listing: boto3 learns the region of the bucket from a response, and
            # the AWS Common Runtime must know it from the start.
            transport = AdaptiveTransport(
                bucket,
                lambda: choose_transport(
                    self._transfer_client, bucket, estimator=estimator, phase=phase
                ),
            )
        except _STORE_ERRORS as error:
            return [Outcome.failure(item, error, Status.NOT_TRIED) for item in transfers]

        def send(items: Sequence[FileTransfer]) -> list[Outcome]:
            try:
                return transport.send(items, breaker)
            except Exception as error:  # noqa: BLE001 - a defect here must not hide other outcomes
                return [Outcome.failure(item, error) for item in items]

        return run_in_own_thread(send, transfers, breaker, on_wait=progress.show)
