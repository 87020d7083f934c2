"""Let botocore make one request, as a template for all others of a sink.

botocore takes most of a millisecond to make a request. The AWS Common Runtime only needs one of
them, which is never sent: endpoint, addressing style, headers, region and checksum are then the
same on both transports, and only key, body and length are set for each file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from nipype_datasink.s3.boto3_bucket import shallow_copy

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from nipype_datasink.s3.bucket_client import BucketClient

_KEY = "key"

# Headers that differ between files, or that the runtime sets itself.
_HEADERS_OF_ONE_REQUEST = (
    "content-length",
    "content-md5",
    "expect",
    "x-amz-sdk-checksum-algorithm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTemplate:
    """A request without key and body."""

    scheme: str
    """``http`` or ``https``."""

    host: str
    """With the port, unless it is the default port."""

    base: str
    """Path before the key; ends with a slash."""

    headers: tuple[tuple[str, str], ...]
    """Names and values, including ``Host``."""

    authentication: str
    """botocore's name of the signature version: ``v4``, ``none`` ..."""

    service: str
    """Service in the scope of signatures."""

    region: str
    """Region in the scope of signatures."""

    checksum_algorithm: str | None
    """Name of the checksum of the body that each request has, if any."""

    checksum_in_trailer: bool
    """Whether the checksum follows the body."""

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.host}"

    def path(self, key: str) -> str:
        """Return the percent-encoded path of an object."""
        return self.base + quote(key, safe="/~")


class _Interceptor:
    """Keeps the request that a client makes, and lets it send none."""

    request: Mapping[str, Any]

    def intercept(self, params: Mapping[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        """Store a request; botocore takes the result as the response."""
        self.request = params
        return SimpleNamespace(status_code=200), {}


def make_template(bucket: BucketClient) -> RequestTemplate:
    """Return the template of PutObject requests to a bucket.

    Parameters
    ----------
    bucket
        Where the files are sent.

    Raises
    ------
    botocore.exceptions.BotoCoreError
        If PutObject has no such argument as one of the upload arguments.
    """
    interceptor = _Interceptor()
    client = _intercepted(bucket.client, interceptor)
    client.put_object(Bucket=bucket.name, Key=_KEY, Body=io.BytesIO(), **bucket.upload_args)
    return _template_of(interceptor.request, bucket.client)


def make_head_template(bucket: BucketClient) -> RequestTemplate:
    """Return the template of HeadObject requests to a bucket; errors are those of `make_template`.

    Parameters
    ----------
    bucket
        The bucket that holds the objects.
    """
    interceptor = _Interceptor()
    _intercepted(bucket.client, interceptor).head_object(Key=_KEY, **bucket.head_args)
    return _template_of(interceptor.request, bucket.client)


def _template_of(request: Mapping[str, Any], client: S3Client) -> RequestTemplate:
    context = request["context"]
    address = urlsplit(request["url"])
    checksum: dict[str, str] | None = (context.get("checksum") or {}).get("request_algorithm")
    signing = context.get("signing", {})
    return RequestTemplate(
        scheme=address.scheme,
        host=address.netloc,
        base=address.path.removesuffix(_KEY),
        headers=(("Host", address.netloc), *_common_headers(request["headers"])),
        authentication=str(context.get("auth_type")),
        service=signing.get("signing_name", "s3"),
        region=signing.get("region") or client.meta.region_name,
        checksum_algorithm=checksum["algorithm"].upper() if checksum else None,
        checksum_in_trailer=checksum is not None and checksum["in"] == "trailer",
    )


def _intercepted(client: S3Client, interceptor: _Interceptor) -> S3Client:
    """Return a copy of a client that sends nothing.

    The handler is registered with the copy only: botocore caches handlers, and another thread that
    sends a request at this moment could put an old list of them back into the client's cache.
    """
    events = copy(client.meta.events)
    # Last: the handlers before it may still change the request, or respond themselves.
    events.register_last("before-call", interceptor.intercept)  # type: ignore[arg-type]
    intercepted: S3Client = shallow_copy(client)
    meta = shallow_copy(client.meta)
    meta.events, intercepted.meta = events, meta
    return intercepted


def _common_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (name, _text(value))
        for name, value in headers.items()
        if name.lower() not in _HEADERS_OF_ONE_REQUEST
    ]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
