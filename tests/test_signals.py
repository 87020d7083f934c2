"""What SIGTERM does to a delivery, to the process, and to those who handle it themselves."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink import DataSink, DeliveryError, signals
from nipype_datasink.signals import Terminated, error_from_signal_handler, graceful_shutdown

BEGINNING = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever measures coverage handles it
from nipype_datasink.signals import Terminated, graceful_shutdown
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGINNING + code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Puts back whatever handled SIGTERM before; in a test nothing does."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_what_is_half_done_is_undone_and_the_process_dies_of_the_signal() -> None:
    done = run(
        """
try:
    with graceful_shutdown():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            print("undone", type(error).__name__, flush=True)
            raise
finally:
    print("not reached", flush=True)
"""
    )
    assert "undone Terminated\n" in done.stdout
    assert "ended by SIGTERM; run again" in done.stdout
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGTERM


def test_the_process_dies_even_if_somebody_swallows_what_was_raised() -> None:
    done = run(
        """
with graceful_shutdown():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except:
        print("swallowed", flush=True)
print("not reached", flush=True)
"""
    )
    assert "swallowed" in done.stdout
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGTERM


def test_a_second_signal_ends_at_once() -> None:
    done = run(
        """
with graceful_shutdown():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("not reached", flush=True)
"""
    )
    assert done.stdout == ""
    assert done.returncode == -signal.SIGTERM


def test_a_block_that_is_not_left_is_ended_all_the_same() -> None:
    done = run(
        """
import time
from nipype_datasink import signals
signals._GRACE = 0.1
with graceful_shutdown():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("undoing", flush=True)
        time.sleep(600)
"""
    )
    assert done.stdout == "undoing\n"
    assert done.returncode == -signal.SIGTERM


def test_a_child_that_was_forked_meanwhile_dies_as_ever() -> None:
    done = run(
        """
with graceful_shutdown():
    child = os.fork()
    if not child:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert done.stdout == "-15\n"
    assert done.returncode == 0


def test_the_handler_is_there_for_the_block_only() -> None:
    with graceful_shutdown():
        assert callable(signal.getsignal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with suppress(ZeroDivisionError), graceful_shutdown():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda *_: None])
def test_somebody_elses_handler_stays(theirs: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, theirs)
    with graceful_shutdown():
        assert signal.getsignal(signal.SIGTERM) is theirs
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is theirs


def test_other_threads_handle_no_signals() -> None:
    seen: list[object] = []

    def enter() -> None:
        with graceful_shutdown():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_a_block_in_a_block_leaves_the_end_to_the_outer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []

    def deliver_twice() -> None:
        with graceful_shutdown():
            monkeypatch.setattr(os, "kill", lambda _, number: ended.append(number))
            with graceful_shutdown():
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Terminated):
        deliver_twice()
    assert ended == [signal.SIGTERM]


def test_a_delivery_is_such_a_block(workdir: Path) -> None:
    (workdir / "a").write_text("a")
    done = run(
        """
from nipype_datasink import DataSink
class Killed(DataSink):
    def _fetch_bucket(self, name):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            print("undone", flush=True)
            raise
Killed(base_directory="s3://mybucket", infields=["x"], x="a").run()
"""
    )
    assert "undone\n" in done.stdout
    assert done.returncode == -signal.SIGTERM


def test_sigterm_after_an_interrupt_waits_until_what_is_half_done_is_undone() -> None:
    done = run(
        """
try:
    with graceful_shutdown():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            print("undone", flush=True)
finally:
    print("not reached", flush=True)
"""
    )
    assert done.stdout.startswith("undone\n")
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGTERM


@graceful_shutdown()
def interrupt_twice(first: signal.Signals, undone: list[bool]) -> None:
    try:
        signal.raise_signal(first)
    finally:
        signal.raise_signal(signal.SIGINT)
        undone.append(True)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_does_not_stop_the_undoing(
    first: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: None)
    undone: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(first, undone)
    assert undone == [True]


def test_an_impatient_person_can_interrupt_the_undoing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_UNDOING", 0.0)
    undone: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(signal.SIGINT, undone)
    assert undone == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_handler_that_was_set_meanwhile_stays(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with graceful_shutdown():
        ours = signal.getsignal(number)
        signal.signal(number, theirs)
    assert ours != before
    assert signal.getsignal(number) is theirs
    signal.signal(number, before)


def theirs(*_: object) -> None:
    """Handle a signal by doing nothing."""


def test_a_handler_that_calls_the_one_before_it_ends_the_process_too() -> None:
    done = run(
        """
with graceful_shutdown():
    ours = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *what: (print("theirs", flush=True), ours(*what)))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        print("undone", flush=True)
print("not reached", flush=True)
"""
    )
    assert done.stdout.startswith("theirs\nundone\n")
    assert done.stdout.endswith("theirs\n")
    assert done.returncode == -signal.SIGTERM


class Late(Exception):
    """What somebody's time limit raises."""


class Limit:
    """A time limit that is an object."""

    def __call__(self, *_: object) -> None:
        raise Late

    def bound(self, *_: object) -> None:
        raise Late


def too_late(*_: object) -> None:
    raise Late


def no_time(*_: object) -> None:
    raise TimeoutError("too late")


@pytest.fixture
def alarm() -> Iterator[None]:
    """Puts back whatever handled SIGALRM before."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "handler",
    [too_late, Limit(), Limit().bound, partial(too_late, 1)],
    ids=["function", "object", "method", "partial"],
)
def test_what_a_handler_raises_is_told_from_other_errors(alarm: None, handler: Any) -> None:
    signal.signal(signal.SIGALRM, handler)
    with pytest.raises(OSError, match="a library's") as caught:
        wrap_what_the_handler_raises()
    assert type(error_from_signal_handler(caught.value)) is Late
    assert error_from_signal_handler(OSError("disk full")) is None


def wrap_what_the_handler_raises() -> None:
    try:
        signal.raise_signal(signal.SIGALRM)
    except Late as late:
        raise OSError("a library's") from late


def test_an_error_with_the_traceback_of_another_is_not_the_handlers(alarm: None) -> None:
    signal.signal(signal.SIGALRM, too_late)
    with pytest.raises(OSError, match="a library's") as caught:
        wrap_with_the_handlers_traceback()
    assert type(error_from_signal_handler(caught.value)) is Late


def wrap_with_the_handlers_traceback() -> None:
    try:
        signal.raise_signal(signal.SIGALRM)
    except Late as late:
        error = OSError("a library's").with_traceback(late.__traceback__)
        raise error  # noqa: B904 - as urllib3 does


def test_a_handler_may_raise_because_of_an_error_of_its_own(alarm: None) -> None:
    def look_up(*_: object) -> None:
        try:
            int("no number")
        except ValueError as error:
            raise Late from error

    signal.signal(signal.SIGALRM, look_up)
    with pytest.raises(Late) as caught:
        signal.raise_signal(signal.SIGALRM)
    assert error_from_signal_handler(caught.value) is caught.value


@pytest.mark.parametrize("handler", [too_late, no_time])
@pytest.mark.parametrize("size", [10, 9 << 20], ids=["small", "large"])
def test_a_time_limit_is_no_failure_of_a_file(
    alarm: None,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    handler: Callable[..., None],
    size: int,
) -> None:
    def late(*_: object) -> None:
        copied.append(True)
        signal.raise_signal(signal.SIGALRM)

    copied: list[bool] = []
    signal.signal(signal.SIGALRM, handler)
    monkeypatch.setattr("nipype_datasink.delivery.local.copy", late)
    (workdir / "in").mkdir()
    for name in "abc":
        (workdir / "in" / name).write_bytes(bytes(size))
    with pytest.raises((Late, TimeoutError)) as caught:
        DataSink(base_directory="out", infields=["x"], x=str(workdir / "in")).run()
    assert type(caught.value) in (Late, TimeoutError)
    assert len(copied) == 1 or size > 10  # large ones are copied in threads


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("lstat", {}),  # while the plan is made
        ("link", {"local_hardlink": True}),
        ("mkdir", {}),
        ("rmdir", {"remove_dest_dir": True}),
    ],
)
def test_a_time_limit_is_taken_for_no_error_of_the_system(
    alarm: None,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    inputs: dict[str, Any],
) -> None:
    (workdir / "in").mkdir()
    (workdir / "in/a").write_text("a")
    (workdir / "out/x/in/old").mkdir(parents=True)
    sink = DataSink(base_directory="out", infields=["x"], **inputs)
    sink.inputs.x = str(workdir / ("in/a" if name == "link" else "in"))
    sink.inputs.container = "new" if name == "mkdir" else ""
    signal.signal(signal.SIGALRM, no_time)
    call = getattr(os, name)

    def late(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        signal.raise_signal(signal.SIGALRM)
        return result

    monkeypatch.setattr(os, name, late)
    with pytest.raises(TimeoutError, match="too late") as caught:
        sink.run()
    assert type(caught.value) is TimeoutError


def test_a_time_limit_while_sources_are_compared_is_no_error_of_theirs(
    alarm: None, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGALRM, no_time)
    monkeypatch.setattr(
        "nipype_datasink.planning.contents.raise_if_cancelled",
        lambda: signal.raise_signal(signal.SIGALRM),
    )
    for name in "ab":
        (workdir / name).mkdir()
        (workdir / name / "file").write_text(name)
    sink = DataSink(base_directory="out", infields=["x"], x=["a/file", "b/file"])
    with pytest.raises(TimeoutError, match="too late") as caught:
        sink.run()
    assert type(caught.value) is TimeoutError


def test_a_time_limit_of_the_system_is_a_failure_of_its_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(source: str, *_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "the server does not answer", source)

    monkeypatch.setattr("nipype_datasink.delivery.local.copy", hang)
    (workdir / "in").mkdir()
    for name in "abc":
        (workdir / "in" / name).write_text(name)
    with pytest.raises(DeliveryError) as caught:
        DataSink(base_directory="out", infields=["x"], x=str(workdir / "in")).run()
    assert len(caught.value.outcomes) == 3
