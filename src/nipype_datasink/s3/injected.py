"""Delivery to buckets that are not boto3's own: mocks, fakes, and subclasses' own ways."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from nipype_datasink.delivery import Outcome, Status
from nipype_datasink.plan import Delivery, FileTransfer

__all__ = ["send_as_nipype", "send_by_hook"]

_BLOCK = 1 << 20  # bytes


def send_by_hook(
    hook: Callable[[Any, str, str], object], bucket: Any, delivery: Delivery
) -> list[Outcome]:
    """Let a subclass's ``_upload_to_s3`` send one delivery."""
    try:
        hook(bucket, delivery.source, delivery.destination)
    except Exception as error:  # noqa: BLE001
        return [_failed(transfer, error) for transfer in delivery.transfers]
    return [Outcome(transfer=transfer, status=Status.SENT) for transfer in delivery.transfers]


def send_as_nipype(
    bucket: Any, delivery: Delivery, upload_args: Mapping[str, Any], advance: Callable[[int], None]
) -> list[Outcome]:
    """Send one delivery to anything that has the three members nipype uses of a bucket.

    Parameters
    ----------
    bucket
        Has ``name``, ``Object(key=...).e_tag`` and ``upload_file(source, key, ExtraArgs=...,
        Callback=...)``; nothing else is touched.
    delivery
        What to send.
    upload_args
        ``ExtraArgs``.
    advance
        ``Callback``.
    """
    outcomes = []
    for transfer in delivery.transfers:
        try:
            if _is_there(bucket, transfer.key, transfer.source):
                outcomes.append(Outcome(transfer=transfer, status=Status.UNCHANGED))
                continue
            bucket.upload_file(
                transfer.source, transfer.key, ExtraArgs=dict(upload_args), Callback=advance
            )
            outcomes.append(Outcome(transfer=transfer, status=Status.SENT))
        except Exception as error:  # noqa: BLE001
            outcomes.append(_failed(transfer, error))
    return outcomes


def _failed(transfer: FileTransfer, error: Exception) -> Outcome:
    return Outcome(transfer=transfer, status=Status.FAILED, cause=error)


def _is_there(bucket: Any, key: str, path: str) -> bool:
    try:
        etag = bucket.Object(key=key).e_tag
    except Exception:  # noqa: BLE001 - each fake has its own word for "not there"
        return False
    return isinstance(etag, str) and etag.strip('"') == _md5(path)


def _md5(path: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
