"""Few requests for each file, in threads where the disk is slow; the same outcomes as in one."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.delivery.file_writer import FileWriter, spread_over_folders
from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import hidden_progress
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.planning.byte_comparison import same_bytes
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.plan import FileTransfer
from tests.caseless import ignore_case
from tests.conftest import RecordedProgress, tree
from tests.delivery.conftest import deliver, deliver_fields, failing, file, plan_for, statuses

_CALLS = ("link", "listdir", "lstat", "mkdir", "readlink", "rename", "replace", "scandir", "stat")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each call seem to wait, as on a network disk."""
    monkeypatch.setattr("nipype_datasink.adaptive._WAITING_SECONDS", -1.0)


@pytest.fixture
def calls(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the calls that concern the destinations."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> Any:
        function = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            if any(str(arg).startswith(f"{workdir}/out") for arg in args):
                counts[name] += 1
            return function(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for name in (*_CALLS, "open"):
            patch.setattr(os, name, counted(name))
        yield counts


def _many(workdir: Path, count: int = 30) -> list[str]:
    names = [f"{index:02}" for index in range(count)]
    for name in names:
        file(workdir / name, name.encode())
    return names


def test_a_new_file_takes_two_calls(workdir: Path, calls: Counter[str]) -> None:
    """It is created, under a temporary name, and renamed."""
    names = _many(workdir)
    plan = plan_for(workdir, {"x": names})
    calls.clear()
    assert statuses(deliver(plan, workdir)) == [Status.NEW] * 30
    assert {name: calls[name] for name in ("open", "replace")} == {"open": 30, "replace": 30}
    assert calls.total() - 60 < 10


def test_nothing_is_looked_up_in_a_folder_that_other_files_are_in(
    workdir: Path, calls: Counter[str]
) -> None:
    names = _many(workdir)
    file(workdir / "out/x/other")
    file(workdir / "out/x/07", b"old")
    plan = plan_for(workdir, {"x": names})
    calls.clear()
    expected = [Status.REPLACED if name == "07" else Status.NEW for name in names]
    assert statuses(deliver(plan, workdir)) == expected
    assert calls["listdir"] == 1
    assert calls["lstat"] < 10


def test_nothing_is_looked_up_in_a_folder_without_the_files(
    workdir: Path, calls: Counter[str]
) -> None:
    names = _many(workdir)
    file(workdir / "out/x/other")
    plan = plan_for(workdir, {"x": names})
    calls.clear()
    assert statuses(deliver(plan, workdir)) == [Status.NEW] * 30
    assert calls["lstat"] < 10


def test_a_hard_link_replaces_a_file_of_another_size(workdir: Path) -> None:
    source = file(workdir / "a")
    place = file(workdir / "out/x/a", b"longer")
    (outcome,) = deliver(plan_for(workdir, {"x": "a"}), workdir, link=True)
    assert (outcome.status, outcome.linked) == (Status.REPLACED, True)
    assert place.samefile(source)


def test_an_unchanged_file_takes_few_calls(workdir: Path, calls: Counter[str]) -> None:
    names = _many(workdir)
    deliver_fields(workdir, x=names)
    plan = plan_for(workdir, {"x": names})
    calls.clear()
    assert statuses(deliver(plan, workdir)) == [Status.UNCHANGED] * 30
    assert calls["open"] == 30
    assert calls["lstat"] < 40
    assert calls["replace"] == 0


def test_a_folder_that_cannot_be_listed_is_looked_up_by_name(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _many(workdir, 3)
    file(workdir / "out/x/01", b"01")
    file(workdir / "out/x/02", b"old")
    plan = plan_for(workdir, {"x": names})
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", failing(errno.EACCES))
        outcomes = deliver(plan, workdir)
    assert statuses(outcomes) == [Status.NEW, Status.UNCHANGED, Status.REPLACED]


def test_a_file_is_found_under_another_spelling(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "b")
    file(workdir / "out/x/A")
    file(workdir / "out/x/B", b"old")
    file(workdir / "c")
    file(workdir / "out/x/c")
    plan = plan_for(workdir, {"x": ["a", "b", "c"]})
    ignore_case(monkeypatch, workdir / "out")
    expected = [Status.UNCHANGED, Status.REPLACED, Status.UNCHANGED]
    assert statuses(deliver(plan, workdir)) == expected


def test_a_file_that_another_process_removes_before_it_is_compared_is_written(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    place = file(workdir / "out/x/a")
    plan = plan_for(workdir, {"x": "a"})

    def race(*args: Any) -> bool:
        place.unlink()
        return same_bytes(*args)

    monkeypatch.setattr("nipype_datasink.delivery.file_writer.same_bytes", race)
    assert statuses(deliver(plan, workdir)) == [Status.REPLACED]
    assert place.read_bytes() == (workdir / "a").read_bytes()


def test_a_source_that_goes_before_it_is_compared_is_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a")
    file(workdir / "out/x/a")
    plan = plan_for(workdir, {"x": "a"})

    def race(*args: Any) -> bool:
        source.unlink()
        return same_bytes(*args)

    monkeypatch.setattr("nipype_datasink.delivery.file_writer.same_bytes", race)
    (outcome,) = deliver(plan, workdir)
    assert isinstance(outcome.cause, FileNotFoundError)
    assert outcome.cause.filename == str(source)


@pytest.mark.parametrize("link", [False, True])
def test_what_another_process_writes_after_the_listing_is_replaced(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    listdir = os.listdir

    def race(path: str) -> list[str]:
        names = listdir(path)
        file(place, b"of another process")
        return names

    plan = plan_for(workdir, {"x": "a"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", race)
        (outcome,) = deliver(plan, workdir, link)
    assert outcome.status.arrived
    assert tree(workdir / "out/x") == {"a": b"new"}


def test_hard_links_are_not_tried_again_between_two_disks(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("1/a", "1/b", "1/c", "2/d"):
        file(workdir / path)
    tried: list[str] = []

    def link(source: str, _: str) -> None:
        tried.append(os.path.relpath(source, workdir))
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)
    outcomes = deliver_fields(workdir, link=True, x=["1/a", "1/b", "1/c", "2/d"])
    assert statuses(outcomes) == [Status.NEW] * 4
    assert tried == ["1/a", "2/d"]
    assert set(tree(workdir / "out/x").values()) == {b"new"}


@pytest.mark.parametrize("kind", ["symbolic link", "other error"])
def test_hard_links_of_other_files_are_tried(
    kind: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links in one folder may lead to several disks; a file may have too many links."""
    file(workdir / "real")
    for name in "ab":
        if kind == "symbolic link":
            (workdir / name).symlink_to("real")
        else:
            file(workdir / name)
    tried: list[str] = []

    def link(source: str, _: str) -> None:
        tried.append(source)
        number = errno.EXDEV if kind == "symbolic link" else errno.EMLINK
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    assert statuses(deliver_fields(workdir, link=True, x=["a", "b"])) == [Status.NEW] * 2
    assert len(tried) == 2


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("link", [False, True])
def test_on_a_slow_disk_threads_deliver(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _many(workdir)
    threads: set[str] = set()
    call = os.link if link else os.replace

    def record(source: str, target: str) -> None:
        threads.add(threading.current_thread().name)
        call(source, target)

    plan = plan_for(workdir, {"x": names})
    with monkeypatch.context() as patch:
        patch.setattr(os, "link" if link else "replace", record)
        outcomes = deliver(plan, workdir, link)
    assert "datasink" in threads
    assert [(each.transfer, each.status) for each in outcomes] == [
        (transfer, Status.NEW) for transfer in plan.transfers
    ]
    assert tree(workdir / "out/x") == {name: name.encode() for name in names}


def _mixture(workdir: Path) -> list[Outcome]:
    """Deliver files of which some are there, some differ, and some cannot arrive."""
    names = _many(workdir)
    for name in names[10:20]:
        file(workdir / "out/x" / name, name.encode() if int(name) % 2 else b"old")
    plan = plan_for(workdir, {"x": names[:25], "y": names[25:]})
    for name in names[::7]:
        (workdir / name).unlink()
    return deliver(plan, workdir)


def test_threads_have_the_same_outcomes(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = [(each.transfer.key[-2:], each.status) for each in _mixture(workdir)]
    before = tree(workdir)
    other = tmp_path_factory.mktemp("other")
    monkeypatch.chdir(other)
    monkeypatch.setattr("nipype_datasink.adaptive._WAITING_SECONDS", -1.0)
    assert [(each.transfer.key[-2:], each.status) for each in _mixture(other)] == one
    assert tree(other) == before
    assert {status for _, status in one} == {
        Status.NEW,
        Status.REPLACED,
        Status.UNCHANGED,
        Status.FAILED,
    }


@pytest.mark.usefixtures("slow")
def test_an_interrupt_ends_the_threads_and_leaves_no_temporary_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _many(workdir)
    replace = os.replace

    def interrupt(source: str, target: str) -> None:
        if target.endswith("/15"):
            raise KeyboardInterrupt
        replace(source, target)

    plan = plan_for(workdir, {"x": names})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            deliver(plan, workdir)
    assert not any(thread.name == "datasink" for thread in threading.enumerate())
    left = tree(workdir / "out/x")
    assert left == {name: name.encode() for name in left}
    assert "15" not in left


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_only_a_full_disk_stops_the_making_of_folders(
    number: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "b")
    plan = plan_for(workdir, {"x": ["a", "b"], "y": "a"})
    mkdir = os.mkdir

    def deny(path: str) -> None:
        if path.endswith("/x"):
            raise OSError(number, os.strerror(number), path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", deny)
    outcomes = deliver(plan, workdir)
    last = Status.NEW if number == errno.EACCES else Status.NOT_TRIED
    assert statuses(outcomes) == [Status.FAILED, Status.FAILED, last]
    assert outcomes[0].cause is not None
    assert (workdir / "out/y").exists() is (last is Status.NEW)


def test_a_file_whose_destination_cannot_be_looked_up_fails(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")
    plan = plan_for(workdir, {"x": "a"})
    lstat, failures = os.lstat, [failing(errno.EIO)]  # one look-up fails

    def fail_once(path: str) -> os.stat_result:
        status: os.stat_result = (failures.pop() if failures else lstat)(path)
        return status

    monkeypatch.setattr(os, "lstat", fail_once)
    assert statuses(deliver(plan, workdir)) == [Status.FAILED]
    assert (workdir / "out/x/a").read_bytes() == b"old"


def test_a_folder_with_files_is_made_once(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "d/a")
    plan = plan_for(workdir, {"x": "d"})
    (workdir / "out/x").mkdir(parents=True)
    made: list[str] = []
    mkdir = os.mkdir

    def record(path: str) -> None:
        made.append(path)
        mkdir(path)

    monkeypatch.setattr(os, "mkdir", record)
    assert statuses(deliver(plan, workdir)) == [Status.NEW]
    assert made.count(f"{workdir}/out/x/d") == 1


@pytest.mark.parametrize(
    ("existing", "phase"),
    [
        ({}, Phase.COPYING),
        ({"a": b"12"}, Phase.COMPARING_AND_COPYING),
        ({"a": b"12", "b": b"34"}, Phase.COMPARING),
        ({"a": b"12", "b": b"--"}, Phase.COMPARING_AND_COPYING),
        ({"a": b"longer"}, Phase.COPYING),
    ],
)
def test_the_phases_tell_what_is_done_with_how_many_files(
    existing: dict[str, bytes], phase: Phase, workdir: Path
) -> None:
    file(workdir / "a", b"12")
    file(workdir / "b", b"34")
    for name, content in existing.items():
        file(workdir / "out/x" / name, content)
    progress = RecordedProgress()
    plan = plan_for(workdir, {"x": ["a", "b"]})
    LocalTarget(LocalDirectory(f"{workdir}/out"), link=False).deliver(plan, progress)
    assert [(each.phase, each.state(0).total) for each in progress.phases] == [
        (Phase.LISTING, Amount(files=2)),
        (phase, Amount(files=2, size=4)),
    ]
    # Bytes are counted while they are read, not at the end of the file.
    counted = sorted(each for each in progress.counted if any(each))
    assert counted == [(0, 2), (0, 2), *[(1, 0)] * 4]


def test_hard_links_are_a_phase_of_their_own(workdir: Path) -> None:
    file(workdir / "a")
    progress = RecordedProgress()
    target = LocalTarget(LocalDirectory(f"{workdir}/out"), link=True)
    target.deliver(plan_for(workdir, {"x": "a"}), progress)
    assert progress.phases[0].phase is Phase.LINKING


def test_threads_let_the_progress_be_shown_and_are_cancelled_by_an_interrupt(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"small": 1, "large": 1 << 20}.items():
        file(workdir / name, bytes(size))
    waits: list[object] = []
    interrupts: list[Any] = []

    def record(function: Any, items: Any, **options: Any) -> list[Any]:
        waits.append(options.get("on_wait"))
        interrupts.append(options.get("on_interrupt"))
        return [function(item) for item in items]

    for name in ("adaptive_map", "parallel_map"):
        monkeypatch.setattr(f"nipype_datasink.delivery.file_writer.{name}", record)
    progress = hidden_progress()
    plan = plan_for(workdir, {"x": ["small", "large"]})
    writer = FileWriter(link=False, progress=progress)
    writer.prepare_folders(plan.transfers)
    left = writer.deliver_unread(plan.transfers)
    writer.begin_copying(left)
    writer.copy(left)
    assert waits == [progress.show] * 4
    copying = interrupts[-2:]
    assert interrupts == [None, None, *copying]
    for interrupt in copying:
        interrupt()
        assert writer._cancelled.is_set()
        writer._cancelled.clear()


def test_neighbours_are_in_different_folders() -> None:
    def transfer(path: str) -> FileTransfer:
        return FileTransfer(source="/a", destination=path, size=0)

    paths = ["/x/1", "/x/2", "/x/3", "/y/1", "/z/1", "/z/2"]
    ordered = [each.destination for each in spread_over_folders(list(map(transfer, paths)))]
    assert ordered == ["/x/1", "/y/1", "/z/1", "/x/2", "/z/2", "/x/3"]
