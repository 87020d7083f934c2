"""Addresses and base directories as users write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink.errors import DestinationError, SettingsError
from nipype_datasink.planning.addresses import (
    check_bucket_name,
    check_container,
    check_no_password,
    expand_home,
    parse_location,
    remove_passwords,
)
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix

FOLDERS = st.lists(st.sampled_from(["a", "b.c", "", "."]), max_size=6).map("/".join)


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
def test_a_base_directory_is_parsed(written: str, expected: Location) -> None:
    assert parse_location(written) == expected


@pytest.mark.parametrize(
    ("written", "below"),
    [("", ""), (".", ""), ("out", "out"), ("./out/../o2", "o2"), ("1://x", "1:/x"), ("s3:", "s3:")],
)
def test_a_relative_directory_is_below_the_working_directory(
    written: str, below: str, workdir: Path
) -> None:
    assert parse_location(written) == LocalDirectory(str(workdir / below))


def test_a_tilde_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/neuro")
    assert parse_location("~/out") == LocalDirectory("/home/neuro/out")


@pytest.mark.parametrize("written", ["~nobody-of-that-name", "~nobody-of-that-name/out"])
def test_an_unknown_home_directory_is_an_error(written: str) -> None:
    with pytest.raises(SettingsError, match=r"local_copy .~nobody.*: the home directory of"):
        parse_location(written, "local_copy")


def test_a_folder_name_may_start_with_a_tilde(workdir: Path) -> None:
    assert parse_location("./~nobody") == LocalDirectory(str(workdir / "~nobody"))


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
def test_a_path_made_from_an_s3_address_is_an_error_with_the_address(
    written: str, name: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_location(written, name)
    assert str(caught.value).startswith(f"{name} {written!r} is not a directory; ")
    assert "for 's3://bucket/out', set exactly this text" in str(caught.value)


@pytest.mark.parametrize(
    "written", ["gs:/b", "/work/gs:/b", "https:/b.s3.amazonaws.com", "file:/o"]
)
def test_a_path_made_from_another_address_is_an_error(written: str) -> None:
    with pytest.raises(SettingsError, match="unknown scheme"):
        parse_location(written)


@pytest.mark.parametrize(
    "container", ["s3://bucket/out", "s3:/bucket", "sub/s3:/bucket", " s3://b", "arn:aws:s3:::b"]
)
def test_a_container_must_not_be_an_address(container: str) -> None:
    with pytest.raises(SettingsError, match="set base_directory to it"):
        check_container(container)


@pytest.mark.parametrize("container", ["", "sub-01", "/abs", "10:30", "a:b/s3:"])
def test_a_container_may_have_any_other_name(container: str) -> None:
    check_container(container)


@pytest.mark.parametrize("written", ["s3://", "S3:///", "s3:///prefix"])
def test_an_s3_address_without_bucket_is_an_error(written: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_location(written)
    assert repr(written) in str(caught.value)
    assert "has no bucket name; write 's3://bucket/prefix'" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "scheme"),
    [
        ("gs://x", "gs://"),
        ("S3A://x", "S3A://"),
        ("file:///x", "file://"),
        ("a+b.c-d1://x", "a+b.c-d1://"),
    ],
)
def test_an_unknown_scheme_is_an_error(written: str, scheme: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_location(written)
    assert f"{written!r} has the unknown scheme {scheme!r}" in str(caught.value)
    assert "use a directory or 's3://bucket/prefix'" in str(caught.value)


@pytest.mark.parametrize("written", ["s3://bucket/..", "s3://bucket/a/../../b"])
def test_a_base_directory_outside_its_bucket_is_an_error(written: str) -> None:
    with pytest.raises(DestinationError) as caught:
        parse_location(written)
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
def test_a_valid_bucket_name_is_accepted(bucket: str) -> None:
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
def test_an_invalid_bucket_name_is_an_error(bucket: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_bucket_name(bucket)
    assert str(caught.value) == (
        f"{bucket!r} is not a valid bucket name: names have 3 to 255 letters, digits, dots, "
        "hyphens and underscores, and start with a letter or digit"
    )


def test_a_nul_character_is_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_location("/o\0", "local_copy")
    assert str(caught.value) == "local_copy '/o\\x00' contains a NUL character"


@pytest.mark.parametrize("written", ["gs://x", "s3://"])
def test_an_error_names_the_input(written: str) -> None:
    with pytest.raises(SettingsError, match=f"^base_directory '{written}' "):
        parse_location(written)
    with pytest.raises(SettingsError, match=f"^local_copy '{written}' "):
        parse_location(written, "local_copy")


@given(prefix=FOLDERS, container=FOLDERS)
def test_the_text_of_a_prefix_can_be_parsed_again(prefix: str, container: str) -> None:
    location = parse_location(f"s3://bucket/{prefix}").child(container)
    assert parse_location(str(location)) == location


def test_the_error_for_an_unknown_scheme_says_what_to_use() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_location("gs://x")
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
def test_an_address_with_a_password_is_an_error_that_names_the_host(
    address: str, host: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_no_password(address, "s3_endpoint_url")
    message = str(caught.value)
    assert message.startswith(f"s3_endpoint_url: the address of {host!r} contains a user name")
    assert "secret" not in message


@pytest.mark.parametrize("address", ["https://minio.lab:9000/path", "s3://bucket/a@b/c", "", "/a"])
def test_an_address_without_a_password_is_accepted(address: str) -> None:
    check_no_password(address, "s3_endpoint_url")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot reach https://me:a@b@minio.lab/x", "cannot reach https://minio.lab/x"),
        ("https://a:b@c, http://d:e@f", "https://c, http://f"),
        ("me@lab and https://minio.lab", "me@lab and https://minio.lab"),
    ],
)
def test_passwords_are_removed_from_text(text: str, shown: str) -> None:
    assert remove_passwords(text) == shown


def test_a_lone_surrogate_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"^local_copy .* contains a lone surrogate"):
        parse_location("/o\ud800", "local_copy")


@pytest.mark.parametrize("path", ["~no-such-user", "~no-such-user/keys/aws.csv"])
def test_the_error_for_an_unknown_home_directory_names_the_user(path: str) -> None:
    with pytest.raises(SettingsError, match="of '~no-such-user' is not known") as caught:
        expand_home(path, "creds_path")
    assert "or './~no-such-user' for a folder" in str(caught.value)


def test_a_password_may_contain_an_at_sign() -> None:
    with pytest.raises(SettingsError, match=r"the address of 'minio\.lab' contains") as caught:
        check_no_password("https://me:pass@word@minio.lab", "s3_endpoint_url")
    assert "word@" not in str(caught.value)
    assert str(caught.value).endswith("use creds_path, s3_profile or the environment")


def test_a_container_must_not_contain_a_nul_character() -> None:
    with pytest.raises(SettingsError, match="contains a NUL character"):
        check_container("sub\0")


def test_the_error_for_an_address_as_container_ends_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"; set base_directory to it$"):
        check_container("s3://bucket")


def test_a_path_made_from_the_arn_of_an_access_point_is_an_error_with_the_arn() -> None:
    arn = "arn:aws:s3:us-east-1:123456789012:accesspoint:my-point"
    with pytest.raises(SettingsError, match=f"for 's3://{arn}/out', set") as caught:
        parse_location(f"/work/{arn}/out")
    assert str(caught.value).endswith(": os.path.abspath and pathlib.Path change addresses")


def test_the_error_for_a_path_made_from_another_address_says_what_to_use() -> None:
    with pytest.raises(SettingsError, match=r"; use a directory or 's3://bucket/prefix'$"):
        parse_location("/work/gs:/b")
