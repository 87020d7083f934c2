"""Deleting objects, also where a store lacks the request that deletes many at once."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from nipype_datasink.delivery.execution import Outcome
from nipype_datasink.errors import S3Error
from nipype_datasink.parallel import parallel_map
from nipype_datasink.planning.places import normalize_name
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.errors import DENIED, code_of, concerns_bucket
from nipype_datasink.s3.listing import look_up

if TYPE_CHECKING:
    from botocore.hooks import BaseEventHooks

__all__ = ["delete", "exclude_alike", "send_content_md5"]

_logger = logging.getLogger("nipype.interface")

_AT_ONCE = 1000  # objects; https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_NO_CONTENT, _SERVER_ERROR = 204, 500
_GONE = ("NoSuchKey", "NotFound", "404")


def send_content_md5(events: BaseEventHooks) -> None:
    """Let a client whose events these are send ``Content-MD5`` with DeleteObjects.

    S3 asked for it before it knew other checksums; stores that are older than those still do.
    """
    events.register("before-call.s3.DeleteObjects", _add_content_md5)


def _add_content_md5(params: Mapping[str, Any], **_: Any) -> None:
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def exclude_alike(
    bucket: BucketClient, keys: Sequence[str], delivered: Collection[str]
) -> list[str]:
    """Return those of `keys` that are surely no other spelling of a key in `delivered`.

    A gateway to a file system that ignores case or Unicode form lists one object by the first name
    that it was given. Where two keys are two objects, both are listed.

    Parameters
    ----------
    bucket
        Where all of them are.
    keys
        As listed before anything was delivered.
    delivered
        What must stay.
    """
    spellings: dict[str, list[str]] = {}
    for key in delivered:
        spellings.setdefault(normalize_name(key), []).append(key)
    doubtful = [key for key in keys if normalize_name(key) in spellings]
    if not doubtful:
        return list(keys)
    others = {other for key in doubtful for other in spellings[normalize_name(key)]}
    listed = look_up(bucket.client, bucket.name, others, bucket.request_args)
    stay = {
        key
        for key in doubtful
        if not all(other in listed for other in spellings[normalize_name(key)])
    }
    for key in stay:
        _logger.warning("%s: %r stays: the store takes it for what was sent", bucket.name, key)
    return [key for key in keys if key not in stay]


def delete(
    bucket: BucketClient, keys: Sequence[str], *, estimator: ConcurrencyEstimator
) -> list[Outcome]:
    """Delete objects; return an outcome for each that remains.

    Keys whose deletion the store does not confirm, or that it cannot delete together, are deleted
    one by one.
    """
    remaining: dict[str, Exception] = {}
    unconfirmed: list[str] = []
    for begin in range(0, len(keys), _AT_ONCE):
        batch = keys[begin : begin + _AT_ONCE]
        try:
            confirmed, errors = _delete_together(bucket, batch)
        except (ClientError, BotoCoreError) as error:
            if _is_final(error):
                remaining.update(dict.fromkeys(batch, error))
                continue
            unconfirmed += keys[begin:]
            break
        remaining.update(errors)
        unconfirmed += [key for key in batch if key not in confirmed and key not in errors]
    threads = estimator.estimate(CLASSIC_REQUESTS)
    singly = parallel_map(lambda key: _delete_one(bucket, key), unconfirmed, threads=threads)
    found = zip(unconfirmed, singly, strict=True)
    remaining.update({key: error for key, error in found if error})
    return [_failure(bucket, key, error) for key, error in remaining.items()]


def _delete_together(
    bucket: BucketClient, batch: Sequence[str]
) -> tuple[set[str], dict[str, Exception]]:
    """Return the keys that were deleted, and why others were not."""
    response = bucket.client.delete_objects(
        Bucket=bucket.name,
        # Not quietly: a quiet answer looks like a foreign one, which confirms nothing.
        Delete={"Objects": [{"Key": key} for key in batch]},
        **bucket.request_args,
    )
    confirmed = {item.get("Key", "") for item in response.get("Deleted", [])}
    errors: dict[str, Exception] = {}
    for item in response.get("Errors", []):
        key, code = item.get("Key", ""), item.get("Code", "")
        if code in _GONE:
            confirmed.add(key)
        elif key in batch:
            errors[key] = S3Error(f"was not deleted: {item.get('Message') or code}")
    return confirmed, errors


def _is_final(error: Exception) -> bool:
    """Return whether requests for single objects would end as the one for many did."""
    if concerns_bucket(error) or code_of(error) in DENIED:
        return True
    # Botocore calls an answer without a document, even of 200, a 500: something else answered.
    overloaded = isinstance(error, ClientError) and _status(error.response) >= _SERVER_ERROR
    return overloaded and code_of(error) not in ("500", "NotImplemented", "501")


def _delete_one(bucket: BucketClient, key: str) -> Exception | None:
    """Return why an object was not deleted."""
    try:
        answer = bucket.client.delete_object(Bucket=bucket.name, Key=key, **bucket.request_args)
        if _status(answer) != _NO_CONTENT and _is_there(bucket, key):
            return S3Error("was not deleted: the answer is not S3's; check s3_endpoint_url")
    except (ClientError, BotoCoreError) as error:
        return None if code_of(error) in _GONE else error
    return None


def _is_there(bucket: BucketClient, key: str) -> bool:
    try:
        bucket.head(key)
    except ClientError as error:
        if code_of(error) in _GONE:
            return False
        raise
    return True


def _status(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _failure(bucket: BucketClient, key: str, error: Exception) -> Outcome:
    transfer = FileTransfer(source="", destination=f"s3://{bucket.name}/{key}", size=0)
    return Outcome.failure(transfer, error)
