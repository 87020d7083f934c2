"""Paths that lead to one place, on a disk that distinguishes case, and on a simulated one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink import DataSink
from nipype_datasink.planning.places import (
    PathMap,
    absolute_path,
    ancestors,
    group_by_depth,
    group_similar_names,
    normalize_name,
    same_place,
    stored_name,
    with_ancestors,
)
from tests.caseless import ignore_case
from tests.conftest import tree

COMPOSED = "r\u00e9sum\u00e9"
DECOMPOSED = "re\u0301sume\u0301"


def file(path: Path, content: str = "new") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def sink(base: Path, **inputs: Any) -> list[str]:
    made = DataSink(base_directory=str(base))
    for name, value in inputs.items():
        setattr(made.inputs, name, str(value) if isinstance(value, Path) else value)
    return made.run().outputs.out_file


def two_files(workdir: Path, first: str = "Bold.nii", second: str = "bold.nii") -> list[str]:
    return [str(file(workdir / "1" / first, "ONE")), str(file(workdir / "2" / second, "TWO"))]


def test_names_that_differ_in_case_or_unicode_form_are_similar() -> None:
    assert normalize_name("/a/T1.nii") == normalize_name("/A/t1.NII")
    assert normalize_name(f"/{COMPOSED}") == normalize_name(f"/{DECOMPOSED}".upper())
    assert normalize_name("/a/b") != normalize_name("/a/c")
    paths = ["/a", "/b", "/A", "s3://b/x", "s3://b/X"]
    assert group_similar_names(paths) == [["/a", "/A"]]


def test_paths_on_a_case_sensitive_disk_are_different_places(workdir: Path) -> None:
    assert same_place("/a", "/a")
    assert not same_place("s3://b/x", "s3://b/X")
    assert not same_place(str(workdir / "new"), str(workdir / "NEW"))
    file(workdir / "new")
    assert not same_place(str(workdir / "new"), str(workdir / "NEW"))
    os.link(workdir / "new", workdir / "NEW")
    assert not same_place(str(workdir / "new"), str(workdir / "NEW"))


@pytest.mark.parametrize(
    ("first", "second"),
    [("Bold.nii", "bold.nii"), (f"{COMPOSED}.nii", f"{DECOMPOSED}.nii"), ("x/A.nii", "X/a.nii")],
)
@pytest.mark.parametrize("link", [False, True])
def test_names_that_differ_in_case_are_two_files_on_a_case_sensitive_disk(
    first: str, second: str, link: bool, workdir: Path
) -> None:
    sources = two_files(workdir, first, second)
    for _ in range(2):
        sink(
            workdir / "out",
            d=[str(workdir / "1"), str(workdir / "2")],
            f=sources,
            local_hardlink=link,
            remove_dest_dir=True,
        )
    texts = [path.read_text() for path in (workdir / "out/f").iterdir()]
    assert sorted(texts) == ["ONE", "TWO"]
    assert (workdir / "out/d/1" / first).read_text() == "ONE"
    assert (workdir / "out/d/2" / second).read_text() == "TWO"


def test_an_old_hard_link_to_a_delivered_file_is_removed(workdir: Path) -> None:
    source = file(workdir / "d/a")
    (workdir / "out/x/d").mkdir(parents=True)
    os.link(source, workdir / "out/x/d/A")
    sink(workdir / "out", x=source.parent, remove_dest_dir=True)
    assert os.listdir(workdir / "out/x/d") == ["a"]


def test_a_file_that_its_directory_does_not_list_has_no_stored_name(workdir: Path) -> None:
    file(workdir / "a")
    assert stored_name(str(workdir), "a", ["b"]) is None
    assert stored_name(str(workdir), "gone", ["b"]) == "gone"
    os.link(workdir / "a", workdir / "b")
    assert stored_name(str(workdir), "a", ["gone", "b"]) == "b"
    file(workdir / "c")
    assert stored_name(str(workdir), "a", ["A", "B", "c"]) == "A"


def test_nothing_is_removed_where_a_kept_file_is_not_listed(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "d/a")
    for name in ("old", "sub/old"):
        file(workdir / "out/x/d" / name)
    listdir = os.listdir

    def hide(path: Any = ".") -> list[str]:
        hidden = {"a"} if str(path) == f"{workdir}/out/x/d" else set()
        return [name for name in listdir(path) if name not in hidden]

    monkeypatch.setattr("nipype_datasink.planning.places.os.listdir", hide)
    sink(workdir / "out", x=source.parent, remove_dest_dir=True)
    assert tree(workdir / "out/x/d") == {"a": b"new", "old": b"new", "sub": None}


def test_the_first_value_of_a_path_is_found() -> None:
    places = PathMap([("/a", 1), ("/a", 2), ("/b", 3)])
    assert [places.find(path) for path in ("/a", "/b", "/c")] == [1, 3, None]


def test_every_folder_is_returned_once() -> None:
    assert with_ancestors(["/a/b/c", "/a/d"]) == {
        "/a/b/c": "/a/b/c",
        "/a/b": "/a/b/c",
        "/a": "/a/b/c",
        "/a/d": "/a/d",
    }


def test_outer_paths_come_before_inner_ones() -> None:
    assert group_by_depth(["/a/b", "/a", "/c", "/a/d"]) == [["/a", "/c"], ["/a/b", "/a/d"]]


@pytest.mark.parametrize("path", ["/a/../b", "//b", "///b", "b"])
def test_a_path_becomes_absolute_and_starts_with_one_slash(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert absolute_path(path) == "/b"


def test_folders_of_a_path_are_its_ancestors() -> None:
    assert list(ancestors("//a/b")) == ["//a"]
    assert with_ancestors(["//a/b"]) == {"//a/b": "//a/b", "//a": "//a/b"}
    assert list(ancestors("/a/b/c")) == ["/a/b", "/a"]
    assert list(ancestors("s3://b/c")) == ["s3://b", "s3:"]


@pytest.fixture
def disk(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory where case and Unicode's normal form are ignored."""
    disk = workdir / "1"  # no letter, so that it says nothing about case
    disk.mkdir()
    ignore_case(monkeypatch, disk)
    return disk


@pytest.mark.parametrize(
    ("created", "other"),
    [
        ("Bold", "bOLD"),
        (COMPOSED, DECOMPOSED),
        (COMPOSED, DECOMPOSED.upper()),
        ("Dir/Sub/a", "dir/sub/A"),
        ("a/b", "A/b"),
    ],
)
def test_names_of_one_file_are_one_place(created: str, other: str, disk: Path) -> None:
    file(disk / created)
    assert same_place(str(disk / created), str(disk / other))
    assert same_place(str(disk / other), str(disk / created))
    assert PathMap([(str(disk / created), 1)]).find(str(disk / other)) == 1
    assert not same_place(str(disk / created), str(disk / other) + "x")


@pytest.mark.parametrize("there", ["file", "1 File", "sub/1"])
def test_new_names_are_one_place_if_other_names_show_that_case_is_ignored(
    there: str, disk: Path
) -> None:
    file(disk / there)
    folder = (disk / there).parent
    assert same_place(str(folder / "new"), str(folder / "NEW"))
    assert same_place(str(folder / "new/a/b"), str(folder / "new/A/B"))
    assert not same_place(str(folder / "new"), str(folder / "old"))
    assert not same_place(str(folder / COMPOSED), str(folder / DECOMPOSED))


def test_new_names_are_different_places_where_nothing_shows_that_case_is_ignored(
    disk: Path,
) -> None:
    assert not same_place(str(disk / "new"), str(disk / "NEW"))
    file(disk / "2/3")
    assert not same_place(str(disk / "2/new"), str(disk / "2/NEW"))


def test_the_name_of_a_mount_point_says_nothing_about_case_in_it(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk / "mount").mkdir()
    assert same_place(str(disk / "mount/new"), str(disk / "mount/NEW"))
    stat = os.stat

    def stat_of_mount(path: Any, **options: Any) -> Any:
        found = stat(path, **options)
        if str(path) != str(disk / "mount"):
            return found
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])

    monkeypatch.setattr(os, "stat", stat_of_mount)
    assert not same_place(str(disk / "mount/new"), str(disk / "mount/NEW"))


def test_case_matters_in_a_directory_that_cannot_be_listed(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as reading shows: if files exist, their inode numbers decide."""

    def deny(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    file(disk / "File")
    monkeypatch.setattr(os, "listdir", deny)
    assert not same_place(str(disk / "new"), str(disk / "NEW"))


def test_inode_numbers_decide_where_names_cannot_be_listed(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    for name in ("file", "FILE", "other"):
        file(workdir / name)
    os.link(workdir / "other", workdir / "OTHER")
    monkeypatch.setattr(os, "listdir", deny)
    assert same_place(str(workdir / "other"), str(workdir / "OTHER"))
    assert not same_place(str(workdir / "file"), str(workdir / "FILE"))


@pytest.mark.parametrize("name", ["a\u00e9", "\u00e91"])
def test_only_ascii_letters_show_that_case_is_ignored(
    name: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems ignore the case of ASCII letters only."""
    file(workdir / "1" / name)
    swapped = str(workdir / "1" / name.replace("a", "A"))
    lexists = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: path == swapped or lexists(path))
    is_same = same_place(str(workdir / "1/new"), str(workdir / "1/NEW"))
    assert is_same == (swapped != str(workdir / "1" / name))
