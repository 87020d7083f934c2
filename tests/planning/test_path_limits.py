"""Names and paths that the file system does not allow are errors before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nipype_datasink import DataSink, DestinationError, MissingSourceError, SettingsError
from nipype_datasink.delivery.atomic import _temporary_path
from nipype_datasink.planning.path_limits import TEMPORARY_NAME_BYTES, PathLimits
from tests.conftest import tree

SURROGATE = "\ud800"


def sink(workdir: Path, *substitutions: tuple[str, str], **inputs: object) -> None:
    (workdir / "d/sub").mkdir(parents=True, exist_ok=True)
    for name in ("d/a", "d/sub/b", "c"):
        (workdir / name).write_text(name)
    made = DataSink(base_directory=str(workdir / "out"))
    made.inputs.substitutions = list(substitutions)
    fields: dict[str, object] = {"x": "d", "y": "c"}
    for name, value in {**fields, **inputs}.items():
        setattr(made.inputs, name, value)
    made.run()


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("n" * 256, "contains the name '(n{256})' of 256 bytes; the file system allows 255"),
        ("é" * 128, "contains the name '(é{128})' of 256 bytes; the file system allows 255"),
        (f"{'n' * 300}/a", "of 300 bytes"),
        ("/".join(["n" * 99] * 50), "needs 5,0[0-9]{2} bytes; paths are limited to 4,096"),
    ],
)
def test_all_names_that_are_too_long_are_named_at_once(new: str, why: str, workdir: Path) -> None:
    with pytest.raises(DestinationError, match=why) as caught:
        sink(workdir, ("y/c", f"y/{new}"), ("x/d", f"x/{new}"))
    lines = str(caught.value).splitlines()
    for field in "xy":
        assert any(f"'{workdir}/out/{field}/" in line for line in lines)
    assert not (workdir / "out").exists()


def test_a_lone_surrogate_in_a_destination_is_an_error(workdir: Path) -> None:
    with pytest.raises(DestinationError, match=r"lone surrogate.*\n.*lone surrogate"):
        sink(workdir, container=f"sub{SURROGATE}")
    assert not (workdir / "out").exists()


def test_names_that_are_not_utf8_are_delivered(workdir: Path) -> None:
    (workdir / "\udcff").write_text("z")
    sink(workdir, z=str(workdir / "\udcff"))
    assert tree(workdir / "out/z") == {"\udcff": b"z"}


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_long_names_within_the_limits_are_delivered(name: str, workdir: Path) -> None:
    sink(workdir, ("y/c", f"y/{name}"))
    assert tree(workdir / "out/y") == {name: b"c"}


def test_a_local_copy_is_checked_before_anything_is_written(workdir: Path) -> None:
    with pytest.raises(DestinationError, match="of 256 bytes"):
        sink(workdir, ("copy/y/c", f"copy/y/{'n' * 256}"), local_copy=str(workdir / "copy"))
    assert not (workdir / "out").exists()
    assert not (workdir / "copy").exists()


def test_the_longest_path_leaves_room_for_a_temporary_file() -> None:
    assert len(_temporary_path("/a/b")) == len("/a") + TEMPORARY_NAME_BYTES
    longest = "/" + "/".join(["n" * 99] * 40)
    longest += "/" + "n" * (4095 - TEMPORARY_NAME_BYTES - len(longest) - 1)
    PathLimits().check(f"{longest}/a")
    with pytest.raises(DestinationError) as caught:
        PathLimits().check(f"{longest}n/a")
    assert str(caught.value) == (
        f"'{longest}n/a' needs 4,097 bytes; paths are limited to 4,096. "
        "Shorten it by a substitution"
    )


@pytest.mark.parametrize("answer", [-1, 0, OSError(), ValueError()], ids=repr)
def test_a_file_system_without_limits_allows_any_name(
    answer: int | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pathconf(*_: str) -> int:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(os, "pathconf", pathconf)
    PathLimits().check("/" + "n" * 5000)


def test_each_name_is_checked_by_the_file_system_of_its_directory(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "more" / "sub").mkdir(parents=True)
    limits = {str(workdir): 200, str(workdir / "more"): 300, str(workdir / "more/sub"): 150}

    def pathconf(path: str, kind: str) -> int:
        return limits[os.path.normpath(path)] if kind == "PC_NAME_MAX" else 4096

    monkeypatch.setattr(os, "pathconf", pathconf)
    check = PathLimits().check
    check(f"{workdir}/{'n' * 200}/{'n' * 150}/a")
    check(f"{workdir}/more/{'n' * 300}/a")
    check(f"{workdir}/more/sub/{'n' * 150}")
    for path, length in (("", 201), ("more/", 301), ("more/sub/", 151), ("more/sub/new/", 151)):
        with pytest.raises(DestinationError, match=f"of {length} bytes") as caught:
            check(f"{workdir}/{path}{'n' * length}")
        assert str(caught.value).endswith("Shorten it by a substitution")


def test_short_names_and_paths_need_no_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []

    def record(_: str, kind: str) -> int:
        kinds.append(kind)
        return 4096

    monkeypatch.setattr(os, "pathconf", record)
    PathLimits().check("/" + "n" * 142)
    assert kinds == []
    PathLimits().check(f"/{'n' * 143}/{'n' * 143}")
    assert kinds == ["PC_PATH_MAX"]


def test_a_directory_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[tuple[str, str]] = []

    def record(path: str, kind: str) -> int:
        looked_up.append((path, kind))
        return 255

    monkeypatch.setattr(os, "pathconf", record)
    limits = PathLimits()
    for name in "ab":
        limits.check(f"/{name * 200}")
    assert looked_up == [("/", "PC_PATH_MAX"), ("/", "PC_NAME_MAX")]


def test_a_long_name_at_the_root_is_an_error() -> None:
    with pytest.raises(DestinationError) as caught:
        PathLimits().check(f"/{'n' * 300}")
    assert str(caught.value) == (
        f"'/{'n' * 300}' contains the name '{'n' * 300}' of 300 bytes; the file system allows 255. "
        "Shorten it by a substitution"
    )


def test_a_lone_surrogate_in_the_base_directory_is_an_error(workdir: Path) -> None:
    with pytest.raises(SettingsError, match=r"base_directory .* contains a lone surrogate"):
        sink(workdir, base_directory=f"{workdir}/{SURROGATE}")


def test_a_lone_surrogate_in_a_source_is_a_missing_source(workdir: Path) -> None:
    with pytest.raises(MissingSourceError, match=r"z: .*/q.ud800.* contains a lone surrogate"):
        sink(workdir, z=f"{workdir}/q{SURROGATE}")
    assert (workdir / "out/y/c").exists()
