"""Delivery to a bucket: what is there stays, what is not is sent, and S3 confirms each file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from nipype_datasink.delivery.execution import Outcome, Status, not_tried
from nipype_datasink.delivery.progress import Progress, progress_bar
from nipype_datasink.errors import DeliveryError, S3Error
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.location import S3Prefix
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.s3.adaptive import AdaptiveTransport
from nipype_datasink.s3.boto3_bucket import (
    credential_source,
    is_boto3_resource,
    is_signed,
    secrets_of,
)
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import choose_transport, close_idle_connections
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.concurrency import CRT_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.custom_upload import send_as_nipype, send_by_hook
from nipype_datasink.s3.deletion import delete, exclude_alike
from nipype_datasink.s3.descriptors import reserved_requests
from nipype_datasink.s3.errors import S3ClientError, code_of, concerns_bucket, explain
from nipype_datasink.s3.listing import list_below
from nipype_datasink.s3.redaction import redact
from nipype_datasink.s3.similar_keys import fail_replaced
from nipype_datasink.s3.unchanged import find_unchanged
from nipype_datasink.s3.unknown_size import measured

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

__all__ = ["S3Target"]

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")

_logger = logging.getLogger("nipype.interface")

# What a library, the store or the machine raises where nothing has been sent yet.
_OF_THE_STORE = (BotoCoreError, ClientError, ResponseParserError, S3Error, OSError)


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
        Requests at a time; None leaves it to the work.
    transfer_client
        What sends the files: ``auto``, ``classic`` or ``crt``.
    hook
        A subclass's own way of sending one source to one destination in a bucket, if it has one.
    """

    def __init__(
        self,
        location: S3Prefix,
        open_bucket: Callable[[], Any],
        *,
        upload_args: Mapping[str, Any],
        concurrency: int | None,
        transfer_client: str = "auto",
        hook: Callable[[Any, str, str], object] | None = None,
    ) -> None:
        self.location = location
        self._open_bucket = open_bucket
        self._args = upload_args
        self._concurrency = concurrency
        self._transfer_client = transfer_client
        self._hook = hook
        self._bucket: Any = None
        self._signed = True
        self._secrets: tuple[str | None, ...] = ()

    def deliver(self, plan: Plan) -> list[Outcome]:
        """Bring every file of `plan` there; return what became of each."""
        if not plan.transfers and not any(item.cleared_folder for item in plan.deliveries):
            return []
        try:
            bucket = self._open()
        except Exception as error:  # noqa: BLE001 - subclasses open buckets in their own way
            outcomes = not_tried(plan, error)
        else:
            with progress_bar(plan.size, self.location.label) as progress:
                outcomes = self._way(bucket)(plan, bucket, progress)
        # Most files have no cause, and many may have the same one.
        for cause in {id(item.cause): item.cause for item in outcomes if item.cause}.values():
            redact(cause, self._secrets)
        return outcomes

    def error(self, message: str, causes: Sequence[Exception], /) -> DeliveryError:
        """Return an error of ours that also is what S3 answered, if it did."""
        if not causes:
            return S3Error(message)
        # What concerns the whole bucket says more than what one object suffered before.
        cause = min(causes, key=lambda each: (not concerns_bucket(each), not code_of(each)))
        message = f"{explain(cause, signed=self._signed)}; {message}"
        if isinstance(cause, ClientError):
            error: S3Error = S3ClientError(message, cause.response, cause.operation_name)
        else:
            error = type(cause)(message) if isinstance(cause, S3Error) else S3Error(message)
        error.__cause__ = cause
        return error

    @property
    def credential_source(self) -> str | None:
        """Where boto3 found the credentials of the bucket; None if no bucket was opened."""
        return None if self._bucket is None else credential_source(self._bucket)

    def _open(self) -> Any:
        bucket = self._bucket = self._open_bucket()
        self._check_name(bucket)
        if is_boto3_resource(bucket):
            self._signed = is_signed(bucket)
            self._secrets = secrets_of(bucket)
        return bucket

    def _check_name(self, bucket: Any) -> None:
        name = getattr(bucket, "name", None)
        if isinstance(name, str) and name != self.location.actual_bucket:
            raise S3Error(
                f"the bucket that was opened is {name!r}, not {self.location.actual_bucket!r}; "
                "give base_directory its name, or inject it as the input 'bucket'"
            )

    def _way(self, bucket: Any) -> Callable[[Plan, Any, Progress], list[Outcome]]:
        if self._hook:
            return self._by_hook
        return self._together if is_boto3_resource(bucket) else self._one_by_one

    def _by_hook(self, plan: Plan, bucket: Any, _progress: Progress) -> list[Outcome]:
        assert self._hook
        self._warn_of_removal(plan)
        sent = [send_by_hook(self._hook, bucket, delivery) for delivery in plan.deliveries]
        return [outcome for outcomes in sent for outcome in outcomes]

    def _one_by_one(self, plan: Plan, bucket: Any, progress: Progress) -> list[Outcome]:
        self._warn_of_removal(plan)
        sent = [
            send_as_nipype(bucket, delivery, self._args, progress) for delivery in plan.deliveries
        ]
        return [outcome for outcomes in sent for outcome in outcomes]

    def _warn_of_removal(self, plan: Plan) -> None:
        if any(delivery.cleared_folder for delivery in plan.deliveries):
            _logger.warning(
                "%s: remove_dest_dir removes nothing here; it needs a bucket of boto3's and our "
                "own way of sending",
                self.location.label,
            )

    def _together(self, plan: Plan, boto3_bucket: Bucket, progress: Progress) -> list[Outcome]:
        bucket = BucketClient(
            client=boto3_bucket.meta.client, name=boto3_bucket.name, upload_args=self._args
        )
        with reserved_requests(self._concurrency or CRT_REQUESTS.maximum) as affordable:
            estimator = ConcurrencyEstimator(self._concurrency, affordable=affordable)
            outcomes = self._complete(plan, bucket, estimator, progress)
        close_idle_connections()
        return outcomes

    def _complete(
        self, plan: Plan, bucket: BucketClient, estimator: ConcurrencyEstimator, progress: Progress
    ) -> list[Outcome]:
        """Find out what is missing, send it, and delete what must not remain."""
        breaker = CircuitBreaker()
        with measured(plan.transfers) as files:

            def look(_: None) -> tuple[list[str], set[FileTransfer]]:
                superfluous = _keys_to_delete(plan, bucket)
                return superfluous, find_unchanged(
                    bucket, files.transfers, estimator=estimator, breaker=breaker
                )

            try:
                superfluous, present = _apart(look, None, breaker, abandon=True)
            except _OF_THE_STORE as error:
                return not_tried(plan, error)
            self._tell_of_what_is_not_compared(bucket, len(present))
            outcomes = [Outcome(transfer=item, status=Status.UNCHANGED) for item in present]
            absent = [transfer for transfer in files.transfers if transfer not in present]
            if absent:
                outcomes += self._send(
                    absent, bucket, estimator=estimator, breaker=breaker, progress=progress
                )
                outcomes = _apart(partial(fail_replaced, bucket), outcomes, breaker)
            outcomes = [files.original(outcome) for outcome in outcomes] + files.failures
        if superfluous and all(outcome.status.arrived for outcome in outcomes):
            outcomes += _apart(
                lambda keys: _delete(bucket, keys, plan, estimator), superfluous, breaker
            )
        return outcomes

    def _tell_of_what_is_not_compared(self, bucket: BucketClient, unchanged: int) -> None:
        if unchanged and bucket.not_compared:
            _logger.info(
                "%s: %s of %d unchanged objects not compared; they are as they were",
                self.location.label,
                ", ".join(bucket.not_compared),
                unchanged,
            )

    def _send(
        self,
        transfers: Sequence[FileTransfer],
        bucket: BucketClient,
        *,
        estimator: ConcurrencyEstimator,
        breaker: CircuitBreaker,
        progress: Progress,
    ) -> list[Outcome]:
        try:
            # Not sooner: only an answer teaches boto3 the region of the bucket.
            transport = AdaptiveTransport(
                bucket,
                lambda: choose_transport(
                    self._transfer_client, bucket, estimator=estimator, progress=progress
                ),
            )
        except _OF_THE_STORE as error:
            return [Outcome.failure(item, error, Status.NOT_TRIED) for item in transfers]

        def send(items: Sequence[FileTransfer]) -> list[Outcome]:
            try:
                return transport.send(items, breaker)
            except Exception as error:  # noqa: BLE001 - of ours; what is known of others stays
                return [Outcome.failure(item, error) for item in items]

        return _apart(send, transfers, breaker)


def _apart(
    work: Callable[[_Piece], _Result],
    piece: _Piece,
    breaker: CircuitBreaker,
    *,
    abandon: bool = False,
) -> _Result:
    """Return what `work` makes of `piece` in a thread of its own.

    Signals come to the main thread, and what their handlers raise ends the whole delivery. There
    botocore would take it for an error of its own, and try again.
    """
    (result,) = parallel_map(
        work, [piece], threads=1, own_thread=True, abandon=abandon, on_interrupt=breaker.open
    )
    return result


def _delete(
    bucket: BucketClient, keys: Sequence[str], plan: Plan, estimator: ConcurrencyEstimator
) -> list[Outcome]:
    try:
        others = exclude_alike(bucket, keys, {transfer.key for transfer in plan.transfers})
        return delete(bucket, others, estimator=estimator)
    except Exception as error:  # noqa: BLE001 - what was sent stays known
        places = [f"s3://{bucket.name}/{key}" for key in keys]
        transfers = [FileTransfer(source="", destination=place, size=0) for place in places]
        return [Outcome.failure(transfer, error) for transfer in transfers]


def _keys_to_delete(plan: Plan, bucket: BucketClient) -> list[str]:
    """Return what is in folders that are to hold only what is delivered (`remove_dest_dir`)."""
    delivered = {transfer.key for transfer in plan.transfers}
    folders = [delivery.cleared_folder for delivery in plan.deliveries if delivery.cleared_folder]
    found = {
        key
        for folder in folders
        for key in list_below(
            bucket.client, bucket.name, f"{folder.split('/', 3)[3]}/", bucket.request_args
        )
    }
    return sorted(found - delivered)
