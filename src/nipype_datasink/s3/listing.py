"""What is there: one listing for many keys instead of a request for each."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nipype_datasink.errors import S3Error
from nipype_datasink.planning.location import MAX_KEY_BYTES

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

__all__ = ["StoredObject", "list_below", "look_up"]


# Pages in a row that bring no new key. Empty ones are allowed: a store may skip what was deleted.
_PATIENCE = 100


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
        If the answer is not a listing, or the listing does not end.
    """
    wanted = sorted(keys, key=str.encode)  # the order of listings: UTF-8, byte by byte
    order = [key.encode() for key in wanted]
    shared = os.path.commonprefix(wanted)  # noqa: RUF071 - of texts, cut at a slash below
    prefix = shared[: shared.rfind("/") + 1]
    found: dict[str, StoredObject] = {}
    index = 0
    after = ""  # the first page starts at the beginning: not every store lists in order
    while index < len(wanted):
        page = _page(client, bucket, prefix, extra, StartAfter=after)
        found.update((item.key, item) for item in page.objects)
        if not page.truncated or not page.last:
            break
        if after and page.last.encode() <= after.encode():  # the store ignores StartAfter
            found.update((item.key, item) for item in _pages(client, bucket, prefix, extra))
            break
        index = max(index + bool(after), bisect_right(order, page.last.encode()))
        after = _just_before(wanted[index]) if index < len(wanted) else ""
    return {key: found[key] for key in wanted if key in found}


def list_below(
    client: S3Client, bucket: str, prefix: str, extra: Mapping[str, Any]
) -> Iterator[str]:
    """Yield every key that starts with `prefix`.

    Raises
    ------
    botocore.exceptions.ClientError
        If the bucket may not be listed.
    S3Error
        If the answer is not a listing, or the listing does not end.
    """
    return (item.key for item in _pages(client, bucket, prefix, extra))


@dataclass(frozen=True, slots=True)
class _Page:
    objects: list[StoredObject]
    """Those whose keys start with the prefix: some stores list others as well."""

    last: str
    """Last key on the page, whether it starts with the prefix or not."""

    truncated: bool
    token: str


def _page(
    client: S3Client, bucket: str, prefix: str, extra: Mapping[str, Any], **start: Any
) -> _Page:
    answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **start, **extra)
    try:
        listed = [_stored(item) for item in answer.get("Contents", [])]
        truncated = answer["IsTruncated"]  # every listing says so, be it empty
    except KeyError:
        raise S3Error("the answer is not a listing of S3's; check s3_endpoint_url") from None
    return _Page(
        objects=[item for item in listed if item.key.startswith(prefix)],
        last=listed[-1].key if listed else "",
        truncated=truncated,
        token=answer.get("NextContinuationToken", ""),
    )


def _pages(
    client: S3Client, bucket: str, prefix: str, extra: Mapping[str, Any]
) -> Iterator[StoredObject]:
    """Yield every object below `prefix` once, in the order of the listing."""
    seen: set[str] = set()
    tokens: set[str] = set()
    furthest, idle = "", 0
    start: dict[str, Any] = {}
    while True:
        page = _page(client, bucket, prefix, extra, **start)
        new = [item for item in page.objects if item.key not in seen]
        yield from new
        if not page.truncated:
            return
        # Another store's keys may stand before ours: a page that gets further is progress, too.
        idle = 0 if new or page.last.encode() > furthest.encode() else idle + 1
        if page.token in tokens or idle >= (_PATIENCE if page.token else 1):
            raise S3Error(
                f"the listing of {bucket!r} below {prefix!r} does not end: the store repeats what "
                "it has listed; ask who runs it"
            )
        seen.update(item.key for item in new)
        furthest = max(furthest, page.last, key=str.encode)
        if page.token:
            tokens.add(page.token)
            start = {"ContinuationToken": page.token}
        else:  # as the listings before version 2
            start = {"StartAfter": page.last}


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
