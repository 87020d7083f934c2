"""Choose the transport that sends the files of a sink: boto3 or the AWS Common Runtime."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from botocore.utils import get_environ_proxies

from nipype_datasink.delivery.progress import PhaseProgress
from nipype_datasink.errors import S3Error, SettingsError
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.classic import ClassicTransport
from nipype_datasink.s3.client import session_of
from nipype_datasink.s3.concurrency import CRT_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.crt.request import RequestTemplate, make_head_template, make_template
from nipype_datasink.s3.descriptors import are_descriptors_scarce
from nipype_datasink.s3.dialect import dialect_of
from nipype_datasink.s3.head_requests import ClassicHeadSender, HeadSender
from nipype_datasink.s3.mocking import is_mocked
from nipype_datasink.s3.transport import Transport

if TYPE_CHECKING:
    import boto3.session
    from awscrt.s3 import S3Client as CrtClient

_logger = logging.getLogger("nipype.interface")

# Fewer HeadObject requests take boto3 less time than it takes to start the runtime.
_MIN_CRT_HEADS = 16
_CRT_CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


class CrtUnavailable(Exception):
    """The AWS Common Runtime cannot send these files; the message says why."""


def check_crt(*, injected: bool) -> None:
    """Check that the AWS Common Runtime may be able to send, before anything is written.

    Parameters
    ----------
    injected
        Whether the user has set the input ``bucket``.

    Raises
    ------
    SettingsError
        If no recent awscrt is installed, or a bucket is injected.
    """
    if injected:
        raise SettingsError(
            "s3_transfer_client 'crt' cannot send to an injected bucket, because it does not use "
            "the bucket's client; set 'auto' or 'classic'"
        )
    if not has_crt():
        raise SettingsError(
            "s3_transfer_client 'crt' needs a recent awscrt; run "
            "pip install 'nipype-datasink[crt]', or set 'auto' or 'classic'"
        )


def choose_transport(
    wanted: str, bucket: BucketClient, *, estimator: ConcurrencyEstimator, phase: PhaseProgress
) -> Transport:
    """Return the transport for a bucket.

    Parameters
    ----------
    wanted
        ``classic``, ``crt``, or ``auto``: the AWS Common Runtime if it can be used. If it could not
        interpret the store's responses before, the transport is ``classic`` in any case.
    bucket
        Where the files are sent.
    estimator
        Estimates the number of concurrent requests.
    phase
        Counts what is sent.

    Raises
    ------
    S3Error
        If ``crt`` is wanted but cannot be used.
    """
    transport: Transport | None = None
    if wanted != "classic" and dialect_of(bucket).works_with_crt:
        try:
            transport = _make_crt_transport(bucket, estimator, phase)
        except CrtUnavailable as reason:
            if wanted == "crt":
                raise S3Error(
                    f"s3_transfer_client 'crt' cannot be used: {reason}. Set 'auto' or 'classic'"
                ) from None
            _logger.debug("%s: boto3 sends the files: %s", bucket.name, reason)
    return transport or ClassicTransport(bucket, estimator=estimator, phase=phase)


def open_head_sender(
    wanted: str, bucket: BucketClient, keys: Sequence[str], *, estimator: ConcurrencyEstimator
) -> HeadSender:
    """Return what sends HeadObject requests, after it has sent the first of them ahead.

    The AWS Common Runtime is used where it would also send files, and where there are enough
    requests. boto3 sends them where the runtime cannot, also if the user wants ``crt``.

    Parameters
    ----------
    wanted
        As for `choose_transport`.
    bucket
        The bucket that holds the objects.
    keys
        Keys whose responses will be needed, in this order.
    estimator
        Estimates the number of concurrent requests.
    """
    sender: HeadSender | None = None
    if wanted != "classic" and len(keys) >= _MIN_CRT_HEADS and dialect_of(bucket).works_with_crt:
        try:
            sender = _make_crt_head_sender(bucket, estimator)
        except CrtUnavailable as reason:
            _logger.debug("%s: boto3 sends HeadObject requests: %s", bucket.name, reason)
    sender = sender or ClassicHeadSender(bucket)
    sender.send_ahead(keys)
    return sender


def _make_crt_head_sender(
    bucket: BucketClient, estimator: ConcurrencyEstimator
) -> HeadSender | None:
    runtime = _client_and_template(bucket, make_head_template, estimator.limit)
    if runtime is None:
        return None
    from nipype_datasink.s3.crt.head_requests import CrtHeadSender

    return CrtHeadSender(bucket, *runtime, requests=estimator.estimate(CRT_REQUESTS))


def _make_crt_transport(
    bucket: BucketClient, estimator: ConcurrencyEstimator, phase: PhaseProgress
) -> Transport | None:
    runtime = _client_and_template(bucket, make_template, estimator.limit)
    if runtime is None:
        return None
    from nipype_datasink.s3.crt.transport import CrtTransport

    return CrtTransport(bucket, *runtime, estimator=estimator, phase=phase)


def _client_and_template(
    bucket: BucketClient,
    make: Callable[[BucketClient], RequestTemplate],
    concurrency: int | None,
) -> tuple[CrtClient, RequestTemplate] | None:
    """Return the runtime's client and a template of requests to a bucket.

    Return None if only the fork of this process keeps the runtime from sending. That is no reason
    to fail even if the user wants ``crt``: nipype's MultiProc plugin may fork.
    """
    session = _find_session(bucket)
    # Only here, as awscrt is an optional dependency.
    from nipype_datasink.s3.crt.client import crt_client, started_before_fork

    template = make(bucket)
    _check_template(template)
    if (bucket.client.meta.config.s3 or {}).get("payload_signing_enabled"):  # type: ignore[attr-defined]
        raise CrtUnavailable("it does not sign bodies, as payload_signing_enabled asks")
    if started_before_fork():
        _logger.info(
            "%s: boto3 sends the requests, as the parent process uses the AWS CRT", bucket.name
        )
        return None
    try:
        client = crt_client(bucket.client, session, template, concurrency=concurrency)
    except Exception as error:  # it raises RuntimeError, for example without descriptors or threads
        raise CrtUnavailable(f"its client cannot be made: {error}") from error
    return client, template


def close_idle_connections() -> None:
    """Close the connections of the AWS Common Runtime if file descriptors have become scarce.

    It keeps up to 500 connections open after a delivery. Other code in this process may then fail
    to open a file.
    """
    if are_descriptors_scarce() and (runtime := sys.modules.get("nipype_datasink.s3.crt.client")):
        runtime.forget_idle_clients()


def _find_session(bucket: BucketClient) -> boto3.session.Session:
    """Return the session of a bucket if the runtime can send to a bucket of this kind."""
    if not has_crt():
        raise CrtUnavailable(
            "no recent awscrt is installed; run pip install 'nipype-datasink[crt]'"
        )
    session = session_of(bucket.client)
    if session is None:
        raise CrtUnavailable("the bucket was not opened by this sink")
    if is_mocked():
        raise CrtUnavailable("moto's mock_aws, which stands in for S3, cannot see its requests")
    if bucket.name.startswith("arn:") or bucket.name.endswith("--x-s3"):
        raise CrtUnavailable(f"{bucket.name} is an access point or a directory bucket")
    return session


def _check_template(template: RequestTemplate) -> None:
    if template.authentication not in ("v4", "none") or template.service != "s3":
        raise CrtUnavailable(f"it does not sign requests by {template.authentication!r}")
    if get_environ_proxies(f"{template.scheme}://{template.host}"):
        raise CrtUnavailable("requests go through a proxy")
    if template.checksum_algorithm not in (None, *_CRT_CHECKSUMS):
        raise CrtUnavailable(f"it does not support the checksum {template.checksum_algorithm}")
