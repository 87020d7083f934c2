"""Directories among many paths are found with few requests."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.planning.listings import find_directories
from tests.caseless import ignore_case
from tests.delivery.conftest import plan_for


def _paths(folder: Path, count: int) -> list[str]:
    return [f"{folder}/{index}a" for index in range(count)]


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

    for name in ("listings", "places", "validation"):
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

    def deny(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", deny)
        assert find_directories(paths) == {paths[0]}


@pytest.mark.parametrize(("function", "count"), [("scandir", 9), ("lstat", 1)])
def test_a_time_limit_ends_the_search(
    function: str, count: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_: str) -> None:
        raise TimeoutError("too late")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, end)
        with pytest.raises(TimeoutError, match="too late"):
            find_directories(_paths(workdir, count))
