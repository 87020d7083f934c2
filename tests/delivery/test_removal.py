"""Folders are cleared of everything but what is delivered, read or outside of them."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink import DataSink, DeliveryError
from nipype_datasink.delivery import removal
from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.plan import Plan
from tests.conftest import RecordedProgress, tree
from tests.delivery.conftest import (
    deliver,
    deliver_fields,
    file,
    plan_for,
    statuses,
)


def deliver_and_clear(workdir: Path, link: bool = False, **fields: object) -> list[Outcome]:
    return deliver(plan_for(workdir, fields, remove_dest_dir=True), workdir, link)


def run_datasink(workdir: Path) -> None:
    DataSink(
        base_directory=str(workdir / "out"),
        infields=["x"],
        x=str(workdir / "d"),
        remove_dest_dir=True,
    ).run()


def test_clearing_a_folder_removes_everything_else(workdir: Path) -> None:
    file(workdir / "d/a")
    (workdir / "d/empty").mkdir()
    for name in ("a", "old", "sub/old", "sub/deep/old", ".hidden"):
        file(workdir / "out/x/d" / name, b"old")
    (workdir / "out/x/d/none").mkdir()
    file(workdir / "out/x/beside", b"old")
    deliver_and_clear(workdir, x="d")
    assert tree(workdir / "out/x") == {
        "beside": b"old",
        "d": None,
        "d/a": b"new",
        "d/empty": None,
    }


def test_removed_files_are_counted(workdir: Path) -> None:
    file(workdir / "d/a")
    for name in ("a", "old", "sub/old"):
        file(workdir / "out/x/d" / name, b"old")
    progress = RecordedProgress()
    plan = plan_for(workdir, {"x": "d"}, remove_dest_dir=True)
    LocalTarget(LocalDirectory(f"{workdir}/out"), link=False).deliver(plan, progress)
    removing = progress.phases[-1]
    assert removing.phase is Phase.REMOVING
    assert removing.state(0).done == Amount(files=2)


def test_without_remove_dest_dir_everything_remains(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/old", b"old")
    deliver_fields(workdir, x="d")
    assert tree(workdir / "out/x/d") == {"a": b"new", "old": b"old"}


def test_clearing_a_folder_removes_links_but_not_their_targets(workdir: Path) -> None:
    file(workdir / "d/a")
    other = file(workdir / "other/b")
    (workdir / "out/x/d").mkdir(parents=True)
    for name, aim in [("file", other), ("dir", other.parent), ("dangling", workdir / "gone")]:
        (workdir / "out/x/d" / name).symlink_to(aim)
    deliver_and_clear(workdir, x="d")
    assert tree(workdir / "out/x/d") == {"a": b"new"}
    assert other.exists()


@pytest.mark.parametrize("source", ["out/x/d/keep", "link"], ids=["itself", "through-a-link"])
def test_a_source_in_a_cleared_folder_is_kept(source: str, workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/keep", b"keep")
    (workdir / "link").symlink_to(workdir / "out/x/d/keep")
    deliver_and_clear(workdir, x="d", y=source)
    assert tree(workdir / "out/x") == {"d": None, "d/a": b"new", "d/keep": b"keep"}


def test_all_sources_of_one_destination_are_kept(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "b")
    kept = file(workdir / "out/x/d/y/b")
    deliver_and_clear(workdir, x="d", y=["b", "out/x/d/y/b"])
    assert kept.exists()


def test_a_link_on_the_path_to_a_source_is_kept(workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "else/b")
    (workdir / "out/x/d").mkdir(parents=True)
    (workdir / "out/x/d/link").symlink_to(workdir / "else")
    deliver_and_clear(workdir, x="d", y="out/x/d/link/b")
    assert (workdir / "out/x/d/link/b").exists()


@pytest.mark.parametrize("aim", ["file", "directory"])
def test_links_in_a_chain_of_links_to_a_source_are_kept(aim: str, workdir: Path) -> None:
    file(workdir / "d/a")
    end = file(workdir / "data/b")
    (workdir / "out/x/d").mkdir(parents=True)
    (workdir / "out/x/d/middle").symlink_to(end if aim == "file" else end.parent)
    (workdir / "link").symlink_to(workdir / "out/x/d/middle")
    source = workdir / ("link" if aim == "file" else "link/b")
    deliver_and_clear(workdir, x="d", y=str(source))
    assert source.read_bytes() == b"new"


def test_files_that_another_process_removes_are_no_failure(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(remove: Callable[..., None]) -> Callable[..., None]:
        def removed_before(path: str, **options: Any) -> None:
            remove(path, **options)
            remove(path, **options)

        return removed_before

    file(workdir / "d/a")
    file(workdir / "out/x/d/sub/old", b"old")
    monkeypatch.setattr("nipype_datasink.delivery.folder_clearer.os.unlink", twice(os.unlink))
    monkeypatch.setattr("nipype_datasink.delivery.folder_clearer.os.rmdir", twice(os.rmdir))
    assert statuses(deliver_and_clear(workdir, x="d")) == [Status.NEW]
    assert tree(workdir / "out/x/d") == {"a": b"new"}


def test_a_directory_that_is_source_and_destination_is_kept(workdir: Path) -> None:
    file(workdir / "out/x/d/sub/a")
    before = tree(workdir)
    deliver_and_clear(workdir, x="out/x/d")
    assert tree(workdir) == before


def test_files_that_the_same_run_delivers_are_kept(workdir: Path) -> None:
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


def test_files_delivered_through_a_link_are_kept(workdir: Path) -> None:
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
    assert statuses(deliver(plan, workdir)) == [Status.NEW, Status.FAILED]
    assert tree(workdir / "out/x/d") == {"a": b"new", "old": b"old"}


def test_files_that_cannot_be_removed_are_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    old = [file(workdir / "out/x/d" / name) for name in ("old", "sub/old")]
    file(workdir / "out/x/d/sub/gone")
    unlink = os.unlink

    def deny(name: str, **options: Any) -> None:
        if name == "old":
            raise PermissionError(errno.EPERM, "Operation not permitted", name)
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", deny)
    outcomes = deliver_and_clear(workdir, x="d")
    assert statuses(outcomes) == [Status.NEW, Status.FAILED, Status.FAILED]
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


def test_directories_may_have_more_levels_than_nested_calls(deep: str, workdir: Path) -> None:
    deliver_and_clear(workdir, x="in")
    assert (workdir / "out/x" / deep).read_bytes() == b"new"
    subprocess.run(["rm", "-rf", str(workdir / "in/d")], check=True)
    assert deliver_and_clear(workdir, x="in") == []
    assert tree(workdir / "out") == {"x": None, "x/in": None}


def test_a_directory_that_is_replaced_by_a_link_is_not_entered(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/sub/old")
    precious = file(workdir / "else/old")
    scandir = os.scandir

    def swap(where: Any) -> Any:
        with scandir(where) as found:
            entries = list(found)
        sub = workdir / "out/x/d/sub"
        # A descriptor: sources and destinations are listed by their paths before.
        if isinstance(where, int) and not sub.is_symlink():
            sub.rename(workdir / "moved")
            sub.symlink_to(precious.parent)
        return nullcontext(entries)

    monkeypatch.setattr("nipype_datasink.delivery.folder_clearer.os.scandir", swap)
    with pytest.raises(DeliveryError):
        run_datasink(workdir)
    assert precious.exists()
    assert (workdir / "moved/old").exists()


def test_a_folder_that_is_replaced_by_a_link_is_not_cleared(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/old")
    precious = file(workdir / "else/d/old")
    open_ = os.open

    def swap(path: Any, *args: Any, **options: Any) -> int:
        if str(path) == f"{workdir}/out/x/d":
            (workdir / "out/x").rename(workdir / "moved")
            (workdir / "out/x").symlink_to(workdir / "else")
        return open_(path, *args, **options)

    monkeypatch.setattr("nipype_datasink.delivery.folder_clearer.os.open", swap)
    with pytest.raises(DeliveryError) as caught:
        run_datasink(workdir)
    assert (
        f"{workdir}/out: [Errno {errno.ELOOP}] it, or a folder above it, was "
        f"replaced by a link: '{workdir}/out/x/d'"
    ) in str(caught.value).splitlines()
    assert precious.exists()


def test_nothing_is_removed_elsewhere_if_a_directory_is_moved(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/sub/old")
    file(workdir / "else/precious")
    unlink = os.unlink

    def move(name: str, **options: Any) -> None:
        unlink(name, **options)
        if name == "old":
            (workdir / "out/x/d/sub").rename(workdir / "else/sub")

    monkeypatch.setattr("nipype_datasink.delivery.folder_clearer.os.unlink", move)
    with pytest.raises(DeliveryError) as caught:
        run_datasink(workdir)
    assert (
        f"{workdir}/out: [Errno {errno.ESTALE}] a directory was moved while the "
        f"folder was cleared: '{workdir}/out/x/d'"
    ) in str(caught.value).splitlines()
    assert (workdir / "else/precious").exists()


@pytest.mark.parametrize("function", ["unlink", "rmdir", "scandir", "listdir"])
def test_a_time_limit_ends_clearing_at_once(
    function: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/sub/old")
    plan = plan_for(workdir, {"x": "d"}, remove_dest_dir=True)
    call = getattr(os, function)

    def end(path: Any, **options: Any) -> Any:
        if function == "listdir" and str(path) != f"{workdir}/out/x/d":
            return call(path, **options)
        if function == "unlink" and path != "old":
            return call(path, **options)
        raise TimeoutError("too late")

    with monkeypatch.context() as patch:
        patch.setattr(f"nipype_datasink.delivery.folder_clearer.os.{function}", end)
        with pytest.raises(TimeoutError, match="too late"):
            deliver(plan, workdir)


def test_files_that_nfs_keeps_open_are_no_failure(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="nipype.interface")
    file(workdir / "d/a")
    for name in ("sub/.nfs0000000000000001", "sub/old", "old"):
        file(workdir / "out/x/d" / name)
    unlink = os.unlink

    def busy(name: str, **options: Any) -> None:
        if ".nfs" in name:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", busy)
    run_datasink(workdir)
    assert tree(workdir / "out/x/d") == {
        "a": b"new",
        "sub": None,
        "sub/.nfs0000000000000001": b"new",
    }
    assert (
        f"{workdir}/out/x/d/sub/.nfs0000000000000001 remains until all processes have closed it"
    ) in caplog.messages


def test_another_busy_file_is_named(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "d/a")
    (workdir / "out/x/d/mount").mkdir(parents=True)
    file(workdir / "out/x/d/old")

    def busy(name: str, **_: Any) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)

    monkeypatch.setattr(os, "rmdir", busy)
    with pytest.raises(DeliveryError, match=f"(?s)busy: .*failed: {workdir}/out/x/d/mount"):
        run_datasink(workdir)
    assert not (workdir / "out/x/d/old").exists()


def test_a_directory_that_cannot_be_listed_is_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/sub/new")
    old = [file(workdir / "out/x/d/sub/old"), file(workdir / "out/x/d/old")]
    listdir = os.listdir
    plan = plan_for(workdir, {"x": str(workdir / "d")}, remove_dest_dir=True)
    calls = iter([None])  # the first lists it for litter

    def fail(path: str) -> list[str]:
        if path == str(workdir / "out/x/d/sub") and next(calls, "failed"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", fail)
    failed = [item for item in deliver(plan, workdir) if item.status is Status.FAILED]
    assert [item.transfer.destination for item in failed] == [str(workdir / "out/x/d/sub")]
    assert [path.exists() for path in old] == [True, False]


def test_nothing_is_removed_if_the_files_to_keep_are_not_known(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/old")

    def fail(_: object) -> set[str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("nipype_datasink.delivery.removal._paths_to_keep", fail)
    with pytest.raises(DeliveryError, match="Input/output error"):
        run_datasink(workdir)
    assert (workdir / "out/x/d/old").exists()


def test_nothing_is_removed_if_a_path_to_keep_cannot_be_identified(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/old")
    stat, paths_to_keep = os.stat, removal._paths_to_keep

    def fail(path: Any, **arguments: Any) -> os.stat_result:
        if path == str(workdir / "d"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return stat(path, **arguments)

    def fail_afterwards(plan: Plan) -> Any:
        paths = paths_to_keep(plan)
        monkeypatch.setattr(os, "stat", fail)
        return paths

    monkeypatch.setattr(removal, "_paths_to_keep", fail_afterwards)
    with pytest.raises(DeliveryError, match="Input/output error"):
        run_datasink(workdir)
    assert (workdir / "out/x/d/old").exists()
