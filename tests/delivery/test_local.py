"""Files arrive on disk whole or not at all, and nothing else is touched."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.delivery.atomic import make_directory
from nipype_datasink.delivery.execution import Outcome, Status
from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.plan import Plan
from nipype_datasink.planning.routing import Rules, Substitutions
from nipype_datasink.planning.validation import make_valid_plan
from tests.conftest import tree

LITTER = ".datasink-0123456789abcdef"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def file(path: Path, content: bytes = b"new") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def aged(path: Path, hours: float = 25) -> Path:
    """Make a file look as if nobody had written to it since."""
    before = time.time() - hours * 3600
    os.utime(path, (before, before))
    return path


def plan_for(workdir: Path, fields: dict[str, object], **options: Any) -> Plan:
    return make_valid_plan(
        fields,
        Rules(
            locations=(LocalDirectory(str(workdir / "out")),),
            relative=lambda source: source.rstrip("/").rpartition("/")[2],
            substitute=Substitutions(literal=options.pop("rules", ())).apply,
            **options,
        ),
    )


def deliver(plan: Plan, workdir: Path, link: bool = False) -> list[Outcome]:
    return LocalTarget(LocalDirectory(str(workdir / "out")), link=link).deliver(plan)


def sink(workdir: Path, link: bool = False, **fields: object) -> list[Outcome]:
    return deliver(plan_for(workdir, fields), workdir, link)


def statuses(outcomes: list[Outcome]) -> list[Status]:
    return [outcome.status for outcome in outcomes]


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("link", [False, True])
def test_a_file_arrives_with_its_bytes(link: bool, workdir: Path) -> None:
    source = file(workdir / "a")
    assert statuses(sink(workdir, link, x="a")) == [Status.SENT]
    assert tree(workdir / "out") == {"x": None, "x/a": b"new"}
    assert os.path.samefile(source, workdir / "out/x/a") is link


def test_what_is_there_already_is_left_alone(workdir: Path) -> None:
    file(workdir / "a")
    there = file(workdir / "out/x/a")
    os.utime(there, (1, 1))
    inode = there.stat().st_ino
    assert statuses(sink(workdir, link=True, x="a")) == [Status.UNCHANGED]
    assert (there.stat().st_ino, there.stat().st_mtime) == (inode, 1)


def test_the_base_exists_even_if_nothing_is_sunk(workdir: Path) -> None:
    assert sink(workdir) == []
    assert tree(workdir) == {"out": None}


def test_a_base_that_links_to_nothing_yet_is_made_where_it_links(workdir: Path) -> None:
    file(workdir / "a")
    (workdir / "out").symlink_to("there")
    sink(workdir, x="a")
    assert tree(workdir / "there") == {"x": None, "x/a": b"new"}
    assert (workdir / "out").is_symlink()


@pytest.mark.parametrize("link", [False, True])
def test_directories_and_their_links_arrive_as_files(link: bool, workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "else/b")
    (workdir / "d/empty").mkdir()
    (workdir / "d/dir").symlink_to(workdir / "else")
    (workdir / "d/link").symlink_to("a")
    sink(workdir, link, x="d")
    out = workdir / "out/x/d"
    assert tree(out) == {"a": b"new", "dir": None, "dir/b": b"new", "empty": None, "link": b"new"}
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert not os.path.samefile(workdir / "d/a", out / "a")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(mask: int, mode: int, workdir: Path) -> None:
    file(workdir / "a").chmod(0o755)
    file(workdir / "out/y/a", b"old").chmod(0o400)
    os.umask(mask)
    sink(workdir, x="a", y="a")
    for field in "xy":
        assert (workdir / "out" / field / "a").stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("link", [False, True])
def test_other_links_of_the_old_file_keep_its_bytes(link: bool, workdir: Path) -> None:
    other = file(workdir / "other", b"old")
    source = file(workdir / "a")
    (workdir / "out/x").mkdir(parents=True)
    os.link(other, workdir / "out/x/a")
    assert statuses(sink(workdir, link, x="a")) == [Status.SENT]
    assert (workdir / "out/x/a").read_bytes() == b"new"
    assert os.path.samefile(source, workdir / "out/x/a") is link
    assert other.read_bytes() == b"old"


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("aim", ["other", "a", "gone", "."])
def test_a_link_at_the_destination_is_replaced_by_the_file(
    aim: str, link: bool, workdir: Path
) -> None:
    other = file(workdir / "other", b"old")
    file(workdir / "a")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    place.symlink_to(workdir / aim)
    assert statuses(sink(workdir, link, x="a")) == [Status.SENT]
    assert not place.is_symlink()
    assert place.read_bytes() == b"new"
    assert other.read_bytes() == b"old"
    assert os.listdir(place.parent) == ["a"]


@pytest.mark.parametrize("link", [False, True])
def test_a_link_that_is_sunk_into_its_own_place_stays(link: bool, workdir: Path) -> None:
    file(workdir / "real")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    place.symlink_to(workdir / "real")
    assert statuses(sink(workdir, link, x=str(place))) == [Status.UNCHANGED]
    assert place.is_symlink()


def test_a_hard_link_is_made_of_what_a_source_links_to(workdir: Path) -> None:
    real = file(workdir / "real")
    (workdir / "a").symlink_to(real)
    sink(workdir, link=True, x="a")
    assert not (workdir / "out/x/a").is_symlink()
    assert os.path.samefile(real, workdir / "out/x/a")


def test_where_nothing_is_a_hard_link_is_made_straight_away(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a")
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    assert statuses(sink(workdir, link=True, x="a")) == [Status.SENT]
    assert os.path.samefile(source, workdir / "out/x/a")


def test_companions_are_linked_too(workdir: Path) -> None:
    for name in ("a.img", "a.hdr"):
        file(workdir / name)
    sink(workdir, link=True, x="a.img")
    for name in ("a.img", "a.hdr"):
        assert os.path.samefile(workdir / name, workdir / "out/x" / name)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
def test_a_file_that_cannot_be_linked_is_copied(
    number: int, old: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a")
    if old:
        file(workdir / "out/x/a", b"old")
    monkeypatch.setattr(os, "link", failing(number))
    assert statuses(sink(workdir, link=True, x="a")) == [Status.SENT]
    assert tree(workdir / "out/x") == {"a": b"new"}
    assert not os.path.samefile(source, workdir / "out/x/a")


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
def test_names_may_have_255_bytes(old: bool, link: bool, workdir: Path) -> None:
    name = "é" * 127 + "a"
    file(workdir / name)
    if old:
        file(workdir / "out/x" / name, b"old")
    assert statuses(sink(workdir, link, x=name)) == [Status.SENT]
    assert tree(workdir / "out/x") == {name: b"new"}


@pytest.mark.parametrize("link", [False, True])
def test_replacing_a_file_never_leaves_its_name_without_one(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    place = file(workdir / "out/x/a", b"old")
    seen: list[bytes] = []
    replace = os.replace

    def watch(source: str, target: str) -> None:
        seen.append(place.read_bytes())
        replace(source, target)
        seen.append(place.read_bytes())

    monkeypatch.setattr(os, "replace", watch)
    monkeypatch.setattr(os, "remove", failing(errno.EPERM))
    sink(workdir, link, x="a")
    assert seen == [b"old", b"new"]


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="the kernel does not copy here")
@pytest.mark.parametrize(
    "number",
    [
        *(errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM),
        *(errno.EIO, errno.EACCES, errno.EBADF, errno.ENOENT, errno.ENOMEM, errno.ETXTBSY),
    ],
    ids=lambda number: errno.errorcode[number],
)
def test_what_the_kernel_cannot_copy_is_copied_anyway(
    number: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a", b"x" * 3_000_000)
    monkeypatch.setattr(os, "copy_file_range", failing(number))
    assert statuses(sink(workdir, x="a")) == [Status.SENT]
    assert (workdir / "out/x/a").read_bytes() == b"x" * 3_000_000


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="the kernel does not copy here")
@pytest.mark.parametrize("end", ["zero", "error"])
def test_a_copy_the_kernel_begins_is_finished(
    end: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a", b"0123456789")
    answers = iter([4, 3])
    copy = os.copy_file_range

    def some(source: int, target: int, count: int) -> int:
        part = next(answers, 0)
        if not part and end == "error":
            raise OSError(errno.EXDEV, "")
        return copy(source, target, part) if part else 0

    monkeypatch.setattr(os, "copy_file_range", some)
    assert statuses(sink(workdir, x="a")) == [Status.SENT]
    assert (workdir / "out/x/a").read_bytes() == b"0123456789"


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="the kernel does not copy here")
def test_a_kernel_copy_that_fails_in_the_middle_is_a_failure(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a", b"0123456789")
    copy = os.copy_file_range
    answers = iter([4])

    def some(source: int, target: int, count: int) -> int:
        for part in answers:
            return copy(source, target, part)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "copy_file_range", some)
    (outcome,) = sink(workdir, x="a")
    assert getattr(outcome.cause, "errno", None) == errno.EIO
    assert tree(workdir / "out") == {"x": None}


def test_systems_without_kernel_copies_are_served(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    assert statuses(sink(workdir, x="a")) == [Status.SENT]
    assert (workdir / "out/x/a").read_bytes() == b"new"


@pytest.mark.parametrize("place", ["write", "replace", "open"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_failing_copy_leaves_the_old_file_and_no_litter(
    number: int, place: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "b")
    file(workdir / "out/x/a", b"old")
    plan = plan_for(workdir, {"x": ["a", "b"]})
    with monkeypatch.context() as patch:
        patch.setattr(os, place, failing(number))
        patch.delattr(os, "copy_file_range", raising=False)
        outcomes = deliver(plan, workdir)
    assert statuses(outcomes) == [Status.FAILED, Status.FAILED]
    assert [getattr(outcome.cause, "errno", None) for outcome in outcomes] == [number] * 2
    assert tree(workdir / "out") == {"x": None, "x/a": b"old"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_stops_everything_after_it(
    number: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        file(workdir / name)
    file(workdir / "out/x/a")
    plan = plan_for(workdir, {"x": ["a", "b", "c"]})
    monkeypatch.setattr(os, "replace", failing(number))
    outcomes = deliver(plan, workdir)
    assert statuses(outcomes) == [Status.UNCHANGED, Status.FAILED, Status.NOT_TRIED]
    assert tree(workdir / "out") == {"x": None, "x/a": b"new"}


def test_a_hard_link_that_cannot_be_moved_leaves_no_litter(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    assert statuses(sink(workdir, link=True, x="a")) == [Status.FAILED]
    assert tree(workdir / "out/x") == {"a": b"old"}


@pytest.mark.parametrize("link", [False, True])
def test_an_interrupt_leaves_no_litter(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sink(workdir, link, x="a")
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_an_interrupt_does_not_wait_for_large_copies(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    for name in "ab":
        os.truncate(file(workdir / name), 1 << 36)  # takes no room

    def copy(_source: int, _output: int, size: int) -> int:
        sizes.append(size)
        if len(sizes) == 10:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.01)
        return size

    monkeypatch.setattr(os, "copy_file_range", copy, raising=False)
    with pytest.raises(KeyboardInterrupt):
        sink(workdir, x=["a", "b"])
    assert sum(sizes) < 1 << 36
    assert tree(workdir / "out") == {"x": None}


@pytest.mark.parametrize("change", ["longer", "same-size"])
def test_a_source_that_changes_while_it_is_copied_fails(
    change: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a")
    file(workdir / "out/x/a", b"old")

    def write_on(*_: object) -> int:
        source.write_bytes(b"newer" if change == "longer" else b"NEW")
        os.utime(source, ns=(1, 1))
        return 0

    monkeypatch.setattr(os, "copy_file_range", write_on, raising=False)
    (outcome,) = sink(workdir, x="a")
    assert outcome.status is Status.FAILED
    assert "the file changed while it was read" in str(outcome.cause)
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_a_copy_that_is_not_whole_fails(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "a")
    monkeypatch.setattr(os, "copy_file_range", lambda source, target, count: count, raising=False)
    (outcome,) = sink(workdir, x="a")
    assert "the copy is incomplete" in str(outcome.cause)
    assert tree(workdir / "out") == {"x": None}


def test_one_failure_does_not_keep_others_from_arriving(workdir: Path) -> None:
    file(workdir / "a")
    file(workdir / "b")
    plan = plan_for(workdir, {"x": ["a", "b"]})
    (workdir / "a").unlink()
    assert statuses(deliver(plan, workdir)) == [Status.FAILED, Status.SENT]
    assert tree(workdir / "out") == {"x": None, "x/b": b"new"}


def test_a_directory_that_cannot_be_made_is_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "d/empty").mkdir(parents=True)
    plan = plan_for(workdir, {"x": "d"})
    mkdir = os.mkdir

    def refuse(path: str) -> None:
        if path.endswith("empty"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", refuse)
    (outcome,) = deliver(plan, workdir)
    assert outcome.status is Status.FAILED
    assert outcome.transfer.source == str(workdir / "d")
    assert outcome.transfer.destination == str(workdir / "out/x/d/empty")


def test_litter_of_a_dead_run_is_removed(workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / LITTER))
    sink(workdir, x="a")
    assert tree(workdir / "out/x") == {"a": b"new"}


def test_a_temporary_file_of_today_may_be_written_on_another_node(workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / LITTER), hours=23)
    sink(workdir, x="a")
    assert tree(workdir / "out/x") == {LITTER: b"new", "a": b"new"}


def test_litter_goes_only_from_folders_of_this_run(workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/y" / LITTER))
    sink(workdir, x="a")
    assert tree(workdir / "out/y") == {LITTER: b"new"}


def test_a_temporary_file_that_is_still_written_stays(workdir: Path) -> None:
    file(workdir / "a")
    with aged(file(workdir / "out/x" / LITTER)).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        sink(workdir, x="a")
    assert tree(workdir / "out/x") == {LITTER: b"new", "a": b"new"}


@pytest.mark.parametrize(
    "name",
    [".datasink-0123456789abcde", f"{LITTER}0", f"{LITTER[:-1]}F", LITTER[1:], f"{LITTER}.nii"],
)
def test_files_with_similar_names_stay(name: str, workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / name))
    sink(workdir, x="a")
    assert name in tree(workdir / "out/x")


def test_a_link_with_the_name_of_litter_is_not_followed(workdir: Path) -> None:
    file(workdir / "a")
    other = aged(file(workdir / "other"))
    (workdir / "out/x").mkdir(parents=True)
    (workdir / "out/x" / LITTER).symlink_to(other)
    sink(workdir, x="a")
    assert other.exists()


def test_our_own_temporary_file_is_locked(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "a")
    replace = os.replace

    def try_lock(source: str, target: str) -> None:
        with open(source) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        replace(source, target)

    monkeypatch.setattr(os, "replace", try_lock)
    assert statuses(sink(workdir, x="a")) == [Status.SENT]


def test_mounts_without_locks_are_served(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "a")
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    assert statuses(sink(workdir, x="a")) == [Status.SENT]


@pytest.mark.parametrize("link", [False, True])
def test_a_temporary_file_that_somebody_removes_is_made_again(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")
    replace = os.replace
    thefts = iter([True])

    def steal(source: str, target: str) -> None:
        if next(thefts, False):
            os.unlink(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", steal)
    assert statuses(sink(workdir, link, x="a")) == [Status.SENT]
    assert tree(workdir / "out/x") == {"a": b"new"}


@pytest.mark.parametrize("link", [False, True])
def test_temporary_files_that_keep_disappearing_are_a_failure(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")

    def steal(source: str, target: str) -> None:
        os.unlink(source)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)

    monkeypatch.setattr(os, "replace", steal)
    (outcome,) = sink(workdir, link, x="a")
    assert "its temporary file was removed repeatedly" in str(outcome.cause)
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_an_interrupt_as_soon_as_a_link_is_there_leaves_no_litter(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")
    link = os.link

    def interrupt(source: str, target: str) -> None:
        link(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sink(workdir, link=True, x="a")
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_a_link_that_arrives_meanwhile_leaves_no_litter(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a")
    place = file(workdir / "out/x/a", b"old")
    replace = os.replace

    def race(temporary: str, target: str) -> None:
        place.unlink()
        os.link(source, place)
        replace(temporary, target)

    monkeypatch.setattr(os, "replace", race)
    sink(workdir, link=True, x="a")
    assert os.listdir(workdir / "out/x") == ["a"]


def replaced(workdir: Path, link: bool = False, **fields: object) -> list[Outcome]:
    return deliver(plan_for(workdir, fields, remove_dest_dir=True), workdir, link)


def test_nothing_else_remains_where_a_folder_is_replaced(workdir: Path) -> None:
    file(workdir / "d/a")
    (workdir / "d/empty").mkdir()
    for name in ("a", "old", "sub/old", "sub/deep/old", ".hidden"):
        file(workdir / "out/x/d" / name, b"old")
    (workdir / "out/x/d/none").mkdir()
    file(workdir / "out/x/beside", b"old")
    replaced(workdir, x="d")
    assert tree(workdir / "out/x") == {
        "beside": b"old",
        "d": None,
        "d/a": b"new",
        "d/empty": None,
    }


def test_without_remove_dest_dir_everything_remains(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/old", b"old")
    sink(workdir, x="d")
    assert tree(workdir / "out/x/d") == {"a": b"new", "old": b"old"}


def test_links_in_a_replaced_folder_go_but_not_what_they_link_to(workdir: Path) -> None:
    file(workdir / "d/a")
    other = file(workdir / "other/b")
    (workdir / "out/x/d").mkdir(parents=True)
    for name, aim in [("file", other), ("dir", other.parent), ("dangling", workdir / "gone")]:
        (workdir / "out/x/d" / name).symlink_to(aim)
    replaced(workdir, x="d")
    assert tree(workdir / "out/x/d") == {"a": b"new"}
    assert other.exists()


@pytest.mark.parametrize("source", ["out/x/d/keep", "link"], ids=["itself", "through-a-link"])
def test_a_source_in_a_replaced_folder_is_kept(source: str, workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/keep", b"keep")
    (workdir / "link").symlink_to(workdir / "out/x/d/keep")
    replaced(workdir, x="d", y=source)
    assert tree(workdir / "out/x") == {"d": None, "d/a": b"new", "d/keep": b"keep"}


def test_all_sources_of_one_destination_are_kept(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "b")
    kept = file(workdir / "out/x/d/y/b")
    replaced(workdir, x="d", y=["b", "out/x/d/y/b"])
    assert kept.exists()


def test_the_way_to_a_source_is_kept(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "else/b")
    (workdir / "out/x/d").mkdir(parents=True)
    (workdir / "out/x/d/link").symlink_to(workdir / "else")
    replaced(workdir, x="d", y="out/x/d/link/b")
    assert (workdir / "out/x/d/link/b").exists()


@pytest.mark.parametrize("aim", ["file", "directory"])
def test_links_between_a_link_and_its_end_are_kept(aim: str, workdir: Path) -> None:
    file(workdir / "d/a")
    end = file(workdir / "data/b")
    (workdir / "out/x/d").mkdir(parents=True)
    (workdir / "out/x/d/middle").symlink_to(end if aim == "file" else end.parent)
    (workdir / "link").symlink_to(workdir / "out/x/d/middle")
    source = workdir / ("link" if aim == "file" else "link/b")
    replaced(workdir, x="d", y=str(source))
    assert source.read_bytes() == b"new"


def test_what_another_process_removes_first_is_gone(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(remove: Callable[..., None]) -> Callable[..., None]:
        def removed_before(path: str, **options: Any) -> None:
            remove(path, **options)
            remove(path, **options)

        return removed_before

    file(workdir / "d/a")
    file(workdir / "out/x/d/sub/old", b"old")
    monkeypatch.setattr("nipype_datasink.delivery.removal.os.unlink", twice(os.unlink))
    monkeypatch.setattr("nipype_datasink.delivery.removal.os.rmdir", twice(os.rmdir))
    assert statuses(replaced(workdir, x="d")) == [Status.SENT]
    assert tree(workdir / "out/x/d") == {"a": b"new"}


def test_a_directory_that_may_not_be_listed_takes_files(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    file(workdir / "a")
    with monkeypatch.context() as patch:
        patch.setattr("nipype_datasink.delivery.atomic.os.listdir", refuse)
        assert statuses(sink(workdir, x="a")) == [Status.SENT]
    assert tree(workdir / "out/x") == {"a": b"new"}


def test_a_directory_sunk_into_its_own_place_is_kept(workdir: Path) -> None:
    file(workdir / "out/x/d/sub/a")
    before = tree(workdir)
    replaced(workdir, x="out/x/d")
    assert tree(workdir) == before


def test_what_the_same_run_delivers_is_kept(workdir: Path) -> None:
    file(workdir / "1/d/a")
    file(workdir / "2/d/b")
    file(workdir / "c")
    file(workdir / "out/x/d/old")
    fields: dict[str, object] = {"x": ["1/d", "2/d"], "x.d": "c", "x.d.e": "c"}
    deliver(plan_for(workdir, fields, remove_dest_dir=True), workdir)
    assert tree(workdir / "out/x/d") == {
        "a": b"new",
        "b": b"new",
        "c": b"new",
        "e": None,
        "e/c": b"new",
    }


def test_what_is_delivered_through_a_link_is_kept(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "c")
    (workdir / "else").mkdir()
    (workdir / "out/x/d").mkdir(parents=True)
    (workdir / "out/x/d/link").symlink_to(workdir / "else")
    deliver(plan_for(workdir, {"x": "d", "x.d.link": "c"}, remove_dest_dir=True), workdir)
    assert (workdir / "out/x/d/link/c").read_bytes() == b"new"


def test_nothing_is_removed_after_a_failure(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "b")
    file(workdir / "out/x/d/old", b"old")
    plan = plan_for(workdir, {"x": "d", "y": "b"}, remove_dest_dir=True)
    (workdir / "b").unlink()
    assert statuses(deliver(plan, workdir)) == [Status.SENT, Status.FAILED]
    assert tree(workdir / "out/x/d") == {"a": b"new", "old": b"old"}


def test_what_cannot_be_removed_is_named(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "d/a")
    old = [file(workdir / "out/x/d" / name) for name in ("old", "sub/old")]
    file(workdir / "out/x/d/sub/gone")
    unlink = os.unlink

    def refuse(name: str, **options: Any) -> None:
        if name == "old":
            raise PermissionError(errno.EPERM, "Operation not permitted", name)
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    outcomes = replaced(workdir, x="d")
    assert statuses(outcomes) == [Status.SENT, Status.FAILED, Status.FAILED]
    assert [outcome.transfer.destination for outcome in outcomes[1:]] == list(map(str, old))
    assert [getattr(outcome.cause, "filename", None) for outcome in outcomes[1:]] == [
        *map(str, old)
    ]
    assert not (workdir / "out/x/d/sub/gone").exists()


@pytest.fixture
def deep(workdir: Path) -> Iterator[str]:
    """Path of a file below more directories than calls can be nested."""
    below = "in"
    (workdir / below).mkdir()
    for _ in range(1100):
        below += "/d"
        os.mkdir(below)
    file(workdir / below / "a")
    yield f"{below}/a"
    subprocess.run(["rm", "-rf", str(workdir / "in"), str(workdir / "out")], check=True)


def test_directories_may_be_nested_deeper_than_calls(deep: str, workdir: Path) -> None:
    replaced(workdir, x="in")
    assert (workdir / "out/x" / deep).read_bytes() == b"new"
    subprocess.run(["rm", "-rf", str(workdir / "in/d")], check=True)
    assert replaced(workdir, x="in") == []
    assert tree(workdir / "out") == {"x": None, "x/in": None}


def test_a_pipe_at_the_destination_is_replaced_and_never_read(workdir: Path) -> None:
    file(workdir / "a", b"")
    (workdir / "out/x").mkdir(parents=True)
    os.mkfifo(workdir / "out/x/a")
    pipe = os.open(workdir / "out/x/a", os.O_RDWR | os.O_NONBLOCK)
    os.write(pipe, b"1")
    outcomes = deliver(plan_for(workdir, {"x": "a"}), workdir)
    assert os.read(pipe, 1) == b"1"
    os.close(pipe)
    assert statuses(outcomes) == [Status.SENT]
    assert (workdir / "out/x/a").is_file()


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="has no /proc")
def test_a_file_that_does_not_tell_its_size_arrives(workdir: Path) -> None:
    source = Path("/proc/version")
    assert source.stat().st_size == 0
    deliver(plan_for(workdir, {"x": str(source)}), workdir)
    assert (workdir / "out/x/version").read_bytes() == source.read_bytes() != b""


def test_a_copy_that_fails_when_it_is_closed_leaves_the_old_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")
    close = os.close

    def close_late(descriptor: int) -> None:
        late = stat.S_ISREG(os.fstat(descriptor).st_mode)
        close(descriptor)
        if late:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    plan = plan_for(workdir, {"x": "a"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close_late)
        assert statuses(deliver(plan, workdir)) == [Status.FAILED]
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_litter_goes_where_only_files_open_for_writing_can_be_locked(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / LITTER))
    flock = fcntl.flock

    def flock_of_nfs(descriptor: int, operation: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    deliver(plan_for(workdir, {"x": "a"}), workdir)
    assert tree(workdir / "out/x") == {"a": b"new"}


def test_a_place_that_takes_no_directory_is_an_error(workdir: Path) -> None:
    """Its system says "not found" again and again."""
    with pytest.raises(FileNotFoundError):
        make_directory("/proc/nowhere/out")
    make_directory(str(workdir / "a" / "b"))
    assert (workdir / "a" / "b").is_dir()
