"""Send ``Content-MD5`` with all uploads through a client of boto3."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_BLOCK_BYTES = 1 << 20


class DigestingClient:
    """A client that adds ``Content-MD5`` to uploads.

    The client itself is not changed, because it may be the user's.

    Parameters
    ----------
    client
        boto3's client, which sends all requests.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the client."""
        return getattr(self._client, name)

    def put_object(self, *, Body: BinaryIO, **args: Any) -> Any:  # noqa: N803
        """Call PutObject with ``Content-MD5``."""
        return self._client.put_object(Body=Body, ContentMD5=_content_md5(Body), **args)

    def upload_part(self, *, Body: BinaryIO, **args: Any) -> Any:  # noqa: N803
        """Call UploadPart with ``Content-MD5``."""
        return self._client.upload_part(Body=Body, ContentMD5=_content_md5(Body), **args)


def _content_md5(body: BinaryIO) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    begin = body.tell()
    while block := body.read(_BLOCK_BYTES):
        digest.update(block)
    body.seek(begin)
    return base64.b64encode(digest.digest()).decode()
