"""Find objects by listing a prefix, which takes far fewer requests than one HEAD for each key."""

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

# Pages in a row without a new key, after which a listing is treated as endless. Stores may answer
# with some empty pages while they skip deleted objects, so one is not enough. This is a guess.
_MAX_PAGES_WITHOUT_NEW_KEYS = 100


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    key: str
    """Its key."""

    size: int
    """In bytes."""

    etag: str
    """As in the response, with its quotes."""


def look_up(
    client: S3Client, bucket: str, keys: Collection[str], extra: Mapping[str, Any]
) -> dict[str, StoredObject]:
    """Return the objects of those `keys` that exist.

    One page of a listing answers for all keys on it. The next page starts just before the next key
    that is wanted, and skips all objects between. So a few keys in a bucket of millions take a few
    requests: after the first page never more than there are keys, and never more than a listing of
    the whole prefix takes.

    Parameters
    ----------
    client
        A boto3 client.
    bucket
        Name of the bucket.
    keys
        Keys to look for.
    extra
        More arguments of the request, such as ``RequestPayer``.

    Raises
    ------
    botocore.exceptions.ClientError
        If the bucket may not be listed.
    S3Error
        If the response is not a listing, or the listing does not end.
    """
    wanted = sorted(keys, key=str.encode)  # S3 lists in the order of the UTF-8 bytes
    order = [key.encode() for key in wanted]
    shared = os.path.commonprefix(wanted)  # noqa: RUF071 - character by character is meant
    prefix = shared[: shared.rfind("/") + 1]
    found: dict[str, StoredObject] = {}
    index = 0
    # The first page starts at the beginning of the prefix: often it holds the whole prefix, and
    # then it is right also in a store that does not list in order.
    after = ""
    while index < len(wanted):
        page = _page(client, bucket, prefix, extra, StartAfter=after)
        found.update((item.key, item) for item in page.objects)
        if not page.truncated or not page.last:
            break
        if after and page.last.encode() <= after.encode():
            # The store ignores StartAfter. Read all pages by their tokens instead.
            found.update((item.key, item) for item in _pages(client, bucket, prefix, extra))
            break
        # Go on with the first wanted key behind this page. After the first page at least one key
        # is done each time: the page started just before it.
        index = max(index + bool(after), bisect_right(order, page.last.encode()))
        after = _just_before(wanted[index]) if index < len(wanted) else ""
    return {key: found[key] for key in wanted if key in found}


def list_keys(
    client: S3Client, bucket: str, prefix: str, extra: Mapping[str, Any]
) -> Iterator[str]:
    """Yield every key that starts with `prefix`.

    Raises
    ------
    botocore.exceptions.ClientError
        If the bucket may not be listed.
    S3Error
        If the response is not a listing, or the listing does not end.
    """
    return (item.key for item in _pages(client, bucket, prefix, extra))


@dataclass(frozen=True, slots=True)
class _Page:
    objects: list[StoredObject]
    """Only those whose keys start with the prefix; some stores list others, too."""

    last: str
    """Last key on the page, also if it does not start with the prefix."""

    truncated: bool
    """Whether more pages follow."""

    token: str
    """What the request for the next page must carry; empty in listings before version 2."""


def _page(
    client: S3Client, bucket: str, prefix: str, extra: Mapping[str, Any], **start: Any
) -> _Page:
    response = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **start, **extra)
    listed, truncated = read_listing(response)
    return _Page(
        objects=[item for item in listed if item.key.startswith(prefix)],
        last=listed[-1].key if listed else "",
        truncated=truncated,
        token=response.get("NextContinuationToken", ""),
    )


def read_listing(response: Mapping[str, Any]) -> tuple[list[StoredObject], bool]:
    """Return the objects of a listing, and whether it is truncated.

    Raises
    ------
    S3Error
        If the response is not a listing.
    """
    try:
        listed = [
            StoredObject(item["Key"], item["Size"], item.get("ETag", ""))
            for item in response.get("Contents", [])
        ]
        # Every listing has this element, also an empty one. A web page in the place of a store has
        # not, and must not be taken for an empty bucket.
        return listed, response["IsTruncated"]
    except KeyError:
        raise S3Error("the response is not from S3; check s3_endpoint_url") from None


def _pages(
    client: S3Client, bucket: str, prefix: str, extra: Mapping[str, Any]
) -> Iterator[StoredObject]:
    """Yield every object below `prefix` once, in the order of the listing."""
    seen: set[str] = set()
    tokens: set[str] = set()
    furthest, pages_without_progress = "", 0
    start: dict[str, Any] = {}
    while True:
        page = _page(client, bucket, prefix, extra, **start)
        new = [item for item in page.objects if item.key not in seen]
        yield from new
        if not page.truncated:
            return
        # Stores that ignore the prefix list other keys first: a page that gets further counts, too.
        advanced = bool(new) or page.last.encode() > furthest.encode()
        pages_without_progress = 0 if advanced else pages_without_progress + 1
        allowed = _MAX_PAGES_WITHOUT_NEW_KEYS if page.token else 1
        if page.token in tokens or pages_without_progress >= allowed:
            raise S3Error(
                f"the listing of {bucket!r} below {prefix!r} does not end: the store repeats the "
                "same pages; report this to its administrator"
            )
        seen.update(item.key for item in new)
        furthest = max(furthest, page.last, key=str.encode)
        if page.token:
            tokens.add(page.token)
            start = {"ContinuationToken": page.token}
        else:  # a store that knows only the first version of listings
            start = {"StartAfter": page.last}


def _just_before(key: str) -> str:
    """Return a text that sorts before `key`, with as few possible keys between as is simple.

    StartAfter excludes the key that it names, so it must be a little smaller than the wanted key.
    """
    last = ord(key[-1]) - 1
    before = key[:-1] + chr(last) + "~"
    # XML has no such character, or the text is longer than S3 allows: the shorter text is right,
    # too, but lists more objects.
    if last < ord(" ") or 0xD800 <= last <= 0xDFFF or last in (0xFFFE, 0xFFFF):
        return key[:-1]
    return before if len(before.encode()) <= MAX_KEY_BYTES else key[:-1]
