"""What inputs name: files, directories and companions as they lie on disk."""

from __future__ import annotations

import inspect
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nipype.interfaces.base import Undefined

from nipype_datasink.planning.sources import (
    Problem,
    Source,
    SourceContents,
    SourceFile,
    flatten,
    same_bytes,
    scan,
    split_extension,
)

NESTED = st.recursive(
    st.text("abc", min_size=1, max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)


def paths(value: object) -> list[str]:
    sources, problems = flatten({"x": value})
    assert problems == []
    return [source.path for source in sources]


def look(path: Path) -> SourceContents:
    return scan(Source("x", str(path)))


def problems(path: Path) -> list[str]:
    return [str(problem) for problem in look(path).problems]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, [], id="none"),
        pytest.param(Undefined, [], id="undefined"),
        pytest.param([], [], id="empty-list"),
        pytest.param([[]], [], id="list-of-empty-list"),
        pytest.param([None, [Undefined, ()]], [], id="nothing-deep-inside"),
        pytest.param("/a", ["/a"], id="text"),
        pytest.param(Path("/a"), ["/a"], id="path"),
        pytest.param(["/b", "/a", "/b"], ["/b", "/a", "/b"], id="in-order-with-repeats"),
        pytest.param([["/a"], "/b", [["/c"], ("/d", Path("/e"))]], list("abcde"), id="mixed"),
        pytest.param({"/a"}, ["/a"], id="set"),
        pytest.param("/a//b/../c/", ["/a/c"], id="normalised"),
    ],
)
def test_values_are_flattened_in_order(value: object, expected: list[str]) -> None:
    assert paths(value) == [f"/{path.lstrip('/')}" for path in expected]


def test_relative_paths_are_below_the_working_directory(workdir: Path) -> None:
    assert paths(["a", "./b/../c"]) == [str(workdir / "a"), str(workdir / "c")]


def test_sources_keep_their_fields_in_order() -> None:
    sources, _ = flatten({"z": "/1", "a": ["/2"], "empty": []})
    assert sources == [Source("z", "/1"), Source("a", "/2")]


class BytesPath(os.PathLike[bytes]):
    """A path of bytes."""

    def __fspath__(self) -> bytes:
        return b"/a"

    def __repr__(self) -> str:
        return "BytesPath()"


def letters() -> Iterator[str]:
    yield "/a"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param("", "x: '' is empty text, which would sink the whole working directory"),
        pytest.param({"a": "/a"}, "x: {'a': '/a'} is no path but dict"),
        pytest.param(3, "x: 3 is no path but int"),
        pytest.param(1.5, "x: 1.5 is no path but float"),
        pytest.param(True, "x: True is no path but bool"),
        pytest.param(b"/a", "x: b'/a' is no path but bytes"),
        pytest.param(BytesPath(), "x: BytesPath() is no path but BytesPath"),
        pytest.param("/a\0b", "x: '/a\\x00b' holds a NUL character"),
        pytest.param("/", "x: '/' is the root of the file system"),
        pytest.param("//", "x: '//' is the root of the file system"),
        pytest.param("/..", "x: '/..' is the root of the file system"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_value_that_is_no_path_is_named(value: object, problem: str, depth: int) -> None:
    for _ in range(depth):
        value = [value]
    sources, found = flatten({"x": value, "y": "/y"})
    assert sources == [Source("y", "/y")]
    assert [str(item) for item in found] == [problem]
    assert not found[0].missing


def test_an_open_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Doe,John\n")
    with (tmp_path / "a.csv").open() as opened, NamedTemporaryFile() as wrapped:
        for value in (opened, wrapped):
            _, found = flatten({"x": value})
            assert [item.why for item in found] == ["is an open file; give its path"]


def test_a_path_that_can_read_itself_is_a_path() -> None:
    class Readable(PurePosixPath):
        def read(self) -> str:
            return ""

    assert flatten({"x": Readable("/a")}) == ([Source("x", "/a")], [])


def test_what_only_seems_to_be_iterable_is_no_path() -> None:
    _, found = flatten({"x": np.array(5)})
    assert [str(item) for item in found] == ["x: array(5) is no path but ndarray"]


def test_an_iterator_is_not_consumed() -> None:
    values = letters()
    _, found = flatten({"x": values})
    assert [item.why for item in found] == ["can be read only once; make it a list"]
    assert list(values) == ["/a"]


@given(value=NESTED)
def test_nothing_is_lost_however_deep(value: object) -> None:
    def leaves(item: object) -> list[str]:
        if isinstance(item, str):
            return [item]
        return [leaf for part in item for leaf in leaves(part)] if item else []  # type: ignore[attr-defined]

    assert [os.path.basename(path) for path in paths(value)] == leaves(value)


def test_a_file_is_a_tree_of_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345")
    assert look(path) == SourceContents(files=(SourceFile(str(path), "", 5),))


@pytest.mark.parametrize(
    ("name", "present", "companions"),
    [
        ("a.img", ["a.hdr", "a.mat"], ["a.hdr", "a.mat"]),
        ("a.hdr", ["a.img", "a.mat", "a.nii"], ["a.img", "a.mat"]),
        ("a.mat", ["a.hdr", "a.img", "a.nii"], ["a.hdr", "a.img", "a.nii"]),
        ("a.nii", ["a.mat", "a.hdr"], ["a.mat"]),
        ("a.BRIK", ["a.HEAD"], ["a.HEAD"]),
        ("a.HEAD", ["a.BRIK"], ["a.BRIK"]),
        ("a.b.img", ["a.b.hdr", "a.hdr"], ["a.b.hdr"]),
        ("a.nii.gz", ["a.mat", "a.nii.mat"], []),
        ("a.IMG", ["a.hdr", "a.HDR"], []),
        ("a.txt", ["a.mat", "a.img"], []),
        ("img", ["hdr", "mat"], []),
    ],
)
def test_a_file_comes_with_its_companions(
    name: str, present: list[str], companions: list[str], tmp_path: Path
) -> None:
    for item in [name, *present]:
        (tmp_path / item).write_bytes(b"x")
    found = [os.path.basename(item.path) for item in look(tmp_path / name).files]
    assert found == [name, *companions]


def test_a_directory_is_no_companion(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"x")
    (tmp_path / "a.mat").mkdir()
    assert [item.path for item in look(tmp_path / "a.nii").files] == [str(tmp_path / "a.nii")]
    assert problems(tmp_path / "a.nii") == []


def test_a_dangling_companion_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"x")
    (tmp_path / "a.mat").symlink_to("gone")
    assert problems(tmp_path / "a.nii") == [
        f"x: {tmp_path / 'a.mat'} links to gone, which is not there"
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/w/a.nii", ("/w/a", ".nii")),
        ("/w/a.nii.gz", ("/w/a", ".nii.gz")),
        ("/w/a.TAR.GZ", ("/w/a", ".TAR.GZ")),
        ("/w/a.niml.dset", ("/w/a", ".niml.dset")),
        ("/w/a.b.gz", ("/w/a.b", ".gz")),
        ("/w/.nii.gz", ("/w/.nii", ".gz")),
        ("/w.x/a", ("/w.x/a", "")),
        ("/w/.a", ("/w/.a", "")),
    ],
)
def test_double_extensions_stay_whole(path: str, expected: tuple[str, str]) -> None:
    assert split_extension(path) == expected


def test_a_directory_is_walked_in_order_through_links(tmp_path: Path) -> None:
    top, other = tmp_path / "top", tmp_path / "other"
    (top / "b" / "empty").mkdir(parents=True)
    other.mkdir()
    for path, size in [(top / "z", 1), (top / "a", 2), (top / "b" / "c", 3), (other / "d", 4)]:
        path.write_bytes(b"x" * size)
    (top / "link").symlink_to(other)
    (top / "file").symlink_to(top / "a")
    tree = look(top)
    assert tree.is_directory
    assert [(item.path, item.below, item.size) for item in tree.files] == [
        (str(top / below), below, size)
        for below, size in [("a", 2), ("b/c", 3), ("file", 2), ("link/d", 4), ("z", 1)]
    ]
    assert tree.directories == ("b", "b/empty", "link")
    assert tree.real_directories == tuple(map(str, [top, top / "b", top / "b" / "empty", other]))


def test_a_directory_may_be_reached_twice_but_not_in_a_circle(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "f").write_bytes(b"x")
    (top / "b").symlink_to(top / "a")
    assert [item.below for item in look(top).files] == ["a/f", "b/f"]
    (top / "a" / "up").symlink_to(top)
    assert problems(top) == [
        f"x: {top}/{below} links to {top}, a directory that contains it"
        for below in ("a/up", "b/up")
    ]


def test_a_missing_source_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    assert look(path).problems == (Problem("x", str(path), "does not exist", True),)
    assert look(path).files == ()


def test_a_source_below_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert look(tmp_path / "f" / "a").problems[0].missing


def test_a_dangling_link_is_named_with_its_aim(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("gone")
    why = "links to gone, which is not there"
    assert look(path).problems == (Problem("x", str(path), why, True),)


def test_a_link_in_a_circle_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("link")
    assert look(path).problems == (Problem("x", str(path), "is a link in a circle", True),)


def test_a_name_that_no_file_can_have_is_missing(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 300)
    assert look(path).problems == (Problem("x", str(path), "does not exist", True),)


@pytest.mark.parametrize("place", ["x", "d/x"], ids=["itself", "in-a-directory"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_never_opened(
    kind: str, place: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workdir / place
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(place)
    assert problems(workdir / place.partition("/")[0]) == [f"x: {path} is a {kind}"]


def test_a_device_is_named() -> None:
    assert problems(Path("/dev/null")) == ["x: /dev/null is a device"]


def test_every_problem_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"x")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "link").symlink_to("gone")
    assert problems(tmp_path) == [
        f"x: {tmp_path}/link links to gone, which is not there",
        f"x: {tmp_path}/null is a device",
    ]


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    assert problems(path) == [f"x: {path} may not be read"]


def test_an_unreadable_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert problems(tmp_path) == [f"x: {tmp_path} cannot be reached: Permission denied"]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        pytest.param(b"", b"", True, id="empty"),
        pytest.param(b"a", b"a", True, id="equal"),
        pytest.param(b"a", b"b", False, id="different"),
        pytest.param(b"a", b"ab", False, id="longer"),
        pytest.param(b"x" * 300_000, b"x" * 300_000, True, id="blocks"),
        pytest.param(b"x" * 300_000, b"x" * 299_999 + b"y", False, id="last-block"),
    ],
)
def test_files_are_compared_by_their_bytes(
    one: bytes, two: bytes, same: bool, tmp_path: Path
) -> None:
    (tmp_path / "1").write_bytes(one)
    (tmp_path / "2").write_bytes(two)
    os.utime(tmp_path / "1", (0, 0))
    assert same_bytes(str(tmp_path / "1"), str(tmp_path / "2")) is same


def test_links_of_one_file_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1").write_bytes(b"x")
    os.link(tmp_path / "1", tmp_path / "2")
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("was opened"))
    assert same_bytes(str(tmp_path / "1"), str(tmp_path / "2"))


def test_directories_may_be_nested_deeper_than_calls(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for _ in range(200):
        folder += "/d"
        os.mkdir(folder)
    Path(folder, "a").write_bytes(b"x")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = look(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert [item.path for item in found.files] == [f"{folder}/a"]
    assert found.problems == ()
