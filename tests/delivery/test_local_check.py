"""`DataSink.check` finds what would fail on disk, and creates nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nipype_datasink import DataSink
from nipype_datasink.delivery.check_report import CheckOptions, CheckStep, PlaceReport, StepVerdict
from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.display import BINARY, format_bytes
from nipype_datasink.planning.location import LocalDirectory
from tests.conftest import as_user, tree

NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount, and be nobody")


def check(path: Path, *, link: bool = False, working_directory: Path | None = None) -> PlaceReport:
    target = LocalTarget(LocalDirectory(str(path)), link=link)
    return target.check(CheckOptions(working_directory=str(working_directory or path.parent)))


def step_of(report: PlaceReport) -> CheckStep:
    (step,) = report.steps
    return step


def problem(path: Path) -> str:
    step = step_of(check(path))
    assert step.verdict is StepVerdict.FAILED
    return step.advice


def test_a_directory_need_not_exist(workdir: Path) -> None:
    before = tree(workdir)
    report = check(workdir / "out" / "deriv", link=True)
    assert report.ok
    assert step_of(report).text.startswith("files, hard links possible, ")
    assert step_of(report).text.endswith(" free")
    assert tree(workdir) == before == {}


def test_the_report_of_a_sink(workdir: Path) -> None:
    free = step_of(check(workdir, link=True)).text
    report = DataSink(base_directory=str(workdir / "out"), local_copy=str(workdir / "copy")).check()
    assert report.ok
    assert str(report).splitlines() == [
        f"{workdir}/out",
        f"  write      {free}  ok",
        f"{workdir}/copy",
        f"  write      {free}  ok",
        "would work: yes",
    ]


def test_a_file_in_the_place_of_the_directory(workdir: Path) -> None:
    (workdir / "out").write_text("x")
    assert problem(workdir / "out").startswith(f"{workdir / 'out'} is not a directory")


def test_a_file_in_the_place_of_a_parent(workdir: Path) -> None:
    (workdir / "out").write_text("x")
    assert problem(workdir / "out/a/b").startswith(f"{workdir / 'out'} is not a directory")


def test_a_link_to_a_directory_that_does_not_exist(workdir: Path) -> None:
    (workdir / "out").symlink_to(workdir / "gone")
    assert f"is a link to {workdir / 'gone'}, which does not exist" in problem(workdir / "out/a")


def test_control_characters_in_a_name_are_escaped(workdir: Path) -> None:
    (workdir / "a\nb\x1b[2J").write_text("x")
    assert problem(workdir / "a\nb\x1b[2J").startswith(
        f"{workdir}/a\\nb\\x1b[2J is not a directory"
    )
    (workdir / "link").symlink_to("c\nd")
    assert "is a link to c\\nd, which does not exist" in problem(workdir / "link")


def test_a_link_to_a_directory(workdir: Path) -> None:
    (workdir / "real").mkdir()
    (workdir / "out").symlink_to(workdir / "real")
    assert check(workdir / "out/a").ok


def test_a_loop_of_links(workdir: Path) -> None:
    (workdir / "out").symlink_to(workdir / "out")
    assert "Too many levels of symbolic links" in problem(workdir / "out")


@pytest.fixture
def public(workdir: Path) -> Path:
    """A directory that every user may enter."""
    for directory in (workdir, *workdir.parents):
        if directory.stat().st_uid == os.geteuid() and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o055)
    return workdir


@needs_root
def test_no_permission_to_write(public: Path) -> None:
    (public / "out").mkdir(mode=0o755)
    with as_user(NOBODY):
        text = problem(public / "out/deriv")
    assert text.startswith(f"no permission to write to {public / 'out'} (owner 0, ")
    assert f"this process is user {NOBODY}" in text


@needs_root
def test_no_permission_to_enter(public: Path) -> None:
    (public / "out").mkdir(mode=0o700)
    with as_user(NOBODY):
        text = problem(public / "out/deriv/sub")
    assert text.startswith(f"{public / 'out/deriv/sub'}: Permission denied")


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small file system."""
    place = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@needs_root
def test_hard_links_are_not_possible_between_file_systems(disk: Path, workdir: Path) -> None:
    assert "hard links" not in step_of(check(disk, working_directory=workdir)).text

    step = step_of(check(disk, link=True, working_directory=workdir))

    assert step.verdict is StepVerdict.WARNING
    assert step.advice.startswith(f"the working directory {workdir} is on another file system")


@needs_root
def test_a_file_system_that_is_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert "mounted read-only" in problem(disk / "out")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
@pytest.mark.parametrize("user", [os.geteuid(), pytest.param(NOBODY, marks=needs_root)])
def test_a_file_system_that_cannot_hold_files(user: int) -> None:
    with as_user(user):
        text = problem(Path("/proc/out/deriv"))
    assert text == "the file system of /proc cannot hold files; choose another base directory"


@needs_root
def test_a_file_system_without_a_limit(disk: Path) -> None:
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=0", "tmpfs", str(disk)], check=True)
    step = step_of(check(disk / "out"))
    assert step.verdict is StepVerdict.OK
    assert step.text.endswith(", free space not known")


@needs_root
def test_a_full_file_system(disk: Path) -> None:
    (disk / "x").write_bytes(b"x" * 65_536)
    assert problem(disk / "out").startswith(f"no space is left on the file system of {disk}")


@needs_root
def test_a_file_system_that_can_hold_no_more_files(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=2", str(disk)], check=True)
    (disk / "x").touch()
    assert "can hold no more files" in problem(disk / "out")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1 << 20, "1 MiB"), (1 << 60, "1024 PiB")],
)
def test_sizes_have_units(count: int, text: str) -> None:
    assert format_bytes(count, BINARY) == text


def test_hard_links_are_named_only_if_the_sink_asks_for_them(workdir: Path) -> None:
    assert "hard links" in step_of(check(workdir, link=True)).text
    assert "hard links" not in step_of(check(workdir, link=False)).text


def test_advice_is_aligned_as_that_of_a_bucket(workdir: Path) -> None:
    (workdir / "out").touch()
    lines = str(DataSink(base_directory=str(workdir / "out")).check()).splitlines()
    assert lines[1] == "  write      files  FAILED"
    assert lines[2].startswith(f"             {workdir}/out")
