"""Which transport sends the files of a sink."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from botocore.utils import get_environ_proxies

from nipype_datasink.delivery.progress import Progress
from nipype_datasink.errors import S3Error
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.classic import ClassicTransport
from nipype_datasink.s3.client import session_of
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.crt.request import RequestTemplate, make_template
from nipype_datasink.s3.descriptors import are_descriptors_scarce
from nipype_datasink.s3.dialect import dialect_of
from nipype_datasink.s3.mocking import is_mocked
from nipype_datasink.s3.transport import Transport

if TYPE_CHECKING:
    import boto3.session

__all__ = ["choose_transport", "close_idle_connections"]

_logger = logging.getLogger("nipype.interface")


class CrtUnavailable(Exception):
    """Why the AWS Common Runtime cannot send these files."""


def choose_transport(
    wanted: str, bucket: BucketClient, *, estimator: ConcurrencyEstimator, progress: Progress
) -> Transport:
    """Return what sends files to `bucket`.

    Parameters
    ----------
    wanted
        ``classic``, ``crt``, or ``auto``: the AWS Common Runtime if it can be used. A store whose
        answers it did not understand gets ``classic`` in any case.
    bucket
        Where they go.
    estimator
        Of requests.
    progress
        Called with the number of bytes sent.

    Raises
    ------
    S3Error
        If ``crt`` is wanted but cannot be used.
    """
    transport: Transport | None = None
    if wanted != "classic" and dialect_of(bucket).suits_crt:
        try:
            transport = _crt(bucket, estimator, progress)
        except CrtUnavailable as why:
            if wanted == "crt":
                raise S3Error(
                    f"s3_transfer_client 'crt' cannot be used: {why}. Set 'auto' or 'classic'"
                ) from None
            _logger.debug("%s: boto3 sends: %s", bucket.name, why)
    return transport or ClassicTransport(bucket, estimator=estimator, progress=progress)


def _crt(
    bucket: BucketClient, estimator: ConcurrencyEstimator, progress: Progress
) -> Transport | None:
    """Return None where the runtime could send, were this process not a fork of its own."""
    session = _session(bucket)
    from nipype_datasink.s3.crt.client import crt_client, started_before_fork
    from nipype_datasink.s3.crt.transport import CrtTransport

    template = make_template(bucket)
    _check(template)
    if (bucket.client.meta.config.s3 or {}).get("payload_signing_enabled"):  # type: ignore[attr-defined]
        raise CrtUnavailable("it does not sign bodies, as payload_signing_enabled asks")
    if started_before_fork():
        _logger.info("%s: boto3 sends, as the parent process uses the AWS CRT", bucket.name)
        return None
    try:
        client = crt_client(bucket.client, session, template, concurrency=estimator.limit)
    except Exception as error:
        raise CrtUnavailable(
            f"its client cannot be made: {error}"
        ) from error  # no descriptors, no threads
    return CrtTransport(bucket, client, template, estimator=estimator, progress=progress)


def close_idle_connections() -> None:
    """Give back the sockets of the AWS Common Runtime where descriptors have become scarce.

    It keeps up to 500 of them open after a delivery, and others in this process would find none.
    """
    if are_descriptors_scarce() and (runtime := sys.modules.get("nipype_datasink.s3.crt.client")):
        runtime.forget_idle_clients()


def _session(bucket: BucketClient) -> boto3.session.Session:
    """Return the session of a store whose client and kind the runtime can stand in for."""
    if not has_crt():
        raise CrtUnavailable(
            "no recent awscrt is installed; run pip install 'nipype-datasink[crt]'"
        )
    session = session_of(bucket.client)
    if session is None:
        raise CrtUnavailable("the bucket was not opened by this sink")
    if is_mocked():
        raise CrtUnavailable("moto's mock_aws, which stands in for S3, cannot see it")
    if bucket.name.startswith("arn:") or bucket.name.endswith("--x-s3"):
        raise CrtUnavailable(f"{bucket.name} is an access point or a directory bucket")
    return session


def _check(template: RequestTemplate) -> None:
    if template.authentication not in ("v4", "none") or template.service != "s3":
        raise CrtUnavailable(f"it does not sign requests by {template.authentication!r}")
    if get_environ_proxies(f"{template.scheme}://{template.host}"):
        raise CrtUnavailable("requests go through a proxy")
    if template.checksum_algorithm not in (None, *_CHECKSUMS):
        raise CrtUnavailable(f"it does not know the checksum {template.checksum_algorithm}")


_CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
