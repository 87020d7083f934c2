"""The response of a store to an upload, whichever transport received it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SUCCESS = range(200, 300)  # some stores answer 201 or 202


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResponse:
    """The response to an upload."""

    fields: Mapping[str, object]
    """As boto3 names them: ``ETag``, ``ServerSideEncryption``, ``ChecksumSHA256`` ..."""

    is_from_s3: bool
    """Whether it has the form of S3's: success and an ETag, and no body where S3 sends none.

    Proxies and login pages may answer any request with success.
    """

    @property
    def etag(self) -> str:
        """ETag without quotes; empty if there is none."""
        return str(self.fields.get("ETag") or "").strip('"')

    @classmethod
    def from_put_object(
        cls, fields: Mapping[str, object], headers: Mapping[str, str], status: int
    ) -> UploadResponse:
        """Return the response to PutObject.

        Parameters
        ----------
        fields
            As boto3 names them.
        headers
            Those of HTTP, in lower case.
        status
            That of HTTP.
        """
        is_page = headers.get("content-type", "").startswith("text/html")
        length = headers.get("content-length")
        has_body = is_page if length is None else length != "0"
        is_from_s3 = status in _SUCCESS and bool(fields.get("ETag")) and not has_body
        return cls(fields=fields, is_from_s3=is_from_s3)

    @classmethod
    def from_complete_multipart_upload(cls, fields: Mapping[str, object]) -> UploadResponse:
        """Return the response to CompleteMultipartUpload."""
        return cls(fields=fields, is_from_s3=bool(fields.get("ETag")))
