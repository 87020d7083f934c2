"""Links in paths are resolved with few system calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nipype_datasink.planning.real_paths import RealPathCache, resolve_parent


@pytest.mark.parametrize(
    "path",
    [
        "",
        "new",
        "new/deep",
        "link",
        "link/sub",
        "link/new",
        "up/sub",
        "real/../link/../x",
        "loop/a",
    ],
)
def test_links_are_resolved_as_by_realpath(path: str, workdir: Path) -> None:
    (workdir / "real/sub").mkdir(parents=True)
    (workdir / "link").symlink_to("real/sub/..")
    (workdir / "up").symlink_to("link")
    (workdir / "loop").symlink_to("loop")
    real = RealPathCache()
    for each in (f"{workdir}/real/sub", f"{workdir}/{path}", f"{workdir}/{path}"):
        assert real(each) == os.path.realpath(each)


@pytest.mark.parametrize("slow", [False, True])
def test_many_paths_are_resolved_with_one_call_for_each_folder(
    slow: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "real").mkdir()
    (workdir / "link").symlink_to("real")
    folders = [f"{workdir}/{top}/{name}" for top in ("real", "link", "new") for name in range(9)]
    expected = list(map(os.path.realpath, folders))
    if slow:  # then in threads
        monkeypatch.setattr("nipype_datasink.adaptive._WAITING_SECONDS", -1.0)
    looked_up: list[str] = []
    lstat = os.lstat

    def record(path: str) -> os.stat_result:
        looked_up.append(path)
        return lstat(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", record)
        real = RealPathCache()
        real.look_up([*folders, f"{workdir}/link/../x"])
        count = len(looked_up)
        assert [real(folder) for folder in folders] == expected
    assert len(looked_up) == count
    assert {*looked_up}.isdisjoint(folders[18:])  # nothing is in a folder that does not exist


def test_time_limit_ends_the_search_for_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: str) -> None:
        raise TimeoutError("too late")

    monkeypatch.setattr(os, "lstat", end)
    with pytest.raises(TimeoutError, match="too late"):
        RealPathCache()("/a/b")


@pytest.mark.parametrize("link", [False, True])
def test_many_missing_paths_in_a_folder_need_one_listing(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems look up names that do not exist one after the other."""
    (workdir / "real").mkdir()
    (workdir / "real/8").symlink_to(workdir)
    (workdir / "link").symlink_to("real")
    top = workdir / ("link" if link else "real")
    looked_up: list[str] = []
    lstat = os.lstat

    def record(path: str) -> os.stat_result:
        looked_up.append(path)
        return lstat(path)

    real = RealPathCache()
    real.look_up([str(top)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", record)
        real.look_up([f"{top}/{number}/sub" for number in range(9)])
    below = {path for path in looked_up if path.startswith(f"{workdir}/real/")}
    assert below == {f"{workdir}/real/0", f"{workdir}/real/8"}
    assert real(f"{top}/0/sub") == f"{workdir}/real/0/sub"
    assert real(f"{top}/8/sub") == f"{workdir}/sub"


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/a", "/a"),
        ("/MAX/a", "/MAX/a"),
        ("/none/.", "/none"),
        ("/none/d/..", "/none"),
        ("/none/d/../e", "/none/e"),
        ("/none/d/", "/none/d/"),
        ("/", "/"),
    ],
)
def test_directories_of_a_path_are_resolved(path: str, resolved: str) -> None:
    assert resolve_parent(path, os.path.realpath) == resolved


@pytest.mark.parametrize("link", [False, True])
def test_two_slashes_at_the_start_of_a_path_are_resolved(link: bool, workdir: Path) -> None:
    (workdir / "real").mkdir()
    (workdir / "link").symlink_to(f"/{workdir}/real")
    real = RealPathCache()
    path = f"{workdir}/link/a" if link else f"/{workdir}/real/a"
    real.look_up([path])
    assert real(path) == f"{workdir}/real/a"
    assert resolve_parent(f"{path}/b", real) == f"{workdir}/real/a/b"


def test_absolute_paths_need_no_working_directory(workdir: Path) -> None:
    (workdir / "gone").mkdir()
    os.chdir(workdir / "gone")
    (workdir / "gone").rmdir()
    assert resolve_parent("/none/a", os.path.realpath) == "/none/a"


def test_relative_paths_are_in_the_working_directory(workdir: Path) -> None:
    assert resolve_parent("d/a", str) == f"{workdir}/d/a"
