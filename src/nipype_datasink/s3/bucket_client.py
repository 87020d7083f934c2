"""A bucket with the client that reaches it and the arguments of its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nipype_datasink.s3.errors import WrongBucketError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# Starts of the names of upload arguments that objects from an earlier run may not have: neither a
# listing nor HeadObject states all of them.
_NOT_COMPARED = (
    "ACL",
    "CacheControl",
    "Content",
    "Expires",
    "Grant",
    "Metadata",
    "ObjectLock",
    "SSEKMS",
    "StorageClass",
    "Tagging",
    "WebsiteRedirectLocation",
)
_FOR_EVERY_REQUEST = ("RequestPayer", "ExpectedBucketOwner")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketClient:
    """A bucket, the client that reaches it, and the arguments of uploads."""

    client: S3Client
    """boto3's client; it is not changed."""

    name: str
    """Name of the bucket."""

    upload_args: Mapping[str, Any]
    """boto3's ``ExtraArgs``."""

    @property
    def request_args(self) -> dict[str, Any]:
        """The upload arguments that requests of all kinds must have."""
        args = self.upload_args
        return {name: args[name] for name in _FOR_EVERY_REQUEST if name in args}

    @property
    def encryption(self) -> str | None:
        """Encryption that the user asks for: ``AES256``, ``aws:kms`` ..."""
        return self.upload_args.get("ServerSideEncryption")

    @property
    def sends_checksums(self) -> bool:
        """Whether boto3 adds a checksum to each upload, which the store compares with the body."""
        if "ChecksumAlgorithm" in self.upload_args:
            return True
        config: Any = self.client.meta.config
        return str(config.request_checksum_calculation) == "when_supported"

    @property
    def not_compared(self) -> list[str]:
        """Names of the upload arguments that unchanged objects may not have."""
        return [name for name in self.upload_args if name.startswith(_NOT_COMPARED)]

    def head(self, key: str, *, part_number: int | None = None) -> Mapping[str, Any]:
        """Return the response to HeadObject, including checksums, for an object or one part."""
        part: dict[str, Any] = {} if part_number is None else {"PartNumber": part_number}
        return self.client.head_object(Key=key, **self.head_args, **part)

    @property
    def head_args(self) -> dict[str, Any]:
        """What all HeadObject requests have in common."""
        return {"Bucket": self.name, "ChecksumMode": "ENABLED", **self.request_args}

    def read(self, key: str) -> Mapping[str, Any]:
        """Return the response to GetObject; its ``Body`` must be closed."""
        return self.client.get_object(Bucket=self.name, Key=key, **self.request_args)


def check_opened_bucket(bucket: Any, name: str) -> None:
    """Check that a bucket has this name; a subclass may have opened another one.

    Raises
    ------
    WrongBucketError
        If it has another name. A bucket without a name is accepted.
    """
    opened = getattr(bucket, "name", None)
    if isinstance(opened, str) and opened != name:
        raise WrongBucketError(
            f"the bucket that was opened is {opened!r}, not {name!r}; write its name into "
            "base_directory, or set it as the input 'bucket'"
        )
