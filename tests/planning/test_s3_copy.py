"""Test where the S3 copy of a directory tree goes, and how users write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nipype_datasink.errors import DestinationError, SettingsError
from nipype_datasink.planning.location import LocalDirectory, S3Prefix
from nipype_datasink.planning.s3_copy import (
    CopiedDirectory,
    S3Copy,
    make_s3_copy,
    parse_copied_directories,
)


def copy_of(
    base: str = "/data/out",
    container: str = "sub-01",
    written: str | list[CopiedDirectory] = "s3://bucket/study",
) -> S3Copy:
    copy = make_s3_copy(written, LocalDirectory(base), container)
    assert copy
    return copy


def directory(path: str, prefix: str) -> CopiedDirectory:
    return CopiedDirectory(directory=path, prefix=S3Prefix("bucket", prefix))


# Addresses.


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/data/out/sub-01/anat/t1.nii", "s3://bucket/study/sub-01/anat/t1.nii"),
        ("/data/out/sub-01/anat/", "s3://bucket/study/sub-01/anat"),
        ("/data/out/sub-01", "s3://bucket/study/sub-01"),
        ("/data/out/sub-02//a/../b", "s3://bucket/study/sub-02/b"),
        ("/data/out/sub-01/../x", "s3://bucket/study/x"),
        ("/data/out/..x", "s3://bucket/study/..x"),
    ],
)
def test_a_copy_has_the_relative_path_of_the_file(path: str, address: str) -> None:
    assert copy_of().address(path) == address


@pytest.mark.parametrize(
    "path",
    [
        "/data/outside/x",
        "/data/study/x",
        "/data",
        "/data/out/../x",
        "/x",
        "/data/out/a\0/../../../x",
        "/data/\ud800",
    ],
)
def test_what_is_outside_the_base_directory_has_no_copy(path: str) -> None:
    with pytest.raises(DestinationError, match="is not below the base directory") as caught:
        copy_of().address(path)
    assert "s3://bucket/study is the S3 copy" in str(caught.value)


def test_outside_the_bucket_there_is_no_copy() -> None:
    with pytest.raises(DestinationError, match="is not below the base directory"):
        copy_of(written="s3://bucket").address("/data/x")


def test_a_relative_destination_is_below_the_working_directory(workdir: Path) -> None:
    copy = copy_of(base=str(workdir), container="")
    assert copy.address("x/a") == "s3://bucket/study/x/a"


def test_the_base_directory_may_be_written_through_a_link(workdir: Path) -> None:
    (workdir / "real").mkdir()
    (workdir / "link").symlink_to("real")
    copy = copy_of(base=f"{workdir}/link/out", container="c")
    assert copy.address(f"{workdir}/real/out/c/a") == "s3://bucket/study/c/a"


def test_a_link_below_the_base_directory_is_part_of_the_key(workdir: Path) -> None:
    (workdir / "out").mkdir()
    (workdir / "out/link").symlink_to(workdir)
    copy = copy_of(base=f"{workdir}/out", container="")
    assert copy.address(f"{workdir}/out/link/a") == "s3://bucket/study/link/a"


# Base directory and container.


@pytest.mark.parametrize(
    ("container", "location", "base"),
    [
        ("", "study", "study"),
        ("a/b", "study/a/b", "study"),
        ("/data/out/sub-01", "study/sub-01", "study"),
        ("/elsewhere/sub-01", "study/elsewhere/sub-01", "study/elsewhere/sub-01"),
        ("../sub-01", "sub-01", "sub-01"),
    ],
)
def test_the_container_of_a_copy(container: str, location: str, base: str) -> None:
    copy = copy_of(container=container)
    assert (copy.location.prefix, copy.base.prefix) == (location, base)
    assert copy.address(f"{copy.local_location}/x") == f"s3://bucket/{location}/x"


def test_a_copy_of_the_root_directory() -> None:
    copy = copy_of(base="/", container="c", written="s3://bucket")
    assert copy.address("/c/x") == "s3://bucket/c/x"


def test_an_injected_bucket_has_its_own_name() -> None:
    class Bucket:
        name = "injected"

    copy = copy_of().in_bucket(Bucket())
    assert (copy.location.label, copy.base.label) == (
        "s3://injected/study/sub-01",
        "s3://injected/study",
    )
    assert copy_of().in_bucket(None) == copy_of()


def test_an_address_must_be_in_s3() -> None:
    with pytest.raises(SettingsError, match=r"s3_copy '/x' is not an address in S3.*local_copy"):
        copy_of(written="/x")


# Directories that are copied.


@pytest.mark.parametrize(
    ("base", "container", "location", "base_prefix"),
    [
        ("/data", "c", "all/c", "all"),
        ("/data/study/out", "c", "all/study/out/c", "all/study/out"),
        ("/data/best", "", "best", "best"),
        ("/data/best/out", "c", "best/out/c", "best/out"),
        ("/data/bestof", "", "all/bestof", "all/bestof"),
        ("/nowhere", "/data/best/out", "best/out", "best/out"),
    ],
)
def test_the_innermost_directory_decides(
    base: str, container: str, location: str, base_prefix: str
) -> None:
    written = [directory("/data", "all"), directory("/data/best", "best")]
    copy = copy_of(base, container, written)
    assert (copy.location.prefix, copy.base.prefix) == (location, base_prefix)
    assert copy_of(base, container, written[::-1]) == copy


# The last: a container in the base directory does not decide.
@pytest.mark.parametrize(("base", "container"), [("/dat", ""), ("/data", "/x"), ("/", "data")])
def test_other_directories_have_no_copy(base: str, container: str) -> None:
    assert make_s3_copy([directory("/data", "p")], LocalDirectory(base), container) is None


def test_the_root_directory_contains_all_others() -> None:
    assert copy_of("/data/out", "c", [directory("/", "p")]).location.prefix == "p/data/out/c"


def test_directories_are_identified_without_links(workdir: Path) -> None:
    (workdir / "real/sub").mkdir(parents=True)
    (workdir / "link").symlink_to("real")
    text = f"{workdir}/link=s3://bucket/p"
    for base in ("link/sub/out", "real/sub/out"):
        copy = copy_of(f"{workdir}/{base}", "", list(parse_copied_directories(text, "x")))
        assert copy.address(f"{workdir}/{base}/a") == "s3://bucket/p/sub/out/a"


def test_a_link_that_leads_out_of_a_directory_is_in_it_as_it_is_written(workdir: Path) -> None:
    (workdir / "real").mkdir()
    (workdir / "scratch").mkdir()
    (workdir / "link").symlink_to("real")
    (workdir / "real/sub").symlink_to("../scratch")
    base = f"{workdir}/link/sub/out"
    text = f"{workdir}/link=s3://bucket/p"
    copy = copy_of(base, "c", list(parse_copied_directories(text, "x")))
    assert copy.address(f"{base}/c/a") == "s3://bucket/p/sub/out/c/a"
    text += f"\n{workdir}/scratch=s3://bucket/other"
    copy = copy_of(base, "", list(parse_copied_directories(text, "x")))
    assert copy.address(f"{base}/a") == "s3://bucket/other/out/a"


# What users write.


def test_one_directory_in_each_line(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(workdir))
    text = "\n /a,b=c/=S3://bucket/p=1/ \n\n~/out=s3://other\n"
    found = parse_copied_directories(text, "x")
    assert list(map(str, found)) == ["/a,b=c=s3://bucket/p=1", f"{workdir}/out=s3://other"]
    assert parse_copied_directories("\n".join(map(str, found)), "x") == found


def test_a_relative_directory_needs_a_working_directory(workdir: Path) -> None:
    (found,) = parse_copied_directories("a=s3://bkt", "x", working_directory=str(workdir))
    assert found.directory == f"{workdir}/a"
    with pytest.raises(SettingsError, match="x: the directory 'a' is relative; write an absolute"):
        parse_copied_directories("a=s3://bkt", "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a", "'/a' is not valid; write 'DIR=s3://bucket/prefix'"),
        ("/a=/b", "'/a=/b' is not valid"),
        ("=s3://bucket", "'=s3://bucket' is not valid"),
        ("/a=gs://bucket", "is not valid"),
        ("/a=https://me:secret@host/bucket", "'/a=https://host/bucket' is not valid"),
        ("/a=s3://me:secret@bucket/p", "contains a user name or password"),
        ("/a=s3://", "has no bucket name"),
        ("/a=s3://b", "'b' is not a valid bucket name"),
        ("/a=s3://bucket\n/a/=s3://bucket/p", "the directory '/a' has two copies, s3://bucket and"),
    ],
)
def test_what_is_not_valid_is_an_error(text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_copied_directories(text, "--s3-copy")
    assert expected in str(caught.value)
    assert "--s3-copy" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("directory", "prefix", "other", "other_prefix"),
    [
        ("/a", "p", "/b", "p"),
        ("/a", "", "/b", "x/y"),
        ("/a", "p", "/b", "p/x"),
        ("/a", "p", "/a/x", "p"),
        ("/a", "p", "/a/x", "p/y"),
        ("/a", "p/x", "/a/x", "p"),
    ],
)
def test_directories_that_share_keys_are_an_error(
    directory: str, prefix: str, other: str, other_prefix: str
) -> None:
    lines = [f"{directory}=s3://bucket/{prefix}", f"{other}=s3://bucket/{other_prefix}"]
    inner = max(prefix, other_prefix, key=len)
    for text in ("\n".join(lines), "\n".join(lines[::-1])):
        with pytest.raises(SettingsError) as caught:
            parse_copied_directories(text, "--s3-copy")
        message = str(caught.value)
        assert message.startswith("--s3-copy: files of ")
        assert repr(directory) in message
        assert repr(other) in message
        assert f"could replace each other in s3://bucket/{inner}; write another" in message


@pytest.mark.parametrize(
    "text",
    [
        "/a=s3://bucket/p\n/b=s3://other/p",
        "/a=s3://bucket/p\n/b=s3://bucket/p-1",
        "/a=s3://bucket/p\n/a/x=s3://bucket/q",
        # Each file has one key, with the second line or without it.
        "/a=s3://bucket/p\n/a/x/y=s3://bucket/p/x/y",
        "/=s3://bucket\n/x=s3://bucket/x",
    ],
)
def test_directories_with_different_keys_are_valid(text: str) -> None:
    assert len(parse_copied_directories(text, "x")) == 2


def test_a_directory_may_be_repeated() -> None:
    text = "/a=s3://bucket/p\n/a=s3://bucket/p"
    assert parse_copied_directories(text, "x")[0].directory == "/a"
