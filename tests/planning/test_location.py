"""Reading base directories, and the rules of S3's names."""

from __future__ import annotations

import os
import posixpath
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink.errors import DestinationError, SettingsError
from nipype_datasink.planning.location import (
    LocalDirectory,
    Location,
    S3Prefix,
    check_bucket_name,
    check_container,
    parse,
    refuse_password,
    without_password,
)

FOLDERS = st.lists(st.sampled_from(["a", "b.c", "", "."]), max_size=6).map("/".join)
PATHS = st.lists(st.sampled_from(["a", "b", "..", "", "."]), max_size=8).map("/".join)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("/out", LocalDirectory("/out"), id="absolute"),
        pytest.param("/out//a/../b/", LocalDirectory("/out/b"), id="normalised"),
        pytest.param("/s3/bucket", LocalDirectory("/s3/bucket"), id="no-scheme"),
        pytest.param("/out/is3:/b", LocalDirectory("/out/is3:/b"), id="not-a-whole-scheme"),
        pytest.param("/out/10:30/c:/b", LocalDirectory("/out/10:30/c:/b"), id="colons"),
        pytest.param("s3://bucket", S3Prefix("bucket"), id="bucket"),
        pytest.param("s3://bucket/", S3Prefix("bucket"), id="bucket-slash"),
        pytest.param("s3://bucket/a/b", S3Prefix("bucket", "a/b"), id="prefix"),
        pytest.param("s3://bucket//a/./b/../c/", S3Prefix("bucket", "a/c"), id="resolved"),
        pytest.param("S3://Bucket/Prefix", S3Prefix("Bucket", "Prefix"), id="upper-case-scheme"),
        pytest.param("s3://b/a://c", S3Prefix("b", "a:/c"), id="scheme-in-prefix"),
    ],
)
def test_a_base_directory_is_read_as_written(written: str, expected: Location) -> None:
    assert parse(written) == expected


@pytest.mark.parametrize(
    ("written", "below"),
    [("", ""), (".", ""), ("out", "out"), ("./out/../o2", "o2"), ("1://x", "1:/x"), ("s3:", "s3:")],
)
def test_a_relative_directory_is_below_the_working_directory(
    written: str, below: str, workdir: Path
) -> None:
    assert parse(written) == LocalDirectory(str(workdir / below))


def test_a_tilde_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/neuro")
    assert parse("~/out") == LocalDirectory("/home/neuro/out")


@pytest.mark.parametrize("written", ["~nobody-of-that-name", "~nobody-of-that-name/out"])
def test_a_home_that_is_not_known_is_refused(written: str) -> None:
    with pytest.raises(SettingsError, match=r"local_copy .~nobody.*no home directory"):
        parse(written, "local_copy")


def test_a_folder_may_begin_with_a_tilde(workdir: Path) -> None:
    assert parse("./~nobody") == LocalDirectory(str(workdir / "~nobody"))


@pytest.mark.parametrize(
    "written",
    [
        "s3:/bucket/out",
        "S3:/bucket/out",
        str(Path("s3://bucket/out")),
        os.path.abspath("s3://bucket/out"),
        " s3://bucket/out",
        "\ts3://bucket/out",
        "/work/s3://bucket/out",
        "~/s3:/bucket/out",
        "arn:aws:s3:::bucket/out",
        "/work/arn:aws-cn:s3:::bucket/out",
    ],
)
@pytest.mark.parametrize("name", ["base_directory", "local_copy"])
def test_a_path_that_was_made_of_an_address_names_the_address(written: str, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(written, name)
    assert str(caught.value).startswith(f"{name} {written!r} is no directory; ")
    assert "'s3://bucket/out' is meant" in str(caught.value)


@pytest.mark.parametrize(
    "written", ["gs:/b", "/work/gs:/b", "https:/b.s3.amazonaws.com", "file:/o"]
)
def test_a_path_that_was_made_of_another_address_is_refused(written: str) -> None:
    with pytest.raises(SettingsError, match="unknown scheme"):
        parse(written)


@pytest.mark.parametrize(
    "container", ["s3://bucket/out", "s3:/bucket", "sub/s3:/bucket", " s3://b", "arn:aws:s3:::b"]
)
def test_a_container_is_no_address(container: str) -> None:
    with pytest.raises(SettingsError, match="set base_directory to it"):
        check_container(container)


@pytest.mark.parametrize("container", ["", "sub-01", "/abs", "10:30", "a:b/s3:"])
def test_a_container_may_have_any_other_name(container: str) -> None:
    check_container(container)


@pytest.mark.parametrize("written", ["s3://", "S3:///", "s3:///prefix"])
def test_an_s3_path_without_bucket_is_refused(written: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(written)
    assert repr(written) in str(caught.value)
    assert "names no bucket; write 's3://bucket/prefix'" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "scheme"),
    [
        ("gs://x", "gs://"),
        ("S3A://x", "S3A://"),
        ("file:///x", "file://"),
        ("a+b.c-d1://x", "a+b.c-d1://"),
    ],
)
def test_an_unknown_scheme_is_refused(written: str, scheme: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(written)
    assert f"{written!r} has the unknown scheme {scheme!r}" in str(caught.value)
    assert "use a directory or 's3://bucket/prefix'" in str(caught.value)


@pytest.mark.parametrize("written", ["s3://bucket/..", "s3://bucket/a/../../b"])
def test_a_base_outside_its_bucket_is_refused(written: str) -> None:
    with pytest.raises(DestinationError) as caught:
        parse(written)
    assert str(caught.value) == f"{written!r} leaves its bucket by '..'"


@pytest.mark.parametrize(
    "bucket",
    [
        "abc",
        "a" * 255,
        "My_Bucket",
        "1.2-3",
        "Zz9",
        "arn:aws:s3:us-east-1:123456789012:accesspoint:my-point",
        "arn:aws-cn:s3-object-lambda:cn-north-1:123456789012:accesspoint:p.q",
        "arn:aws:s3::123456789012:accesspoint:multi",
    ],
)
def test_a_possible_bucket_name_passes(bucket: str) -> None:
    check_bucket_name(bucket)


@pytest.mark.parametrize(
    "bucket",
    [
        "",
        "ab",
        "a" * 256,
        "-abc",
        ".abc",
        "_abc",
        "a b c",
        "abc\n",
        "a*bc",
        "bückêt",
        "arn:aws:s3:us-east-1:12345678901:accesspoint:p",
        "arn:aws:s3:us-east-1:123456789012:accesspoint:",
        "arn:aws:s3:us-east-1:123456789012:accesspoint:a/b",
        "arn:aws:sqs:us-east-1:123456789012:accesspoint:p",
    ],
)
def test_an_impossible_bucket_name_is_refused(bucket: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_bucket_name(bucket)
    assert str(caught.value) == (
        f"{bucket!r} cannot be a bucket: names have 3 to 255 letters, digits, dots, hyphens "
        "and underscores, and start with a letter or digit"
    )


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


def test_a_container_that_leaves_the_bucket_is_refused() -> None:
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket", "out").child("../../x")
    assert str(caught.value) == "'s3://bucket/out/../../x' leaves its bucket by '..'"


def test_parts_are_joined_as_on_disk() -> None:
    assert LocalDirectory("/o").join("/o/x", "a") == "/o/x/a"
    assert LocalDirectory("/o").join("/o/x", "/a") == "/a"
    assert S3Prefix("b").join("s3://b/x", "a") == "s3://b/x/a"
    assert S3Prefix("b").join("s3://b/x", "//a") == "s3://b/x/a"


def test_a_nul_character_is_refused() -> None:
    with pytest.raises(SettingsError) as settings:
        parse("/o\0", "local_copy")
    assert str(settings.value) == "local_copy '/o\\x00' holds a NUL character"
    with pytest.raises(DestinationError) as destination:
        LocalDirectory("/o").report("/o/\0")
    assert str(destination.value) == "'/o/\\x00' holds a NUL character"


def test_a_location_shows_itself_as_written() -> None:
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
def test_a_label_names_the_bucket_that_receives(location: Location, label: str) -> None:
    assert location.label == label


@pytest.mark.parametrize("written", ["gs://x", "s3://"])
def test_an_error_names_the_input(written: str) -> None:
    with pytest.raises(SettingsError, match=f"^base_directory '{written}' "):
        parse(written)
    with pytest.raises(SettingsError, match=f"^local_copy '{written}' "):
        parse(written, "local_copy")


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
def test_a_destination_elsewhere_has_no_key(destination: str) -> None:
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket").key(destination)
    assert str(caught.value) == f"{destination!r} is not in the bucket 'bucket'"


def test_a_key_that_leaves_the_bucket_is_refused() -> None:
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
def test_a_key_of_another_size_is_refused(name: str, size: str) -> None:
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket").key(f"s3://bucket/{name}")
    assert str(caught.value) == (
        f"{f's3://bucket/{name}'!r} makes a key of {size} bytes; S3 takes 1 to 1,024. "
        "Change it by a substitution"
    )


def test_a_key_that_is_not_utf8_is_refused() -> None:
    destination = os.fsdecode(b"s3://bucket/\xff")
    with pytest.raises(DestinationError) as caught:
        S3Prefix("bucket").key(destination)
    assert str(caught.value) == (
        f"{destination!r} is not UTF-8, which S3 keys must be; rename it by a substitution"
    )


def test_a_report_names_the_place_that_has_the_file() -> None:
    assert LocalDirectory("/out").report("/out/../x//a") == "/out/../x//a"
    assert S3Prefix("bucket", "o").report("s3://bucket/o//./a") == "s3://bucket/o/a"
    assert S3Prefix("bucket", "o", "mine").report("s3://bucket/o/a") == "s3://mine/o/a"


@given(prefix=FOLDERS, container=FOLDERS)
def test_a_prefix_reads_back_from_what_it_shows(prefix: str, container: str) -> None:
    location = parse(f"s3://bucket/{prefix}").child(container)
    assert parse(str(location)) == location


@given(path=PATHS)
def test_keys_resolve_as_paths_do_or_leave_the_bucket(path: str) -> None:
    key = S3Prefix("bucket").key(f"s3://bucket/d/d/d/d/d/d/d/d/{path}/f")
    assert f"/{key}" == posixpath.normpath(f"/d/d/d/d/d/d/d/d/{path}/f")


@given(path=PATHS)
def test_a_path_leaves_the_bucket_exactly_if_it_climbs_above_it(path: str) -> None:
    climbs = posixpath.normpath(f"./{path}").startswith("..")
    with pytest.raises(DestinationError) if climbs else nullcontext():
        S3Prefix("bucket").key(f"s3://bucket/{path}/f")


def test_an_unknown_scheme_is_told_with_what_to_use() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("gs://x")
    assert str(caught.value) == (
        "base_directory 'gs://x' has the unknown scheme 'gs://'; "
        "use a directory or 's3://bucket/prefix'"
    )


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://me:secret@minio.lab:9000/path", "minio.lab:9000"),
        ("http://secret@store", "store"),
        ("s3://key:secret@bucket/a@b", "bucket"),
        (" https://me:secret@minio.lab", "minio.lab"),
        ("me:secret@minio.lab:9000", "minio.lab:9000"),
    ],
)
def test_an_address_with_a_password_is_refused_by_its_host_alone(address: str, host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        refuse_password(address, "s3_endpoint_url")
    message = str(caught.value)
    assert message.startswith(f"s3_endpoint_url: the address of {host!r} holds a user name")
    assert "secret" not in message


@pytest.mark.parametrize("address", ["https://minio.lab:9000/path", "s3://bucket/a@b/c", "", "/a"])
def test_an_address_without_a_password_is_taken(address: str) -> None:
    refuse_password(address, "s3_endpoint_url")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot reach https://me:a@b@minio.lab/x", "cannot reach https://minio.lab/x"),
        ("https://a:b@c, http://d:e@f", "https://c, http://f"),
        ("me@lab and https://minio.lab", "me@lab and https://minio.lab"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_password(text) == shown
