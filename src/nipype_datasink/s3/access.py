"""Describe how a bucket is reached: endpoint, region and credentials, without secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nipype_datasink.planning.addresses import remove_passwords
from nipype_datasink.s3.boto3_bucket import (
    access_key_of,
    credential_source,
    has_swapped_keys,
    is_boto3_resource,
)
from nipype_datasink.s3.endpoint import endpoint_source, name_endpoint_setting

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

# A shorter ID is shown only in part, as its ends would be most of it.
_MIN_SHOWN_CHARACTERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Settings that decide how a bucket is reached."""

    endpoint_source: str | None = None
    """Setting that the endpoint comes from: ``s3_endpoint_url`` ...; None leaves it to boto3."""

    credential_source: str | None = None
    """Setting that the credentials come from; None leaves it to boto3."""

    address_input: str = "base_directory"
    """Input that contains the address of the bucket: ``base_directory`` or ``s3_copy``."""

    def describe_endpoint(self, bucket: Bucket) -> str:
        """Return the endpoint, where it is set, and the region."""
        meta = bucket.meta.client.meta
        source = self.endpoint_source or endpoint_source(meta.endpoint_url)
        return f"{remove_passwords(meta.endpoint_url)} ({source}), region {meta.region_name}"

    def describe_credentials(self, bucket: Bucket) -> str:
        """Return the access key ID, masked, and where the credentials are set."""
        key = access_key_of(bucket)
        if key is None:
            return "not found; requests are not signed"
        shown = "..." if has_swapped_keys(bucket) else mask(key)
        return f"{shown} ({self.credential_source or credential_source(bucket)})"

    def describe(self, bucket: Any) -> tuple[str, ...]:
        """Return lines about an S3 copy, the endpoint and credentials, for errors.

        Parameters
        ----------
        bucket
            None if it could not be opened.
        """
        copy = ["s3_copy: a copy of the files on disk"] if self.address_input == "s3_copy" else []
        return (*copy, *self._describe_bucket(bucket))

    def _describe_bucket(self, bucket: Any) -> tuple[str, ...]:
        if is_boto3_resource(bucket):
            endpoint, credentials = (
                self.describe_endpoint(bucket),
                self.describe_credentials(bucket),
            )
            return f"endpoint: {endpoint}", f"credentials: {credentials}"
        if bucket is not None:
            return (f"bucket: a {type(bucket).__name__} object",)
        return (f"credentials: {self.credential_source}",) if self.credential_source else ()

    def setting_names(self, bucket: Any) -> dict[str, str]:
        """Return what errors have in place of the names of some inputs, by these names.

        Parameters
        ----------
        bucket
            None if it could not be opened.
        """
        source = self.endpoint_source
        if source is None and is_boto3_resource(bucket):
            source = endpoint_source(bucket.meta.client.meta.endpoint_url)
        return {**name_endpoint_setting(source), "base_directory": self.address_input}


def mask(access_key_id: str) -> str:
    """Return the beginning and the end of an access key ID.

    Examples
    --------
    >>> mask("AKIAIOSFODNN7EXAMPLE"), mask("minio")
    ('AKIA...PLE', 'mi...')
    """
    # Who has confused the two parts of a key has written the secret, which has such characters.
    if not access_key_id.isascii() or any(each in access_key_id for each in "/+="):
        return "..."
    if len(access_key_id) < _MIN_SHOWN_CHARACTERS:
        return f"{access_key_id[:2]}..."
    return f"{access_key_id[:4]}...{access_key_id[-3:]}"
