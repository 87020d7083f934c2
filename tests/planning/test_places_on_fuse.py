"""Delivering to a file system that ignores case and Unicode's normal form, by FUSE."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink import CollisionError, DestinationError, SourceError
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.errors import DeliveryError
from nipype_datasink.planning.places import same_place
from tests import fuse
from tests.conftest import tree
from tests.planning.test_places import COMPOSED, DECOMPOSED, file, sink, two_files


@pytest.fixture(scope="module", params=["inodes", "no-inodes"])
def mount(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    if why := fuse.unavailable_reason():
        pytest.skip(why)
    real, mount = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("mount")
    with fuse.mounted(real, mount, *({"inodes"} & {request.param})):
        yield mount


@pytest.fixture
def disk(mount: Path) -> Path:
    """An empty directory whose file system ignores case and Unicode's normal form."""
    disk = mount / str(len(os.listdir(mount)))  # no letter, so that it says nothing about case
    disk.mkdir()
    return disk


def test_the_file_system_of_these_tests_ignores_case(disk: Path) -> None:
    file(disk / COMPOSED)
    assert (disk / DECOMPOSED.upper()).read_text() == "new"
    assert os.listdir(disk) == [COMPOSED]
    assert same_place(str(disk / COMPOSED), str(disk / DECOMPOSED.upper()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dir/bold.nii", "dir/Bold.nii"),
        (f"dir/{DECOMPOSED}.nii", f"dir/{COMPOSED}.nii"),
        ("Dir/Sub/bold.nii", "dir/sub/Bold.nii"),
        ("dir/sub/gone/x", "dir/SUB/Bold.nii"),
    ],
)
def test_files_just_delivered_are_not_removed_under_another_spelling(
    old: str, new: str, disk: Path, workdir: Path
) -> None:
    file(disk / "out/x" / old, "of an earlier run")
    file(disk / "out/x/dir/old")
    source = file(workdir / new)
    sink(disk / "out", x=workdir / "dir", remove_dest_dir=True)
    assert (disk / "out/x" / new).read_text() == source.read_text()
    files = [path for path in (disk / "out/x").rglob("*") if path.is_file()]
    assert len(files) == 1


def test_files_delivered_to_two_spellings_of_a_folder_are_kept(disk: Path, workdir: Path) -> None:
    file(workdir / "1/Stats/a")
    file(workdir / "2/stats/b")
    file(disk / "out/x/STATS/old")
    folders = [str(workdir / "1/Stats"), str(workdir / "2/stats")]
    sink(disk / "out", x=folders, remove_dest_dir=True)
    assert tree(disk / "out/x") == {"STATS": None, "STATS/a": b"new", "STATS/b": b"new"}


def test_sources_in_another_spelling_of_a_cleared_folder_are_kept(
    disk: Path, workdir: Path
) -> None:
    file(workdir / "d/a")
    file(disk / "out/x/d/Keep")
    sink(disk / "out", x=workdir / "d", y=disk / "OUT/x/D/keep", remove_dest_dir=True)
    assert tree(disk / "out/x") == {"d": None, "d/Keep": b"new", "d/a": b"new"}


def test_the_base_directory_is_not_cleared_under_another_spelling(
    disk: Path, workdir: Path
) -> None:
    file(workdir / "d/a")
    file(disk / "out/old")
    rules = [(str(disk / "out/x/d"), str(disk / "OUT"))]
    with pytest.raises(DestinationError, match="would empty the base directory"):
        sink(disk / "out", x=workdir / "d", substitutions=rules, remove_dest_dir=True)
    assert tree(disk) == {"out": None, "out/old": b"new"}


def test_a_new_base_directory_is_not_cleared_under_another_spelling(
    disk: Path, workdir: Path
) -> None:
    file(workdir / "d/a")
    rules = [(str(disk / f"{COMPOSED}/x/d"), str(disk / DECOMPOSED))]
    file(disk / "1")
    with pytest.raises(DeliveryError, match="would empty the base directory") as caught:
        sink(
            disk / COMPOSED,
            x=workdir / "d",
            y=workdir / "d/a",
            substitutions=rules,
            remove_dest_dir=True,
        )
    assert [outcome.status for outcome in caught.value.outcomes][:2] == [Status.NEW] * 2
    assert (disk / COMPOSED / "y/a").exists()


@pytest.mark.parametrize("there", ["out/x/old.nii", "out/x/BOLD.nii", "Letters", "out/x/"])
def test_two_names_of_one_file_are_a_collision_before_writing(
    there: str, disk: Path, workdir: Path
) -> None:
    if there.endswith("/"):
        (disk / there).mkdir(parents=True)
    else:
        file(disk / there)
    before = tree(disk)
    with pytest.raises(CollisionError, match=r"nothing was written.* as one file: it ignores"):
        sink(disk / "out", x=two_files(workdir))
    assert tree(disk) == before


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize(
    ("name", "other", "size"), [("A", "a", 1), (COMPOSED, DECOMPOSED, 1), ("A", "a", 1 << 20)]
)
def test_a_collision_that_only_writing_shows_fails_the_second_file(
    name: str, other: str, link: bool, size: int, disk: Path, workdir: Path
) -> None:
    first = file(workdir / "1" / name, "1" * size)
    second = file(workdir / "2" / other, "2" * size)
    third = file(workdir / "other")
    with pytest.raises(CollisionError, match="as one file: it ignores") as caught:
        sink(disk / "out", x=[str(first), str(second), str(third)], local_hardlink=link)
    assert isinstance(caught.value, DeliveryError)
    assert tree(disk / "out/x") == {name: b"1" * size, "other": b"new"}
    assert {Path(outcome.transfer.source): outcome.status for outcome in outcomes(caught)} == {
        first: Status.NEW,
        second: Status.FAILED,
        third: Status.NEW,
    }


def outcomes(caught: pytest.ExceptionInfo[Any]) -> tuple[Outcome, ...]:
    return caught.value.outcomes


@pytest.mark.parametrize("names", [("Bold.nii", "bold.nii"), (COMPOSED, DECOMPOSED)])
def test_equal_files_may_have_two_names_of_one_file(
    names: tuple[str, str], disk: Path, workdir: Path
) -> None:
    sources = [str(file(workdir / str(index) / name)) for index, name in enumerate(names)]
    for _ in range(2):
        assert len(sink(disk / "out", x=sources)) == 2
    assert tree(disk / "out/x") == {names[0]: b"new"}


def test_companions_with_two_names_of_one_file_are_a_collision(disk: Path, workdir: Path) -> None:
    for number, name in ("1", "A"), ("2", "a"):
        file(workdir / number / f"{name}.img", "equal")
        file(workdir / number / f"{name}.hdr", number)
    file(disk / "letters")
    with pytest.raises(CollisionError, match=r"[Aa]\.hdr and .*\.hdr differ"):
        sink(disk / "out", x=[str(workdir / "1/A.img"), str(workdir / "2/a.img")])


def test_a_file_and_a_folder_with_one_name_are_a_collision(disk: Path, workdir: Path) -> None:
    file(workdir / "A")
    file(workdir / "a/b")
    file(disk / "letters")
    with pytest.raises(CollisionError, match="is also the folder of other files"):
        sink(disk / "out", x=[str(workdir / "A"), str(workdir / "a")])
    assert not (disk / "out").exists()


def test_a_source_is_not_overwritten_under_another_spelling(disk: Path, workdir: Path) -> None:
    file(disk / "out/x/Bold", "old")
    new = file(workdir / "bold")
    with pytest.raises(CollisionError, match="would overwrite it in the same run"):
        sink(disk / "out", x=new, y=disk / "out/x/BOLD")
    assert tree(disk / "out/x") == {"Bold": b"old"}


def test_a_source_that_is_its_destination_in_another_spelling_is_kept(disk: Path) -> None:
    file(disk / "out/x/Bold")
    (disk / "out/x/Link").symlink_to("Bold")
    sink(disk / "out", x=[str(disk / "OUT/x/bold"), str(disk / "out/X/link")])
    assert sorted(os.listdir(disk / "out/x")) == ["Bold", "Link"]
    assert (disk / "out/x/Link").is_symlink()


def test_a_destination_inside_its_source_is_found_in_another_spelling(disk: Path) -> None:
    file(disk / "Data/a")
    with pytest.raises(SourceError, match="contains its own destination"):
        sink(disk / "data/out", x=disk / "Data")
