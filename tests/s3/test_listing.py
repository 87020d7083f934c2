"""Keys of any form are found with few requests."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink import S3Error
from nipype_datasink.s3.listing import StoredObject, list_keys, look_up

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


class Pages:
    """A client that lists `keys` as S3 does, with `size` keys on each page."""

    def __init__(self, keys: Iterable[str], size: int = 1000) -> None:
        self.keys = sorted(keys, key=str.encode)
        self.size = size
        self.requests: list[dict[str, Any]] = []

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        prefix, after = request["Prefix"], request.get("StartAfter", "")
        below = [key for key in self.keys if key.startswith(prefix)]
        rest = below[bisect_right([key.encode() for key in below], after.encode()) :]
        listed = [{"Key": key, "Size": len(key), "ETag": '"e"'} for key in rest[: self.size]]
        page: dict[str, Any] = {"IsTruncated": len(rest) > self.size}
        return {**page, "Contents": listed} if listed else page


def found(pages: Pages, keys: Iterable[str]) -> list[str]:
    return list(look_up(pages, "mybucket", list(keys), {}))  # type: ignore[arg-type]


def numbered(count: int, step: int = 1) -> list[str]:
    return [f"out/{number:06}" for number in range(0, count, step)]


@pytest.mark.parametrize(
    ("there", "wanted", "requests"),
    [
        ([], numbered(5), 1),
        (numbered(1000), numbered(1000), 1),
        (numbered(2500), numbered(2500), 3),
        (numbered(2500), numbered(2500, 900), 3),
        (numbered(100_000), ["out/000000", "out/050000", "out/099999"], 3),
        (numbered(100_000), numbered(1000), 1),
        (numbered(100_000), ["out/000001x", "out/000001y"], 1),
        (numbered(100_000), ["in/a", "out/050000"], 2),
        (numbered(100_000), ["out/050000"], 2),
        (numbered(100_000), ["out/z"], 2),
        ([f"other/{number}" for number in range(5000)], numbered(5), 1),
    ],
    ids=[
        "nothing there",
        "all of a page",
        "all of three pages",
        "sparse in three pages",
        "three in a hundred pages",
        "dense in a hundred pages",
        "neighbours of which none is there",
        "no common folder",
        "one behind the first page",
        "behind the end",
        "other folders beside it",
    ],
)
def test_there_are_no_more_requests_than_pages_or_keys(
    there: list[str], wanted: list[str], requests: int
) -> None:
    pages = Pages(there)
    assert set(found(pages, wanted)) == set(there).intersection(wanted)
    assert len(pages.requests) <= requests


@pytest.mark.parametrize(
    "keys",
    [
        ["a", "a/b", "a/b/c"],
        ["a", "ab", "abc", "a!", "a~"],
        ["out/a", "out/a b", "out/a+b", "out/a%20b", "out/a&b", "out/ä", "out/日本/ü"],
        ["out/\U0001f9e0.nii", "out/\ufb01.nii", "out/z.nii"],
        ["out/z ", "out/ ", "out/z!"],
        ["out/x\x80", "out/x\x7f", "out/x\u07ff", "out/x\u0800"],
        ["out/a//b", "/out/a", "out/"],
        ["out/x\ue000"],
        ["x" * 1024, "x" * 1023],
    ],
    ids=[
        "each within the next folder",
        "prefixes",
        "signs",
        "UTF-8 sorts otherwise than UTF-16",
        "spaces",
        "ends of encodings",
        "empty parts",
        "after the surrogates",
        "as long as can be",
    ],
)
@pytest.mark.parametrize("size", [1, 1000], ids=["one a page", "all on a page"])
def test_every_key_is_found(keys: list[str], size: int) -> None:
    assert sorted(found(Pages(keys, size), keys)) == sorted(keys)


# No key lies between one of these and the text just before it.
KEYS = st.sets(st.text("ac/é\U00010002", min_size=1, max_size=4), min_size=1, max_size=40)


@given(KEYS, KEYS, st.integers(1, 7))
def test_only_keys_that_exist_are_found(there: set[str], wanted: set[str], size: int) -> None:
    pages = Pages(there, size)
    assert set(found(pages, wanted)) == there & wanted
    assert len(pages.requests) <= min(len(wanted) + 1, -(-len(there) // size))


@pytest.mark.parametrize("last", ["z", "~", "!", " ", "\x80", "\U00010000", "\ue001"])
@pytest.mark.parametrize("length", [5, 1024])
def test_start_after_is_a_valid_key(last: str, length: int) -> None:
    key = "x" * (length - len(last.encode())) + last
    pages = Pages(["!", key], size=1)
    assert found(pages, [key]) == [key]
    after = pages.requests[-1]["StartAfter"]
    assert "!" < after < key
    assert len(after.encode()) <= 1024
    assert "\uffff" not in after


def test_only_the_folder_of_all_keys_is_listed() -> None:
    pages = Pages([])
    found(pages, ["out/sub/a1", "out/sub/a2/b"])
    assert pages.requests[0]["Prefix"] == "out/sub/"


def test_more_arguments_go_with_every_request() -> None:
    pages = Pages(numbered(5000))
    look_up(pages, "mybucket", numbered(5000), {"RequestPayer": "requester"})  # type: ignore[arg-type]
    assert {request["RequestPayer"] for request in pages.requests} == {"requester"}
    assert {request["Bucket"] for request in pages.requests} == {"mybucket"}


def test_without_keys_no_request_is_sent() -> None:
    pages = Pages(["a"])
    assert found(pages, []) == []
    assert pages.requests == []


@pytest.mark.parametrize(
    "answer",
    [{"ResponseMetadata": {}}, {"IsTruncated": False, "Contents": [{"Key": "a"}]}],
    ids=["foreign", "without-sizes"],
)
def test_a_response_that_is_not_a_listing_is_an_error(answer: dict[str, Any]) -> None:
    client = mock.Mock(**{"list_objects_v2.return_value": answer})
    with pytest.raises(S3Error, match="the response is not from S3; check s3_endpoint_url"):
        look_up(client, "mybucket", ["a"], {})


class Careless(Pages):
    """A client that lists `keys` as a store that ignores some arguments of requests."""

    def __init__(self, keys: Iterable[str], size: int, overlooks: str) -> None:
        super().__init__(keys, size)
        self.overlooks = overlooks

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        token = request.pop("ContinuationToken", "")
        if self.overlooks in ("Prefix", "all"):
            request["Prefix"] = ""
        if self.overlooks in ("StartAfter", "all"):
            request["StartAfter"] = ""
        if token and self.overlooks != "all":
            request["StartAfter"] = token
        page = super().list_objects_v2(**request)
        if page["IsTruncated"] and page.get("Contents"):
            page["NextContinuationToken"] = page["Contents"][-1]["Key"]
        return page


def below(pages: Pages, prefix: str) -> list[str]:
    return list(list_keys(pages, "mybucket", prefix, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_keys_outside_the_prefix_are_ignored(size: int) -> None:
    pages = Careless(["a", "b/1", "out/1", "out/2", "outside", "z"], size, "Prefix")
    assert below(pages, "out/") == ["out/1", "out/2"]
    assert found(pages, ["out/1", "out/2", "out/3"]) == ["out/1", "out/2"]


def test_a_store_that_ignores_start_after_is_listed_page_by_page() -> None:
    pages = Careless(numbered(50), 10, "StartAfter")
    assert found(pages, numbered(60, 7)) == numbered(50, 7)
    assert len(pages.requests) <= 2 + 5


@pytest.mark.parametrize("keys", [["out/1", "out/2"], ["a", "b"]], ids=["below", "beside"])
def test_a_listing_that_repeats_itself_is_an_error(keys: list[str]) -> None:
    pages = Careless(keys, 1, "all")
    with pytest.raises(S3Error, match="listing of 'mybucket' below 'out/' does not end"):
        below(pages, "out/")
    with pytest.raises(S3Error, match="does not end"):
        found(pages, ["out/1", "out/9"])
    assert len(pages.requests) < 10


class Endless:
    """A client whose listings never end; `page` makes their pages, each with a new token."""

    def __init__(self, page: Callable[[int], dict[str, Any]]) -> None:
        self.page = page
        self.requests = 0

    def list_objects_v2(self, **_: Any) -> dict[str, Any]:
        self.requests += 1
        page = self.page(self.requests)
        return {"IsTruncated": True, "NextContinuationToken": str(self.requests), **page}


@pytest.mark.parametrize(
    "page",
    [
        lambda _: {},
        lambda _: {"Contents": [{"Key": "out/a", "Size": 1}]},
        lambda count: {"Contents": [{"Key": f"out/{count % 3}", "Size": 1}]},
        lambda _: {"NextContinuationToken": ""},
    ],
    ids=["empty pages", "the same page", "three pages in turn", "no token"],
)
def test_a_listing_without_progress_is_an_error(page: Callable[[int], dict[str, Any]]) -> None:
    endless = Endless(page)
    with pytest.raises(S3Error, match="does not end"):
        list(list_keys(endless, "mybucket", "out/", {}))  # type: ignore[arg-type]
    assert endless.requests < 200


def test_empty_pages_before_the_last_are_allowed() -> None:
    last = {"IsTruncated": False, "Contents": [{"Key": "out/a", "Size": 1}]}
    pages = Endless(lambda count: last if count == 50 else {})
    assert list(list_keys(pages, "mybucket", "out/", {})) == ["out/a"]  # type: ignore[arg-type]


def test_a_listing_without_token_continues_after_its_last_key() -> None:
    assert below(Pages(numbered(25), 10), "out/") == numbered(25)


def test_a_response_that_is_not_a_listing_is_not_an_empty_folder() -> None:
    client = mock.Mock(**{"list_objects_v2.return_value": {"ResponseMetadata": {}}})
    with pytest.raises(S3Error, match="the response is not from S3; check s3_endpoint_url"):
        list(list_keys(client, "mybucket", "out/", {}))


def test_three_keys_among_25_on_pages_of_ten_take_three_requests(
    lone_bucket: Bucket, requests: Counter[str]
) -> None:
    def shorten(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = 10

    client = lone_bucket.meta.client
    client.meta.events.register("provide-client-params.s3.ListObjectsV2", shorten)
    for key in numbered(25):
        lone_bucket.put_object(Key=key)
    keys = ["out/000000", "out/000012", "out/000024", "out/000025"]
    assert list(look_up(client, lone_bucket.name, keys, {})) == keys[:3]
    assert requests["ListObjectsV2"] <= 3
    assert list(list_keys(client, lone_bucket.name, "out/", {})) == numbered(25)


def test_sizes_and_etags_are_returned(bucket: Bucket) -> None:
    bucket.put_object(Key="out/a", Body=b"abc")
    assert look_up(bucket.meta.client, bucket.name, ["out/a", "out/b"], {}) == {
        "out/a": StoredObject("out/a", 3, '"900150983cd24fb0d6963f7d28e17f72"')
    }


@pytest.mark.parametrize(
    "keys",
    list(itertools.combinations(["out/a", "out/a/b", "out/ä ü", "out/a+%&", "out/\U0001f9e0"], 2)),
)
def test_unusual_keys_are_found(bucket: Bucket, keys: tuple[str, ...]) -> None:
    for key in keys:
        bucket.put_object(Key=key)
    assert set(look_up(bucket.meta.client, bucket.name, keys, {})) == set(keys)


def test_only_keys_below_a_prefix_are_listed(bucket: Bucket) -> None:
    for key in ("dir/a", "dir/b/c", "dirX/a", "di"):
        bucket.put_object(Key=key)
    assert list(list_keys(bucket.meta.client, bucket.name, "dir/", {})) == ["dir/a", "dir/b/c"]


def test_a_missing_bucket_is_an_error(bucket: Bucket) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        look_up(bucket.meta.client, "nosuchbucket", ["a"], {})
