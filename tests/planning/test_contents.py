"""What sources hold on disk: files, companions and directories."""

from __future__ import annotations

import inspect
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.planning.contents import (
    SourceContents,
    SourceFile,
    scan,
    split_extension,
)
from nipype_datasink.planning.sources import Problem, Source


def look(path: Path) -> SourceContents:
    return scan(Source("x", str(path)))


def problems(path: Path) -> list[str]:
    return [str(problem) for problem in look(path).problems]


def test_the_contents_of_a_file_are_the_file(tmp_path: Path) -> None:
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


def test_links_are_known_among_companions_and_in_directories(tmp_path: Path) -> None:
    for name in ("a.img", "b"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.hdr").symlink_to("b")
    (tmp_path / "a.mat").write_bytes(b"123")
    paths = [str(tmp_path / name) for name in ("a.img", "a.hdr", "a.mat", "b")]
    assert look(tmp_path / "a.img").files == (
        SourceFile(paths[0], "", 1, False),
        SourceFile(paths[1], "", 1, True),
        SourceFile(paths[2], "", 3, False),
    )
    assert look(tmp_path).files == (
        SourceFile(paths[1], "a.hdr", 1, True),
        SourceFile(paths[0], "a.img", 1, False),
        SourceFile(paths[2], "a.mat", 3, False),
        SourceFile(paths[3], "b", 1, False),
    )


def test_a_directory_is_not_a_companion(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"x")
    (tmp_path / "a.mat").mkdir()
    assert [item.path for item in look(tmp_path / "a.nii").files] == [str(tmp_path / "a.nii")]
    assert problems(tmp_path / "a.nii") == []


def test_a_dangling_companion_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"x")
    (tmp_path / "a.mat").symlink_to("gone")
    assert problems(tmp_path / "a.nii") == [
        f"x: {tmp_path / 'a.mat'} links to gone, which does not exist"
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
def test_double_extensions_are_not_split(path: str, expected: tuple[str, str]) -> None:
    assert split_extension(path) == expected


def test_files_of_a_directory_are_sorted_and_links_followed(tmp_path: Path) -> None:
    top, other = tmp_path / "top", tmp_path / "other"
    (top / "b" / "empty").mkdir(parents=True)
    other.mkdir()
    for path, size in [(top / "z", 1), (top / "a", 2), (top / "b" / "c", 3), (other / "d", 4)]:
        path.write_bytes(b"x" * size)
    (top / "link").symlink_to(other)
    (top / "file").symlink_to(top / "a")
    tree = look(top)
    assert tree.is_directory
    assert [(item.path, item.relative_path, item.size) for item in tree.files] == [
        (str(top / relative_path), relative_path, size)
        for relative_path, size in [("a", 2), ("b/c", 3), ("file", 2), ("link/d", 4), ("z", 1)]
    ]
    assert tree.directories == ("b", "b/empty", "link")
    assert tree.real_directories == tuple(map(str, [top, top / "b", top / "b" / "empty", other]))


def test_a_link_to_a_directory_above_it_is_a_problem(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "f").write_bytes(b"x")
    (top / "b").symlink_to(top / "a")
    assert [item.relative_path for item in look(top).files] == ["a/f", "b/f"]
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


def test_a_dangling_link_is_named_with_its_target(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("gone")
    why = "links to gone, which does not exist"
    assert look(path).problems == (Problem("x", str(path), why, True),)


def test_a_link_to_itself_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("link")
    why = "is a link that leads back to itself"
    assert look(path).problems == (Problem("x", str(path), why, True),)


def test_a_source_whose_name_is_too_long_is_missing(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 300)
    assert look(path).problems == (Problem("x", str(path), "does not exist", True),)


@pytest.mark.parametrize("place", ["x", "d/x"], ids=["itself", "in-a-directory"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_pipes_and_sockets_are_never_opened(
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
        f"x: {tmp_path}/link links to gone, which does not exist",
        f"x: {tmp_path}/null is a device",
    ]


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    assert problems(path) == [f"x: {path} is not readable"]


def test_an_unreadable_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", deny)
    assert problems(tmp_path) == [f"x: {tmp_path} cannot be accessed: Permission denied"]


def test_a_directory_that_goes_while_it_is_looked_at_is_missing_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    scandir = os.scandir

    def remove_and_list(directory: str) -> Any:
        os.rmdir(directory)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", remove_and_list)
    contents = look(path)
    assert contents.problems == (Problem("x", str(path), "does not exist", True),)
    assert not contents.exists


@pytest.mark.parametrize("function", ["lstat", "scandir"])
def test_a_time_limit_is_no_problem_of_a_source(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_: str) -> None:
        raise TimeoutError("too late")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, end)
        with pytest.raises(TimeoutError, match="too late"):
            look(tmp_path)


def test_directories_may_have_more_levels_than_nested_calls(tmp_path: Path) -> None:
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
