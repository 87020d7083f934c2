"""What all PutObject requests of a sink have in common, as botocore makes them.

Botocore takes most of a millisecond to make one request. Other transports let it make a single
one, which is never sent, and put their own keys and files into it: endpoint, addressing style,
headers, region and checksum are botocore's on every transport.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from nipype_datasink.s3.bucket_client import BucketClient

__all__ = ["RequestTemplate", "make_template"]

_KEY = "key"
_HANDLER_ID = "nipype-datasink-probe"  # botocore registers a handler of one id only once

# Of the transport's own making; the length and the checksum are each file's.
_OF_ONE_REQUEST = ("content-length", "content-md5", "expect", "x-amz-sdk-checksum-algorithm")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTemplate:
    """A request that lacks its key and its body."""

    scheme: str
    """``http`` or ``https``."""

    host: str
    """With the port, if it is not the scheme's own."""

    base: str
    """Path before the key; ends in a slash."""

    headers: tuple[tuple[str, str], ...]
    """Names and values, ``Host`` among them."""

    authentication: str
    """Botocore's name of the way requests are signed: ``v4``, ``none`` ..."""

    service: str
    """Name of the service that signatures are made for."""

    region: str
    """Region that signatures are made for."""

    checksum_algorithm: str | None
    """Name of the checksum that goes with each request, if any."""

    checksum_in_trailer: bool
    """Whether it follows the body."""

    def path(self, key: str) -> str:
        """Return the path of an object, encoded as in a request."""
        return self.base + quote(key, safe="/~")


class _Probe(io.BytesIO):
    """A body that is never sent."""

    request: Mapping[str, Any]


def _keep(params: Mapping[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
    """Keep the request of a probe, in place of sending it."""
    probe = params.get("body")
    if not isinstance(probe, _Probe):
        return None
    probe.request = params
    return SimpleNamespace(status_code=200), {}


def make_template(bucket: BucketClient) -> RequestTemplate:
    """Let botocore make a request for `bucket`.

    Parameters
    ----------
    bucket
        Its client gets a handler, once, that lets no probe reach the network.

    Raises
    ------
    botocore.exceptions.BotoCoreError
        If an upload argument is none that a request can carry.
    """
    # Registered last: the handlers before it may still change the request, or respond themselves.
    bucket.client.meta.events.register_last("before-call", _keep, unique_id=_HANDLER_ID)  # type: ignore[arg-type]
    probe = _Probe()
    bucket.client.put_object(Bucket=bucket.name, Key=_KEY, Body=probe, **bucket.upload_args)
    request, context = probe.request, probe.request["context"]
    address = urlsplit(request["url"])
    checksum: dict[str, str] | None = (context.get("checksum") or {}).get("request_algorithm")
    signing = context.get("signing", {})
    return RequestTemplate(
        scheme=address.scheme,
        host=address.netloc,
        base=address.path.removesuffix(_KEY),
        headers=(("Host", address.netloc), *_common(request["headers"])),
        authentication=str(context.get("auth_type")),
        service=signing.get("signing_name", "s3"),
        region=signing.get("region") or bucket.client.meta.region_name,
        checksum_algorithm=checksum["algorithm"].upper() if checksum else None,
        checksum_in_trailer=checksum is not None and checksum["in"] == "trailer",
    )


def _common(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (name, _text(value))
        for name, value in headers.items()
        if name.lower() not in _OF_ONE_REQUEST
    ]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
