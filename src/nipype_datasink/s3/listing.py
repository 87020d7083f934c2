"""What is there: one listing for many keys instead of a request for each."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nipype_datasink.errors import S3Error
from nipype_datasink.location import MAX_KEY_BYTES

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

__all__ = ["StoredObject", "list_below", "look_up"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing tells of an object."""

    key: str
    """Its key."""

    size: int
    """In bytes."""

    etag: str
    """As listed, quotes included."""


def look_up(
    client: S3Client, bucket: str, keys: Collection[str], extra: Mapping[str, Any]
) -> dict[str, StoredObject]:
    """Return those of `keys` that exist.

    A page of a listing serves every key on it, and what lies between two of them is jumped over:
    after the first page there are never more requests than keys, nor than pages of the prefix.

    Parameters
    ----------
    client
        A boto3 client.
    bucket
        Name of the bucket.
    keys
        To look for.
    extra
        Further arguments of the request, such as ``RequestPayer``.

    Raises
    ------
    botocore.exceptions.ClientError
        If the bucket may not be listed.
    S3Error
        If the answer is no listing.
    """
    wanted = sorted(keys, key=str.encode)  # the order of listings: UTF-8, byte by byte
    order = [key.encode() for key in wanted]
    shared = os.path.commonprefix(wanted)  # noqa: RUF071 - of texts, cut at a slash below
    found: dict[str, StoredObject] = {}
    index = 0
    after = ""  # the first page starts at the beginning: not every store lists in order
    while index < len(wanted):
        page = client.list_objects_v2(
            Bucket=bucket, Prefix=shared[: shared.rfind("/") + 1], StartAfter=after, **extra
        )
        if "IsTruncated" not in page:  # every listing says so, be it empty
            raise S3Error("the answer is no listing of S3's; check s3_endpoint_url")
        listed = [_stored(item) for item in page.get("Contents", [])]
        found.update((item.key, item) for item in listed)
        if not page["IsTruncated"] or not listed:
            break
        index = max(index + bool(after), bisect_right(order, listed[-1].key.encode()))
        after = _just_before(wanted[index]) if index < len(wanted) else ""
    return {key: found[key] for key in wanted if key in found}


def list_below(
    client: S3Client, bucket: str, prefix: str, extra: Mapping[str, Any]
) -> Iterator[str]:
    """Yield every key that starts with `prefix`."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **extra)
    for page in pages:
        for item in page.get("Contents", []):
            yield item["Key"]


def _stored(item: Mapping[str, Any]) -> StoredObject:
    return StoredObject(item["Key"], item["Size"], item.get("ETag", ""))


def _just_before(key: str) -> str:
    """Return a text that sorts before `key`, with as little as possible in between."""
    last = ord(key[-1]) - 1
    before = key[:-1] + chr(last) + "~"
    # No such character in XML, or a key longer than S3 takes.
    if last < ord(" ") or 0xD800 <= last <= 0xDFFF or last in (0xFFFE, 0xFFFF):
        return key[:-1]
    return before if len(before.encode()) <= MAX_KEY_BYTES else key[:-1]
