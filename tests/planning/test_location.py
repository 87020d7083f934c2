"""Directories and prefixes, and the rules for keys in S3."""

from __future__ import annotations

import os
import posixpath
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink.errors import DestinationError
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix

PATHS = st.lists(st.sampled_from(["a", "b", "..", "", "."]), max_size=8).map("/".join)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("", "/out"),
        ("sub001", "/out/sub001"),
        ("a/b/", "/out/a/b"),
        ("../x", "/x"),
        ("/else", "/else"),
    ],
)
def test_a_container_on_disk_is_below_unless_absolute(container: str, expected: str) -> None:
    assert LocalDirectory("/out").child(container) == LocalDirectory(expected)


@pytest.mark.parametrize(
    ("bucket", "name"),
    [(SimpleNamespace(name="mock"), "mock"), (SimpleNamespace(name=1), ""), (None, "")],
)
def test_a_prefix_is_in_the_injected_bucket_if_that_has_a_name(bucket: object, name: str) -> None:
    prefix = S3Prefix("b", "out")
    assert prefix.in_bucket(bucket) == S3Prefix("b", "out", name)


def test_a_directory_is_in_no_bucket() -> None:
    directory = LocalDirectory("/out")
    assert directory.in_bucket(SimpleNamespace(name="mock")) is directory


@pytest.mark.parametrize(
    ("container", "prefix"),
    [
        ("", "out"),
        ("sub001", "out/sub001"),
        ("/sub", "out/sub"),
        ("../x", "x"),
        ("a//b/", "out/a/b"),
    ],
)
def test_a_container_in_s3_is_always_below(container: str, prefix: str) -> None:
    location = S3Prefix("bucket", "out", "other")
    assert location.child(container) == S3Prefix("bucket", prefix, "other")


def test_a_container_that_leaves_the_bucket_is_an_error() -> None:
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket", "out").child("../../x")
    assert str(caught.value) == "'s3://bucket/out/../../x' leaves its bucket by '..'"


def test_parts_are_joined_as_on_disk() -> None:
    assert LocalDirectory("/o").join("/o/x", "a") == "/o/x/a"
    assert LocalDirectory("/o").join("/o/x", "/a") == "/a"
    assert S3Prefix("b").join("s3://b/x", "a") == "s3://b/x/a"
    assert S3Prefix("b").join("s3://b/x", "//a") == "s3://b/x/a"


def test_a_nul_character_in_a_destination_is_an_error() -> None:
    with pytest.raises(DestinationError) as caught:
        LocalDirectory("/o").resolve("/o/\0")
    assert str(caught.value) == "'/o/\\x00' contains a NUL character"


def test_the_text_of_a_location_is_as_written() -> None:
    assert str(LocalDirectory("/out")) == "/out"
    assert str(S3Prefix("bucket")) == "s3://bucket"
    assert str(S3Prefix("bucket", "a/b")) == "s3://bucket/a/b"
    assert str(S3Prefix("bucket", "a/b", "injected")) == "s3://bucket/a/b"


@pytest.mark.parametrize(
    ("location", "label"),
    [
        (LocalDirectory("/out"), "/out"),
        (S3Prefix("bucket"), "s3://bucket"),
        (S3Prefix("bucket", "a/b"), "s3://bucket/a/b"),
        (S3Prefix("bucket", "a/b", "injected"), "s3://injected/a/b"),
        (S3Prefix("bucket", "", "injected"), "s3://injected"),
        (S3Prefix("bucket", "X"), "s3://bucket/X"),
    ],
    ids=str,
)
def test_a_label_names_the_actual_bucket(location: Location, label: str) -> None:
    assert location.label == label


def test_no_substitution_may_change_the_bucket_only() -> None:
    assert LocalDirectory("/out").root == ""
    assert S3Prefix("bucket", "a").root == "s3://bucket"


@pytest.mark.parametrize(
    ("destination", "key"),
    [
        ("s3://bucket/a", "a"),
        ("s3://bucket//a///b", "a/b"),
        ("s3://bucket/a/./b/../c", "a/c"),
        ("s3://bucket/s3://bucket/a", "s3:/bucket/a"),
        ("s3://bucket/a..b/...", "a..b/..."),
    ],
)
def test_a_key_is_resolved_as_a_file_system_would(destination: str, key: str) -> None:
    assert S3Prefix("bucket").key(destination) == key


@pytest.mark.parametrize("destination", ["s3://buckets/a", "s3://bucket", "/a", "S3://bucket/a"])
def test_a_destination_outside_the_bucket_has_no_key(destination: str) -> None:
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket").key(destination)
    assert str(caught.value) == f"{destination!r} is not in the bucket 'bucket'"


def test_a_key_that_leaves_the_bucket_is_an_error() -> None:
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket", "out").key("s3://bucket/out/../../x")
    assert str(caught.value) == "'s3://bucket/out/../../x' leaves its bucket by '..'"


@pytest.mark.parametrize("name", ["a", "k" * 1024, "é" * 512], ids=["1", "1024", "1024-by-2"])
def test_a_key_may_have_up_to_1024_bytes(name: str) -> None:
    assert S3Prefix("bucket").key(f"s3://bucket/{name}") == name


@pytest.mark.parametrize(
    ("name", "size"),
    [("", "0"), ("k" * 1025, "1,025"), ("é" * 513, "1,026")],
    ids=["0", "1025", "1026-by-2"],
)
def test_a_key_of_another_size_is_an_error(name: str, size: str) -> None:
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket").key(f"s3://bucket/{name}")
    assert str(caught.value) == (
        f"{f's3://bucket/{name}'!r} has a key of {size} bytes; S3 allows 1 to 1,024. "
        "Change it by a substitution"
    )


def test_a_key_that_is_not_utf8_is_an_error() -> None:
    destination = os.fsdecode(b"s3://bucket/\xff")
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket").key(destination)
    assert str(caught.value) == (
        f"{destination!r} is not UTF-8, which S3 keys must be; rename it by a substitution"
    )


def test_a_resolved_destination_is_in_the_actual_bucket() -> None:
    assert LocalDirectory("/out").resolve("/out/../x//a") == "/out/../x//a"
    assert S3Prefix("bucket", "o").resolve("s3://bucket/o//./a") == "s3://bucket/o/a"
    assert S3Prefix("bucket", "o", "mine").resolve("s3://bucket/o/a") == "s3://mine/o/a"


@given(path=PATHS)
def test_keys_resolve_as_paths_do_or_leave_the_bucket(path: str) -> None:
    key = S3Prefix("bucket").key(f"s3://bucket/d/d/d/d/d/d/d/d/{path}/f")
    assert f"/{key}" == posixpath.normpath(f"/d/d/d/d/d/d/d/d/{path}/f")


@given(path=PATHS)
def test_a_path_leaves_the_bucket_only_if_it_goes_above_it(path: str) -> None:
    climbs = posixpath.normpath(f"./{path}").startswith("..")
    with pytest.raises(DestinationError) if climbs else nullcontext():
        S3Prefix("bucket").key(f"s3://bucket/{path}/f")


def test_a_lone_surrogate_in_a_destination_is_an_error() -> None:
    with pytest.raises(DestinationError, match="contains a lone surrogate") as caught:
        LocalDirectory("/o").resolve("/o/\ud800")
    assert str(caught.value).endswith("cannot contain; change it by a substitution")
