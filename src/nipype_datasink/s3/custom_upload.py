"""Send files as nipype does: by a subclass's ``_upload_to_s3``, or to a bucket that is not boto3's.

Nothing is known of such a bucket, so its files count as sent but not verified.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import FileProgress, PhaseProgress
from nipype_datasink.planning.plan import Delivery, FileTransfer, Plan
from nipype_datasink.s3.comparison import digest_from_etag, matches

_logger = logging.getLogger("nipype.interface")


def send_one_by_one(
    hook: Callable[[Any, str, str], object] | None,
    bucket: Any,
    plan: Plan,
    upload_args: Mapping[str, Any],
    phase: PhaseProgress,
) -> list[Outcome]:
    """Send a plan one file after the other; nothing is listed or deleted.

    Parameters
    ----------
    hook
        A subclass's own ``_upload_to_s3``, if it has one.
    bucket
        Any object that the hook accepts, or see `_send_as_nipype`.
    plan
        The files to send.
    upload_args
        ``ExtraArgs``; a hook does not get them.
    phase
        Counts what is sent.
    """
    if plan.clears_folders:
        _logger.warning(
            "%s: remove_dest_dir deletes nothing here; it needs a boto3 bucket, and a sink "
            "that does not override _upload_to_s3",
            plan.deliveries[0].location.label,
        )
    sent = [
        _send_by_hook(hook, bucket, delivery, phase)
        if hook
        else _send_as_nipype(bucket, delivery, upload_args, phase)
        for delivery in plan.deliveries
    ]
    return [outcome for outcomes in sent for outcome in outcomes]


def _send_by_hook(
    hook: Callable[[Any, str, str], object], bucket: Any, delivery: Delivery, phase: PhaseProgress
) -> list[Outcome]:
    """Send a delivery by a subclass's ``_upload_to_s3``: a directory in one call, or each file."""
    if delivery.directories:
        # nipype passes a directory with a slash at its end.
        parts = [(f"{delivery.source}/", delivery.destination, delivery.transfers)]
    else:
        parts = [(item.source, item.destination, (item,)) for item in delivery.transfers]
    outcomes: list[Outcome] = []
    for source, destination, transfers in parts:
        try:
            hook(bucket, source, destination)
            for transfer in transfers:
                phase.file(transfer.size).finish()
            outcomes += [_unverified(transfer) for transfer in transfers]
        except Exception as error:  # noqa: BLE001 - a subclass may raise anything
            outcomes += [Outcome.failure(transfer, error) for transfer in transfers]
    return outcomes


def _send_as_nipype(
    bucket: Any, delivery: Delivery, upload_args: Mapping[str, Any], phase: PhaseProgress
) -> list[Outcome]:
    """Send one delivery to any object that has the three members that nipype uses of a bucket.

    Parameters
    ----------
    bucket
        Has ``name``, ``Object(key=...).e_tag`` and ``upload_file(source, key, ExtraArgs=...,
        Callback=...)``. Nothing else of it is used.
    delivery
        The files to send.
    upload_args
        ``ExtraArgs``.
    phase
        Counts what is sent; its counter is the ``Callback``.
    """
    outcomes = []
    for transfer in delivery.transfers:
        file = phase.file(transfer.size)

        def count(size: int, file: FileProgress = file) -> None:
            with suppress(TypeError):  # a fake may pass anything
                file.add_bytes(size)

        try:
            if _is_unchanged(bucket, transfer.key, transfer.source):
                outcomes.append(Outcome(transfer=transfer, status=Status.UNCHANGED))
                file.finish()
                continue
            bucket.upload_file(
                transfer.source, transfer.key, ExtraArgs=dict(upload_args), Callback=count
            )
            outcomes.append(_unverified(transfer))
        except Exception as error:  # noqa: BLE001 - a fake may raise anything
            outcomes.append(Outcome.failure(transfer, error))
            file.restart()
        else:
            file.finish()
    return outcomes


def _unverified(transfer: FileTransfer) -> Outcome:
    return Outcome(transfer=transfer, status=Status.SENT, verified=False)


def _is_unchanged(bucket: Any, key: str, path: str) -> bool:
    try:
        etag = bucket.Object(key=key).e_tag
    except Exception:  # noqa: BLE001 - each fake raises its own error for a missing object
        return False
    digest = digest_from_etag(etag) if isinstance(etag, str) else None
    return digest is not None and digest.part_count is None and matches(digest, path)
