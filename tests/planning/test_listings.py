"""Many paths are looked up with few requests."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.planning.listings import find_directories, find_missing
from tests.caseless import ignore_case
from tests.delivery.conftest import plan_for


def _paths(folder: Path, count: int) -> list[str]:
    return [f"{folder}/{index}a" for index in range(count)]


def _deny(path: str) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", path)


@pytest.mark.parametrize("count", [4, 5])
def test_directories_are_found_but_not_links_to_them(count: int, workdir: Path) -> None:
    paths = _paths(workdir, count)
    Path(paths[0]).mkdir()
    Path(paths[1]).symlink_to(paths[0])
    Path(paths[2]).touch()
    (workdir / "other").mkdir()
    assert find_directories(paths) == {paths[0]}


def test_an_interrupt_does_not_wait_for_a_hung_disk(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that only read are left behind, both for sources and for destinations."""
    options: list[dict[str, Any]] = []

    def record(function: Any, items: Any, **given: Any) -> list[Any]:
        options.append(given)
        return [function(item) for item in items]

    for name in ("listings", "real_paths", "validation"):
        monkeypatch.setattr(f"nipype_datasink.planning.{name}.adaptive_map", record)
    (workdir / "a").touch()
    plan_for(workdir, {"x": "a"})
    assert len(options) > 3
    assert [each["abandon"] for each in options] == [True] * len(options)


def test_each_folder_is_looked_at(workdir: Path) -> None:
    for name in "xyz":
        (workdir / name / "0a").mkdir(parents=True)
    paths = _paths(workdir / "x", 9) + _paths(workdir / "y", 1) + _paths(workdir / "none", 9)
    assert find_directories(paths) == {f"{workdir}/x/0a", f"{workdir}/y/0a"}


@pytest.mark.parametrize(("count", "listings", "lookups"), [(4, 0, 4), (5, 1, 1), (50, 1, 1)])
def test_a_folder_is_listed_where_that_takes_fewer_requests(
    count: int, listings: int, lookups: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _paths(workdir, count)
    Path(paths[0]).mkdir()
    Path(paths[1]).touch()
    Path(paths[2]).symlink_to(paths[0])  # its entry tells that it is a link
    calls: list[str] = []

    def recorded(name: str) -> Any:
        function = getattr(os, name)

        def call(path: str) -> Any:
            calls.append(name)
            return function(path)

        return call

    with monkeypatch.context() as patch:
        for name in ("scandir", "lstat"):
            patch.setattr(os, name, recorded(name))
        assert find_directories(paths) == {paths[0]}
    assert (calls.count("scandir"), calls.count("lstat")) == (listings, lookups)


@pytest.mark.parametrize(
    ("count", "there", "missing"),
    [
        pytest.param(4, [], [], id="few"),
        pytest.param(5, [], [0, 1, 2, 3, 4], id="all-missing"),
        pytest.param(5, [3], [0, 1, 2, 4], id="one-exists"),
        pytest.param(5, [0], [], id="first-exists"),
    ],
)
def test_missing_paths_are_found_where_the_first_is_missing(
    count: int, there: list[int], missing: list[int], workdir: Path
) -> None:
    paths = _paths(workdir, count)
    for index in there:
        Path(paths[index]).symlink_to("gone")
    assert find_missing(paths) == {paths[index] for index in missing}


def test_only_a_listing_shows_what_is_missing(workdir: Path) -> None:
    (workdir / "file").touch()
    (workdir / "link").symlink_to("gone")
    for name in ("none", "file", "link", "\0"):
        assert find_missing(_paths(workdir / name, 5)) == set()


@pytest.mark.parametrize(("end", "may_exist"), [(".", True), (" ", True), ("X", False)])
def test_a_name_that_a_file_system_may_shorten_may_exist(
    end: str, may_exist: bool, workdir: Path
) -> None:
    paths = _paths(workdir, 5)
    paths[1] += end
    assert find_missing(paths) == {*paths} - ({paths[1]} if may_exist else set())


@pytest.mark.parametrize(("entries", "count"), [(10, 5), (11, 0)])
def test_a_folder_with_many_more_entries_is_not_read_to_its_end(
    entries: int, count: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nipype_datasink.planning.listings._MAX_ENTRIES_FOR_EACH_PATH", 2)
    for index in range(entries):
        (workdir / f"other{index}").touch()
    assert len(find_missing(_paths(workdir, 5))) == count


def test_a_name_in_another_spelling_may_exist(workdir: Path) -> None:
    (workdir / "1A").mkdir()
    paths = _paths(workdir, 5)
    assert find_missing(paths) == {*paths} - {paths[1]}


def test_nothing_is_known_to_be_missing_in_a_folder_that_cannot_be_listed(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _paths(workdir, 9)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", _deny)
        assert find_missing(paths) == set()


def test_a_directory_is_found_under_another_spelling(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "0A").mkdir()
    paths = _paths(workdir, 9)
    assert find_directories(paths) == set()
    ignore_case(monkeypatch, workdir)
    assert find_directories(paths) == {paths[0]}


def test_nothing_is_in_a_file(workdir: Path) -> None:
    (workdir / "file").touch()
    assert find_directories(_paths(workdir / "file", 9)) == set()


def test_a_folder_that_cannot_be_listed_is_looked_up_by_name(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _paths(workdir, 9)
    Path(paths[0]).mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", _deny)
        assert find_directories(paths) == {paths[0]}


@pytest.mark.parametrize("find", [find_directories, find_missing])
@pytest.mark.parametrize("function", ["scandir", "lstat"])
def test_a_time_limit_ends_the_search(
    find: Any, function: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _paths(workdir, 9)
    if function == "lstat":
        Path(paths[0]).mkdir()

    def end(_: str) -> None:
        raise TimeoutError("too late")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, end)
        with pytest.raises(TimeoutError, match="too late"):
            find(paths)
