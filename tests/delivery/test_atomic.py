"""Files are written completely or not at all, and no temporary file remains."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from nipype_datasink.delivery.atomic import make_directory
from nipype_datasink.delivery.outcome import Status
from tests.conftest import tree
from tests.delivery.conftest import (
    TEMPORARY_NAME,
    aged,
    deliver,
    deliver_fields,
    failing,
    file,
    plan_for,
    statuses,
)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(mask: int, mode: int, workdir: Path) -> None:
    file(workdir / "a").chmod(0o755)
    file(workdir / "out/y/a", b"old").chmod(0o400)
    os.umask(mask)
    deliver_fields(workdir, x="a", y="a")
    for field in "xy":
        assert (workdir / "out" / field / "a").stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("link", [False, True])
def test_other_links_of_the_old_file_keep_its_bytes(link: bool, workdir: Path) -> None:
    other = file(workdir / "other", b"old")
    source = file(workdir / "a")
    (workdir / "out/x").mkdir(parents=True)
    os.link(other, workdir / "out/x/a")
    assert statuses(deliver_fields(workdir, link, x="a")) == [Status.REPLACED]
    assert (workdir / "out/x/a").read_bytes() == b"new"
    assert os.path.samefile(source, workdir / "out/x/a") is link
    assert other.read_bytes() == b"old"


def test_a_hard_link_is_made_to_the_target_of_a_link(workdir: Path) -> None:
    real = file(workdir / "real")
    (workdir / "a").symlink_to(real)
    deliver_fields(workdir, link=True, x="a")
    assert not (workdir / "out/x/a").is_symlink()
    assert os.path.samefile(real, workdir / "out/x/a")


def test_a_new_hard_link_needs_no_temporary_name(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a")
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    assert statuses(deliver_fields(workdir, link=True, x="a")) == [Status.NEW]
    assert os.path.samefile(source, workdir / "out/x/a")


def test_companions_are_linked_too(workdir: Path) -> None:
    for name in ("a.img", "a.hdr"):
        file(workdir / name)
    deliver_fields(workdir, link=True, x="a.img")
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
    assert statuses(deliver_fields(workdir, link=True, x="a")) == [
        Status.REPLACED if old else Status.NEW
    ]
    assert tree(workdir / "out/x") == {"a": b"new"}
    assert not os.path.samefile(source, workdir / "out/x/a")


def test_a_file_whose_link_cannot_be_replaced_is_copied(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file is there, so the hard link needs a temporary name."""
    source = file(workdir / "a")
    file(workdir / "out/x/a", b"old")

    def link(_: str, destination: str) -> None:
        number = errno.EEXIST if os.path.exists(destination) else errno.EMLINK
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    assert statuses(deliver_fields(workdir, link=True, x="a")) == [Status.REPLACED]
    assert tree(workdir / "out/x") == {"a": b"new"}
    assert not os.path.samefile(source, workdir / "out/x/a")


def test_a_file_is_copied_in_blocks(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "a", b"x" * 3_000_000)
    sizes: list[int] = []
    write = os.write

    def record(descriptor: int, block: bytes) -> int:
        sizes.append(len(block))
        return write(descriptor, block)

    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(os, "write", record)
    assert statuses(deliver_fields(workdir, x="a")) == [Status.NEW]
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize(
    ("place", "link"),
    [("replace", False), ("copy_file_range", False), ("link", True), ("mkdir", False)],
)
def test_a_time_limit_ends_the_delivery_at_once(
    place: str, link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    (workdir / "out/x").mkdir(parents=True)

    def end(*_: object) -> None:
        raise TimeoutError("too late")

    with monkeypatch.context() as patch:
        patch.setattr(os, place, end, raising=False)
        with pytest.raises(TimeoutError, match="too late"):
            deliver_fields(workdir, link, x="a")
    assert tree(workdir / "out/x") == {}


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
def test_names_may_have_255_bytes(old: bool, link: bool, workdir: Path) -> None:
    name = "é" * 127 + "a"
    file(workdir / name)
    if old:
        file(workdir / "out/x" / name, b"old")
    assert statuses(deliver_fields(workdir, link, x=name)) == [
        Status.REPLACED if old else Status.NEW
    ]
    assert tree(workdir / "out/x") == {name: b"new"}


@pytest.mark.parametrize("link", [False, True])
def test_a_destination_always_has_a_file_while_it_is_replaced(
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
    deliver_fields(workdir, link, x="a")
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
def test_a_file_that_the_kernel_cannot_copy_is_copied_in_user_space(
    number: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a", b"x" * 3_000_000)
    monkeypatch.setattr(os, "copy_file_range", failing(number))
    assert statuses(deliver_fields(workdir, x="a")) == [Status.NEW]
    assert (workdir / "out/x/a").read_bytes() == b"x" * 3_000_000


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="the kernel does not copy here")
@pytest.mark.parametrize("end", ["zero", "error"])
def test_a_copy_that_the_kernel_has_begun_is_completed(
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
    assert statuses(deliver_fields(workdir, x="a")) == [Status.NEW]
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
    (outcome,) = deliver_fields(workdir, x="a")
    assert getattr(outcome.cause, "errno", None) == errno.EIO
    assert tree(workdir / "out") == {"x": None}


def test_systems_without_copy_file_range_are_supported(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    assert statuses(deliver_fields(workdir, x="a")) == [Status.NEW]
    assert (workdir / "out/x/a").read_bytes() == b"new"


@pytest.mark.parametrize("place", ["write", "replace", "open"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_failed_copy_leaves_the_old_file_and_no_temporary_file(
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


def test_a_hard_link_that_cannot_be_renamed_leaves_no_temporary_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    assert statuses(deliver_fields(workdir, link=True, x="a")) == [Status.FAILED]
    assert tree(workdir / "out/x") == {"a": b"old"}


@pytest.mark.parametrize("link", [False, True])
def test_an_interrupt_leaves_no_temporary_file(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        deliver_fields(workdir, link, x="a")
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
        deliver_fields(workdir, x=["a", "b"])
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
    (outcome,) = deliver_fields(workdir, x="a")
    assert outcome.status is Status.FAILED
    assert str(outcome.cause) == (
        f"[Errno {errno.EIO}] the file changed while it was read: '{source}'"
    )
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_an_incomplete_copy_fails(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "a")
    monkeypatch.setattr(os, "copy_file_range", lambda source, target, count: count, raising=False)
    (outcome,) = deliver_fields(workdir, x="a")
    assert str(outcome.cause) == f"[Errno {errno.EIO}] the copy is incomplete: '{workdir}/a'"
    assert tree(workdir / "out") == {"x": None}


def test_temporary_files_of_a_crashed_run_are_removed(workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / TEMPORARY_NAME))
    deliver_fields(workdir, x="a")
    assert tree(workdir / "out/x") == {"a": b"new"}


def test_a_later_run_recognises_temporary_files_beside_their_destinations(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    names: list[str] = []
    replace = os.replace

    def record(source: str, target: str) -> None:
        names.append(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", record)
    deliver_fields(workdir, x="a")
    (temporary,) = map(Path, names)
    assert temporary.parent == workdir / "out/x"
    aged(file(temporary))
    deliver_fields(workdir, x="a")
    assert tree(workdir / "out/x") == {"a": b"new"}


def test_a_recent_temporary_file_is_kept(workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / TEMPORARY_NAME), hours=23)
    deliver_fields(workdir, x="a")
    assert tree(workdir / "out/x") == {TEMPORARY_NAME: b"new", "a": b"new"}


def test_temporary_files_in_other_folders_are_kept(workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/y" / TEMPORARY_NAME))
    deliver_fields(workdir, x="a")
    assert tree(workdir / "out/y") == {TEMPORARY_NAME: b"new"}


def test_a_locked_temporary_file_is_kept(workdir: Path) -> None:
    file(workdir / "a")
    with aged(file(workdir / "out/x" / TEMPORARY_NAME)).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        deliver_fields(workdir, x="a")
    assert tree(workdir / "out/x") == {TEMPORARY_NAME: b"new", "a": b"new"}


@pytest.mark.parametrize(
    "name",
    [
        ".datasink-0123456789abcde",
        f"{TEMPORARY_NAME}0",
        f"{TEMPORARY_NAME[:-1]}F",
        TEMPORARY_NAME[1:],
        f"{TEMPORARY_NAME}.nii",
    ],
)
def test_files_with_similar_names_are_kept(name: str, workdir: Path) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / name))
    deliver_fields(workdir, x="a")
    assert name in tree(workdir / "out/x")


def test_a_link_with_the_name_of_a_temporary_file_is_not_followed(workdir: Path) -> None:
    file(workdir / "a")
    other = aged(file(workdir / "other"))
    (workdir / "out/x").mkdir(parents=True)
    (workdir / "out/x" / TEMPORARY_NAME).symlink_to(other)
    deliver_fields(workdir, x="a")
    assert other.exists()
    assert (workdir / "out/x" / TEMPORARY_NAME).is_symlink()


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_a_temporary_file_that_may_only_be_read_is_removed(
    is_link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    temporary = workdir / "out/x" / TEMPORARY_NAME
    aged(file(workdir / "other" if is_link else temporary))
    if is_link:
        temporary.parent.mkdir(parents=True)
        temporary.symlink_to(workdir / "other")
    open_ = os.open

    def open_for_reading(path: str, flags: int, *mode: int) -> int:
        if path == str(temporary):
            if flags & os.O_ACCMODE != os.O_RDONLY:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            if not flags & os.O_NONBLOCK:
                pytest.fail("it would wait for a writer if this were a pipe")
        return open_(path, flags, *mode)

    monkeypatch.setattr(os, "open", open_for_reading)
    assert statuses(deliver_fields(workdir, x="a")) == [Status.NEW]
    assert temporary.is_symlink() is is_link
    assert temporary.exists() is is_link


@pytest.mark.parametrize(("size", "locked"), [((1 << 20) - 1, False), (1 << 20, True)])
def test_a_large_temporary_file_is_locked_while_it_is_written(
    size: int, locked: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of a small file is over long before its temporary file counts as abandoned."""
    file(workdir / "a", bytes(size))
    write = os.write
    seen: list[bool] = []

    def try_lock(descriptor: int, block: bytes) -> int:
        (temporary,) = (workdir / "out/x").iterdir()
        with temporary.open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                seen.append(True)
            else:
                seen.append(False)
        return write(descriptor, block)

    plan = plan_for(workdir, {"x": "a"})
    with monkeypatch.context() as patch:
        patch.delattr(os, "copy_file_range", raising=False)
        patch.setattr(os, "write", try_lock)
        assert statuses(deliver(plan, workdir)) == [Status.NEW]
    assert seen == [locked]


def test_a_temporary_file_is_closed_once_before_it_is_renamed(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each close of a written file is a request on NFS, and the first reports a full disk."""
    file(workdir / "a")
    calls: list[str] = []
    close, replace = os.close, os.replace

    def record_close(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            calls.append("close")
        close(descriptor)

    def record_replace(source: str, target: str) -> None:
        calls.append("rename")
        replace(source, target)

    plan = plan_for(workdir, {"x": "a"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", record_close)
        patch.setattr(os, "replace", record_replace)
        assert statuses(deliver(plan, workdir)) == [Status.NEW]
    assert calls == ["close", "rename"]


def test_file_systems_without_locks_are_supported(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a", bytes(1 << 20))
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    assert statuses(deliver_fields(workdir, x="a")) == [Status.NEW]


@pytest.mark.parametrize("link", [False, True])
def test_a_temporary_file_that_is_removed_is_made_again(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")
    replace = os.replace
    removals = iter([True])

    def remove_first(source: str, target: str) -> None:
        if next(removals, False):
            os.unlink(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", remove_first)
    assert statuses(deliver_fields(workdir, link, x="a")) == [Status.REPLACED]
    assert tree(workdir / "out/x") == {"a": b"new"}


@pytest.mark.parametrize("link", [False, True])
def test_temporary_files_that_are_removed_repeatedly_are_a_failure(
    link: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "out/x/a", b"old")

    def remove_first(source: str, target: str) -> None:
        os.unlink(source)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)

    monkeypatch.setattr(os, "replace", remove_first)
    (outcome,) = deliver_fields(workdir, link, x="a")
    assert str(outcome.cause) == (
        f"[Errno {errno.ENOENT}] its temporary file was removed repeatedly: '{workdir}/out/x/a'"
    )
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_an_interrupt_directly_after_a_hard_link_leaves_no_temporary_file(
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
        deliver_fields(workdir, link=True, x="a")
    assert tree(workdir / "out/x") == {"a": b"old"}


def test_a_hard_link_that_another_process_makes_leaves_no_temporary_file(
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
    deliver_fields(workdir, link=True, x="a")
    assert os.listdir(workdir / "out/x") == ["a"]


def test_files_are_delivered_to_a_directory_that_cannot_be_listed(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    file(workdir / "a")
    with monkeypatch.context() as patch:
        patch.setattr("nipype_datasink.delivery.atomic.os.listdir", deny)
        assert statuses(deliver_fields(workdir, x="a")) == [Status.NEW]
    assert tree(workdir / "out/x") == {"a": b"new"}


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="has no /proc")
def test_a_file_that_reports_size_zero_is_copied(workdir: Path) -> None:
    source = Path("/proc/version")
    assert source.stat().st_size == 0
    deliver(plan_for(workdir, {"x": str(source)}), workdir)
    assert (workdir / "out/x/version").read_bytes() == source.read_bytes() != b""


def test_a_copy_that_fails_on_close_leaves_the_old_file(
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


def test_temporary_files_are_opened_for_writing_to_be_locked_on_nfs(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    aged(file(workdir / "out/x" / TEMPORARY_NAME))
    flock = fcntl.flock

    def flock_of_nfs(descriptor: int, operation: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    deliver(plan_for(workdir, {"x": "a"}), workdir)
    assert tree(workdir / "out/x") == {"a": b"new"}


def test_a_path_where_no_directory_can_be_made_is_an_error(workdir: Path) -> None:
    """Its system says "not found" again and again."""
    with pytest.raises(FileNotFoundError):
        make_directory("/proc/nowhere/out")
    assert make_directory(str(workdir / "a" / "b")) is True
    assert make_directory(str(workdir / "a" / "b")) is False
    assert (workdir / "a" / "b").is_dir()
