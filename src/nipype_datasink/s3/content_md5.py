"""A client of boto3's that sends ``Content-MD5`` with everything it uploads."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

__all__ = ["DigestingClient"]

_BLOCK_BYTES = 1 << 20


class DigestingClient:
    """Stands in for a client, which stays as it is: it may be the user's own.

    Parameters
    ----------
    client
        boto3's.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        """Return what the client has; ``exceptions``, ``meta`` and all other requests."""
        return getattr(self._client, name)

    def put_object(self, *, Body: BinaryIO, **args: Any) -> Any:  # noqa: N803
        """Send an object in one request."""
        return self._client.put_object(Body=Body, ContentMD5=_content_md5(Body), **args)

    def upload_part(self, *, Body: BinaryIO, **args: Any) -> Any:  # noqa: N803
        """Send a part of an object."""
        return self._client.upload_part(Body=Body, ContentMD5=_content_md5(Body), **args)


def _content_md5(body: BinaryIO) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    begin = body.tell()
    while block := body.read(_BLOCK_BYTES):
        digest.update(block)
    body.seek(begin)
    return base64.b64encode(digest.digest()).decode()
