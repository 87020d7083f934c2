"""Delete objects, also in stores that cannot delete many with one request."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.delivery.progress import PhaseProgress
from nipype_datasink.errors import S3Error
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.places import normalize_name
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.errors import DENIED, code_of, concerns_bucket
from nipype_datasink.s3.listing import list_keys, look_up

if TYPE_CHECKING:
    from botocore.hooks import BaseEventHooks

_logger = logging.getLogger("nipype.interface")

_MAX_OBJECTS_PER_REQUEST = (
    1000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
)
_NO_CONTENT, _SERVER_ERROR = 204, 500
_NOT_FOUND = ("NoSuchKey", "NotFound", "404")


def send_content_md5(events: BaseEventHooks) -> None:
    """Make a client send ``Content-MD5`` with DeleteObjects; `events` are the client's.

    S3 required this header before it had other checksums. Some stores still do, and boto3 no longer
    sends it.
    """
    events.register("before-call.s3.DeleteObjects", _add_content_md5)


def _add_content_md5(params: Mapping[str, Any], **_: Any) -> None:
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def delete(
    bucket: BucketClient,
    keys: Sequence[str],
    *,
    delivered: Collection[str],
    estimator: ConcurrencyEstimator,
    before: Callable[[], object],
    phase: PhaseProgress,
) -> list[Outcome]:
    """Delete objects; return an outcome for each that remains.

    If the store does not confirm that a key was deleted, or cannot delete many keys with one
    request, those keys are deleted one by one.

    Parameters
    ----------
    bucket
        The bucket that holds the objects.
    keys
        Keys to delete, as listed before anything was delivered.
    delivered
        Keys that must stay, in any spelling.
    estimator
        Decides how many requests are sent at the same time.
    before
        Called before the first key is deleted, if there is any. If it raises an error, nothing is
        deleted.
    phase
        Counts the keys.
    """
    try:
        deletable = _exclude_other_spellings(bucket, keys, delivered)
        if deletable:
            before()
        remaining = _delete_keys(bucket, deletable, estimator, phase)
    except Exception as error:  # noqa: BLE001 - the outcomes of sent files must not be lost
        remaining = dict.fromkeys(keys, error)
    return [_failure(bucket, key, error) for key, error in remaining.items()]


def _exclude_other_spellings(
    bucket: BucketClient, keys: Sequence[str], delivered: Collection[str]
) -> list[str]:
    """Return `keys` without those that may be another spelling of a delivered key.

    A gateway to a file system that ignores case or Unicode form keeps one object for two spellings,
    and lists it under the first. To delete that name would delete the file that was just sent. If
    the two keys are two objects, the store lists both, and the old one may be deleted.
    """
    spellings: dict[str, list[str]] = {}
    for key in delivered:
        spellings.setdefault(normalize_name(key), []).append(key)
    # For each doubtful key, the delivered keys that it may be another spelling of.
    similar = {
        key: spellings[normalize_name(key)] for key in keys if normalize_name(key) in spellings
    }
    others = {other for group in similar.values() for other in group}
    listed = look_up(bucket.client, bucket.name, others, bucket.request_args)
    stay = [key for key, group in similar.items() if not all(other in listed for other in group)]
    for key in stay:
        _logger.warning(
            "%s: %r is not deleted: the store treats its name and that of a new file as the same",
            bucket.name,
            key,
        )
    return [key for key in keys if key not in stay]


def _delete_keys(
    bucket: BucketClient,
    keys: Sequence[str],
    estimator: ConcurrencyEstimator,
    phase: PhaseProgress,
) -> dict[str, Exception]:
    """Delete objects; return the keys that remain, with the reasons."""
    remaining: dict[str, Exception] = {}
    unconfirmed: list[str] = []
    for begin in range(0, len(keys), _MAX_OBJECTS_PER_REQUEST):
        batch = keys[begin : begin + _MAX_OBJECTS_PER_REQUEST]
        try:
            confirmed, errors = _delete_batch(bucket, batch)
        except (ClientError, BotoCoreError) as error:
            if _is_final(error):
                remaining.update(dict.fromkeys(batch, error))
                continue
            unconfirmed += keys[begin:]
            break
        remaining.update(errors)
        unknown = [key for key in batch if key not in confirmed and key not in errors]
        phase.add(files=len(batch) - len(unknown))
        unconfirmed += unknown
    threads = estimator.estimate(CLASSIC_REQUESTS)

    def delete_one(key: str) -> Exception | None:
        error = _delete_one(bucket, key)
        phase.add(files=1)
        return error

    errors_of_each = parallel_map(delete_one, unconfirmed, threads=threads)
    found = zip(unconfirmed, errors_of_each, strict=True)
    remaining.update({key: error for key, error in found if error})
    return remaining


def _delete_batch(
    bucket: BucketClient, batch: Sequence[str]
) -> tuple[set[str], dict[str, Exception]]:
    """Return the keys that were deleted, and the errors of others; some may be in neither."""
    response = bucket.client.delete_objects(
        Bucket=bucket.name,
        # Without `Quiet`, as the response then names each deleted key. An empty response, which any
        # other server may send, confirms nothing.
        Delete={"Objects": [{"Key": key} for key in batch]},
        **bucket.request_args,
    )
    confirmed = {item.get("Key", "") for item in response.get("Deleted", [])}
    errors: dict[str, Exception] = {}
    for item in response.get("Errors", []):
        key, code = item.get("Key", ""), item.get("Code", "")
        if code in _NOT_FOUND:
            confirmed.add(key)
        elif key in batch:
            errors[key] = S3Error(f"was not deleted: {item.get('Message') or code}")
    return confirmed, errors


def _is_final(error: Exception) -> bool:
    """Return whether requests for single objects would fail as the one for many did."""
    if concerns_bucket(error) or code_of(error) in DENIED:
        return True
    # botocore gives the code "500" to a response without a document, even if its status is 200. It
    # may come from a store that lacks DeleteObjects, so single requests are tried.
    overloaded = isinstance(error, ClientError) and _status(error.response) >= _SERVER_ERROR
    return overloaded and code_of(error) not in ("500", "NotImplemented", "501")


def _delete_one(bucket: BucketClient, key: str) -> Exception | None:
    """Return why an object was not deleted; None if it was."""
    try:
        response = bucket.client.delete_object(Bucket=bucket.name, Key=key, **bucket.request_args)
        if _status(response) != _NO_CONTENT and _exists(bucket, key):
            return S3Error("was not deleted: the response is not from S3; check s3_endpoint_url")
    except (ClientError, BotoCoreError) as error:
        return None if code_of(error) in _NOT_FOUND else error
    return None


def _exists(bucket: BucketClient, key: str) -> bool:
    try:
        bucket.head(key)
    except ClientError as error:
        if code_of(error) in _NOT_FOUND:
            return False
        raise
    return True


def _status(response: Mapping[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _failure(bucket: BucketClient, key: str, error: Exception) -> Outcome:
    transfer = FileTransfer(source="", destination=f"s3://{bucket.name}/{key}", size=0)
    return Outcome.failure(transfer, error)


def keys_to_delete(plan: Plan, bucket: BucketClient) -> list[str]:
    """Return the keys in cleared folders (`remove_dest_dir`) that this run does not deliver."""
    delivered = {transfer.key for transfer in plan.transfers}
    folders = [delivery.cleared_folder for delivery in plan.deliveries if delivery.cleared_folder]
    found = {
        key
        for folder in folders
        for key in list_keys(
            bucket.client, bucket.name, f"{folder.split('/', 3)[3]}/", bucket.request_args
        )
    }
    return sorted(found - delivered)
