"""Deliveries to a directory on disk."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.delivery.changes import Change
from nipype_datasink.delivery.check_report import CheckOptions
from nipype_datasink.delivery.failure_report import Explanation
from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.delivery.outcome import Status
from nipype_datasink.delivery.progress import hidden_progress
from nipype_datasink.errors import CollisionError, DeliveryError, LateCollisionError
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.plan import FileTransfer
from tests.caseless import ignore_case
from tests.conftest import tree
from tests.delivery.conftest import (
    deliver,
    deliver_fields,
    failing,
    file,
    plan_for,
    statuses,
)


@pytest.mark.parametrize("link", [False, True])
def test_a_file_arrives_with_its_bytes(link: bool, workdir: Path) -> None:
    source = file(workdir / "a")
    (outcome,) = deliver_fields(workdir, link, x="a")
    assert (outcome.status, outcome.linked) == (Status.NEW, link)
    assert outcome.transfer.source == str(source)
    assert tree(workdir / "out") == {"x": None, "x/a": b"new"}
    assert os.path.samefile(source, workdir / "out/x/a") is link


def test_an_equal_file_at_the_destination_is_not_changed(workdir: Path) -> None:
    file(workdir / "a")
    there = file(workdir / "out/x/a")
    os.utime(there, (1, 1))
    inode = there.stat().st_ino
    (outcome,) = deliver_fields(workdir, link=True, x="a")
    assert (outcome.status, outcome.transfer.source) == (Status.UNCHANGED, f"{workdir}/a")
    assert (there.stat().st_ino, there.stat().st_mtime) == (inode, 1)


def test_a_source_that_became_a_named_pipe_fails_and_the_rest_arrives(workdir: Path) -> None:
    source = file(workdir / "a")
    file(workdir / "b")
    plan = plan_for(workdir, {"x": ["a", "b"]})
    source.unlink()
    os.mkfifo(source)
    failed, sent = deliver(plan, workdir)
    assert "is not a regular file" in str(failed.cause)
    assert (failed.status, sent.status) == (Status.FAILED, Status.NEW)


def test_the_base_directory_is_made_even_without_files(workdir: Path) -> None:
    assert deliver_fields(workdir) == []
    assert tree(workdir) == {"out": None}


def test_a_base_directory_that_is_a_dangling_link_is_made_at_its_target(workdir: Path) -> None:
    file(workdir / "a")
    (workdir / "out").symlink_to("there")
    deliver_fields(workdir, x="a")
    assert tree(workdir / "there") == {"x": None, "x/a": b"new"}
    assert (workdir / "out").is_symlink()


@pytest.mark.parametrize("link", [False, True])
def test_links_in_directories_are_delivered_as_files(link: bool, workdir: Path) -> None:
    file(workdir / "d/a")
    file(workdir / "else/b")
    (workdir / "d/empty").mkdir()
    (workdir / "d/dir").symlink_to(workdir / "else")
    (workdir / "d/link").symlink_to("a")
    deliver_fields(workdir, link, x="d")
    out = workdir / "out/x/d"
    assert tree(out) == {"a": b"new", "dir": None, "dir/b": b"new", "empty": None, "link": b"new"}
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert not os.path.samefile(workdir / "d/a", out / "a")


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
    assert statuses(deliver_fields(workdir, link, x="a")) == [Status.REPLACED]
    assert not place.is_symlink()
    assert place.read_bytes() == b"new"
    assert other.read_bytes() == b"old"
    assert os.listdir(place.parent) == ["a"]


@pytest.mark.parametrize("link", [False, True])
def test_a_link_that_is_source_and_destination_is_kept(link: bool, workdir: Path) -> None:
    file(workdir / "real")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    place.symlink_to(workdir / "real")
    assert statuses(deliver_fields(workdir, link, x=str(place))) == [Status.UNCHANGED]
    assert place.is_symlink()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_after_a_full_disk_no_other_file_is_tried(
    number: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        file(workdir / name)
    file(workdir / "out/x/a")
    plan = plan_for(workdir, {"x": ["a", "b", "c"]})
    monkeypatch.setattr(os, "replace", failing(number))
    outcomes = deliver(plan, workdir)
    assert statuses(outcomes) == [Status.UNCHANGED, Status.FAILED, Status.NOT_TRIED]
    assert [outcome.transfer for outcome in outcomes] == list(plan.transfers)
    assert getattr(outcomes[1].cause, "errno", None) == number
    assert outcomes[2].cause is outcomes[1].cause
    assert tree(workdir / "out") == {"x": None, "x/a": b"new"}


def test_one_failure_does_not_stop_other_files(workdir: Path) -> None:
    file(workdir / "a")
    file(workdir / "b")
    plan = plan_for(workdir, {"x": ["a", "b"]})
    (workdir / "a").unlink()
    outcomes = deliver(plan, workdir)
    assert statuses(outcomes) == [Status.FAILED, Status.NEW]
    assert [outcome.transfer for outcome in outcomes] == list(plan.transfers)
    assert tree(workdir / "out") == {"x": None, "x/b": b"new"}


@pytest.mark.parametrize("denied", ["out", "out/x/d", "out/x/d/empty"])
def test_a_directory_that_cannot_be_made_is_named(
    denied: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "d/empty").mkdir(parents=True)
    plan = plan_for(workdir, {"x": "d"})
    mkdir = os.mkdir

    def deny(path: str) -> None:
        if path == str(workdir / denied):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", deny)
    for outcome in (outcomes := deliver(plan, workdir)):
        assert outcome.status is Status.FAILED
        assert (
            str(outcome.cause) == f"[Errno {errno.EACCES}] Permission denied: '{workdir / denied}'"
        )
    expected = [workdir / path for path in ("out", "out/x/d", "out/x/d/empty")]
    assert [outcome.transfer for outcome in outcomes] == [
        FileTransfer(
            source=str(workdir / ("out" if path.name == "out" else "d")),
            destination=str(path),
            size=0,
        )
        for path in expected
        if f"{path}/".startswith(f"{workdir / denied}/")
    ]


def test_files_whose_directory_cannot_be_made_fail(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        file(workdir / name)
    plan = plan_for(workdir, {"x": ["a", "b"], "y": "c"})
    mkdir = os.mkdir

    def deny(path: str) -> None:
        if path == f"{workdir}/out/x":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", deny)
    outcomes = deliver(plan, workdir)
    assert statuses(outcomes) == [Status.FAILED, Status.FAILED, Status.NEW]
    assert [outcome.transfer for outcome in outcomes] == list(plan.transfers)
    assert isinstance(outcomes[0].cause, PermissionError)


def test_a_directory_is_listed_once_unless_it_is_new(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        file(workdir / name)
    (workdir / "out/x").mkdir(parents=True)
    plan = plan_for(workdir, {"x": ["a", "b", "c"], "new": ["a", "b"]})
    listed: list[str] = []
    listdir = os.listdir

    def record(path: str) -> list[str]:
        listed.append(path)
        return listdir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", record)
        deliver(plan, workdir)
    assert listed == [f"{workdir}/out/x"]


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_large_files_are_copied_in_threads_once(
    limit: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        file(workdir / name)
    monkeypatch.setattr("nipype_datasink.delivery.file_writer._LARGE_FILE_BYTES", limit)
    threads: dict[str, str] = {}

    def record(source: str, target: str) -> None:
        threads[target] = threading.current_thread().name
        replace(source, target)

    replace = os.replace
    monkeypatch.setattr(os, "replace", record)
    assert statuses(deliver_fields(workdir, x=["a", "b", "c"])) == [Status.NEW] * 3
    main = {threading.main_thread().name}
    assert (set(threads.values()) == main) is (limit > len(b"new"))


def test_every_directory_of_a_reported_path_exists(workdir: Path) -> None:
    file(workdir / "a")
    plan = plan_for(workdir, {"x": "a"}, rules=(("/x/a", "/x/new/../a"),))
    assert statuses(deliver(plan, workdir)) == [Status.NEW]
    assert plan.deliveries[0].destination == f"{workdir}/out/x/new/../a"
    assert tree(workdir / "out") == {"x": None, "x/a": b"new", "x/new": None}


def test_a_directory_of_a_reported_path_that_cannot_be_made_is_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "b")
    plan = plan_for(workdir, {"x": ["a", "b"]}, rules=(("/x/a", "/x/new/../a"),))
    mkdir = os.mkdir

    def deny(path: str) -> None:
        if path.endswith("new"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", deny)
    *sent, failed = deliver(plan, workdir)
    assert statuses(sent) == [Status.NEW, Status.NEW]
    assert failed.transfer == FileTransfer(
        source=f"{workdir}/a", destination=f"{workdir}/out/x/new/..", size=0
    )


def test_a_pipe_at_the_destination_is_replaced_and_not_read(workdir: Path) -> None:
    file(workdir / "a", b"")
    (workdir / "out/x").mkdir(parents=True)
    os.mkfifo(workdir / "out/x/a")
    pipe = os.open(workdir / "out/x/a", os.O_RDWR | os.O_NONBLOCK)
    os.write(pipe, b"1")
    outcomes = deliver(plan_for(workdir, {"x": "a"}), workdir)
    assert os.read(pipe, 1) == b"1"
    os.close(pipe)
    assert statuses(outcomes) == [Status.REPLACED]
    assert (workdir / "out/x/a").is_file()


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_would_replace_another_under_its_name_in_other_case_fails(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("1/A", "2/a", "3/b"):
        file(workdir / path, path.encode())
    plan = plan_for(workdir, {"x": ["1/A", "2/a", "3/b"]})
    ignore_case(monkeypatch, workdir / "out")
    outcomes = deliver(plan, workdir, link)
    assert statuses(outcomes) == [Status.NEW, Status.FAILED, Status.NEW]
    assert tree(workdir / "out/x") == {"A": b"1/A", "b": b"3/b"}
    assert str(outcomes[1].cause) == (
        f"{workdir}/1/A and {workdir}/2/a differ, but the file system treats {workdir}/out/x/A "
        f"and {workdir}/out/x/a as one file: it ignores case or Unicode form. Change one of the "
        "destinations by the input's name, by parameterization or by a substitution"
    )


@pytest.mark.parametrize("link", [False, True])
def test_equal_files_may_have_one_name_in_different_case(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("1/A", "2/a"):
        file(workdir / path)
    plan = plan_for(workdir, {"x": ["1/A", "2/a"]})
    ignore_case(monkeypatch, workdir / "out")
    assert statuses(deliver(plan, workdir, link)) == [Status.NEW, Status.UNCHANGED]
    assert tree(workdir / "out/x") == {"A": b"new"}


@pytest.mark.parametrize("link", [False, True])
def test_names_in_different_case_are_two_files_where_case_matters(
    link: bool, workdir: Path
) -> None:
    for path in ("1/A", "2/a"):
        file(workdir / path, path.encode())
    outcomes = deliver_fields(workdir, link, x=["1/A", "2/a"])
    assert statuses(outcomes) == [Status.NEW, Status.NEW]
    assert tree(workdir / "out/x") == {"A": b"1/A", "a": b"2/a"}


def test_a_file_is_delivered_if_the_file_of_its_name_in_other_case_was_not(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("1/A", "2/a"):
        file(workdir / path, path.encode())
    file(workdir / "out/x/A")
    plan = plan_for(workdir, {"x": ["1/A", "2/a"]})
    (workdir / "1/A").unlink()
    ignore_case(monkeypatch, workdir / "out")
    assert statuses(deliver(plan, workdir)) == [Status.FAILED, Status.REPLACED]
    assert (workdir / "out/x/A").read_bytes() == b"2/a"


def test_a_file_that_cannot_be_compared_with_one_of_its_name_in_other_case_fails(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("1/A", "2/a"):
        file(workdir / path, path.encode())
    plan = plan_for(workdir, {"x": ["1/A", "2/a"]})
    (workdir / "2/a").unlink()
    ignore_case(monkeypatch, workdir / "out")
    outcomes = deliver(plan, workdir)
    assert statuses(outcomes) == [Status.NEW, Status.FAILED]
    assert isinstance(outcomes[1].cause, FileNotFoundError)
    assert outcomes[1].transfer.source == f"{workdir}/2/a"


@pytest.mark.parametrize(
    ("causes", "kind"),
    [
        ([OSError("full"), CollisionError("as one file")], LateCollisionError),
        ([OSError("full")], DeliveryError),
        ([], DeliveryError),
    ],
)
def test_a_collision_that_only_writing_shows_is_an_error_of_its_own(
    causes: list[Exception], kind: type[DeliveryError]
) -> None:
    target = LocalTarget(LocalDirectory("/o"), link=False)
    error = target.error("not delivered", target.explain(causes).cause)
    assert type(error) is kind
    assert str(error) == "not delivered"


def test_what_concerns_all_files_explains_more_than_what_concerns_one() -> None:
    target = LocalTarget(LocalDirectory("/o"), link=False)
    one, full = OSError(errno.EIO, "one"), OSError(errno.ENOSPC, "full")
    assert target.explain([one, full]).cause is full
    assert target.explain([full, one]).cause is full
    assert target.explain([ValueError(), full]).cause is full
    assert target.explain([ValueError(), one]).text == "ValueError"
    assert target.explain([]) == Explanation(text="files were not delivered")


def test_the_source_itself_at_its_destination_is_unchanged(workdir: Path) -> None:
    source = file(workdir / "out/x/a")
    (outcome,) = deliver_fields(workdir, x=str(source))
    assert (outcome.status, outcome.transfer.source) == (Status.UNCHANGED, str(source))


def test_a_comparison_tells_what_a_delivery_would_change(workdir: Path) -> None:
    for name in ("new", "equal", "longer", "other", "itself", "link"):
        file(workdir / "d" / name)
    for name, content in (("equal", b"new"), ("longer", b"newer"), ("other", b"old")):
        file(workdir / "out/x/d" / name, content)
    os.link(workdir / "d/itself", workdir / "out/x/d/itself")
    (workdir / "out/x/d/link").symlink_to(workdir / "d/link")
    before = tree(workdir)
    plan = plan_for(workdir, {"x": "d"})
    changes = LocalTarget(LocalDirectory(str(workdir / "out")), link=False).compare(plan.transfers)
    assert {Path(each.destination).name: change for each, change in changes.items()} == {
        "new": Change.NEW,
        "equal": Change.UNCHANGED,
        "itself": Change.UNCHANGED,
        "longer": Change.REPLACED,
        "other": Change.REPLACED,
        "link": Change.REPLACED,
    }
    assert tree(workdir) == before


def test_what_cannot_be_compared_is_not_known(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a")
    plan = plan_for(workdir, {"x": "a"})
    error: OSError = OSError(errno.EIO, os.strerror(errno.EIO))

    def fail(path: str, other: str) -> bool:
        raise error

    monkeypatch.setattr("nipype_datasink.delivery.local.same_bytes", fail)
    target = LocalTarget(LocalDirectory(str(workdir / "out")), link=False)
    assert list(target.compare(plan.transfers).values()) == [Change.UNKNOWN]
    error = TimeoutError("a time limit of the user")
    with pytest.raises(TimeoutError):
        target.compare(plan.transfers)


def test_a_comparison_does_not_wait_for_a_hung_disk_after_an_interrupt(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    options: dict[str, object] = {}

    def record(function: Any, items: Any, **given: object) -> list[Any]:
        options.update(given)
        return [function(item) for item in items]

    monkeypatch.setattr("nipype_datasink.delivery.local.adaptive_map", record)
    plan = plan_for(workdir, {"x": "a"})
    LocalTarget(LocalDirectory(str(workdir / "out")), link=False).compare(plan.transfers)
    assert options == {"abandon": True}


def test_a_time_limit_ends_the_making_of_directories(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "d").mkdir()
    plan = plan_for(workdir, {"x": "d"})

    def fail(_: str) -> None:
        raise TimeoutError("a time limit of the user")

    monkeypatch.setattr("nipype_datasink.delivery.local.make_directory", fail)
    with pytest.raises(TimeoutError, match="of the user"):
        deliver(plan, workdir)


def test_a_check_says_that_hard_links_are_wanted(workdir: Path) -> None:
    options = CheckOptions(working_directory="/proc")
    location = LocalDirectory(str(workdir))
    texts = [
        LocalTarget(location, link=link).check(options).steps[0].text for link in (True, False)
    ]
    assert ["hard links" in text for text in texts] == [True, False]


def test_a_file_is_removed_unless_it_does_not_exist(workdir: Path) -> None:
    target = LocalTarget(LocalDirectory(str(workdir)), link=False)
    path = file(workdir / "a")
    target.remove(str(path))
    target.remove(str(path))
    assert not path.exists()
    (workdir / "d").mkdir()
    with pytest.raises(OSError, match="directory"):
        target.remove(str(workdir / "d"))


def test_something_can_be_done_before_a_folder_is_cleared(workdir: Path) -> None:
    file(workdir / "d/a")
    old = file(workdir / "out/x/d/old")
    seen: list[bool] = []
    target = LocalTarget(
        LocalDirectory(f"{workdir}/out"),
        link=False,
        before_removal=lambda: seen.append(old.exists()),
    )
    plan = plan_for(workdir, {"x": "d"}, remove_dest_dir=True)
    assert statuses(target.deliver(plan, hidden_progress())) == [Status.NEW]
    assert (seen, old.exists()) == ([True], False)
    assert statuses(target.deliver(plan, hidden_progress())) == [Status.UNCHANGED]
    assert seen == [True]  # nothing else is there
