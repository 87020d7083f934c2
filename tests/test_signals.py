"""What SIGTERM and Ctrl-C do to a delivery, to the process, and to other handlers."""

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
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # coverage sets a handler
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
    """Give SIGTERM its default handler in a test, and restore the one before."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_lets_the_block_clean_up_and_then_ends_the_process() -> None:
    done = run(
        """
try:
    with graceful_shutdown():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            print("cleaned up", type(error).__name__, flush=True)
            raise
finally:
    print("not reached", flush=True)
"""
    )
    assert "cleaned up Terminated\n" in done.stdout
    assert "ended by SIGTERM; run again" in done.stdout
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGTERM


def test_sigterm_ends_the_process_even_if_the_exception_is_caught() -> None:
    done = run(
        """
with graceful_shutdown():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except:
        print("caught", flush=True)
print("not reached", flush=True)
"""
    )
    assert "caught" in done.stdout
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGTERM


def test_a_second_sigterm_ends_the_process_at_once() -> None:
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


def test_a_block_that_is_not_left_in_time_is_ended() -> None:
    done = run(
        """
import time
from nipype_datasink import signals
signals._GRACE_SECONDS = 0.1
with graceful_shutdown():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("cleaning up", flush=True)
        time.sleep(600)
"""
    )
    assert done.stdout == "cleaning up\n"
    assert done.returncode == -signal.SIGTERM


def test_sigterm_ends_a_forked_child_at_once() -> None:
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


def test_the_handler_is_set_for_the_block_only() -> None:
    with graceful_shutdown():
        assert callable(signal.getsignal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with suppress(ZeroDivisionError), graceful_shutdown():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda *_: None])
def test_a_handler_of_other_code_stays(theirs: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, theirs)
    with graceful_shutdown():
        assert signal.getsignal(signal.SIGTERM) is theirs
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is theirs


def test_a_block_in_another_thread_sets_no_handler() -> None:
    seen: list[object] = []

    def enter() -> None:
        with graceful_shutdown():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_an_inner_block_lets_the_outer_one_end_the_process(
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


def test_a_delivery_cleans_up_after_sigterm(workdir: Path) -> None:
    (workdir / "a").write_text("a")
    done = run(
        """
from nipype_datasink import DataSink
class Killed(DataSink):
    def _fetch_bucket(self, name):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            print("cleaned up", flush=True)
            raise
Killed(base_directory="s3://mybucket", infields=["x"], x="a").run()
"""
    )
    assert "cleaned up\n" in done.stdout
    assert done.returncode == -signal.SIGTERM


def test_sigterm_after_ctrl_c_waits_for_the_cleanup() -> None:
    done = run(
        """
try:
    with graceful_shutdown():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            print("cleaned up", flush=True)
finally:
    print("not reached", flush=True)
"""
    )
    assert done.stdout.startswith("cleaned up\n")
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGTERM


@graceful_shutdown()
def interrupt_twice(first: signal.Signals, cleaned_up: list[bool]) -> None:
    try:
        signal.raise_signal(first)
    finally:
        signal.raise_signal(signal.SIGINT)
        cleaned_up.append(True)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_does_not_stop_the_cleanup(
    first: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: None)
    cleaned_up: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(first, cleaned_up)
    assert cleaned_up == [True]


def test_a_later_ctrl_c_stops_the_cleanup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_CLEANUP_SECONDS", 0.0)
    cleaned_up: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(signal.SIGINT, cleaned_up)
    assert cleaned_up == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_handler_that_was_set_in_the_block_stays(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with graceful_shutdown():
        ours = signal.getsignal(number)
        signal.signal(number, theirs)
    assert ours != before
    assert signal.getsignal(number) is theirs
    signal.signal(number, before)


def theirs(*_: object) -> None:
    """Handle a signal by doing nothing."""


def test_a_handler_that_calls_the_previous_one_ends_the_process_too() -> None:
    done = run(
        """
with graceful_shutdown():
    ours = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *what: (print("theirs", flush=True), ours(*what)))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        print("cleaned up", flush=True)
print("not reached", flush=True)
"""
    )
    assert done.stdout.startswith("theirs\ncleaned up\n")
    assert done.stdout.endswith("theirs\n")
    assert done.returncode == -signal.SIGTERM


class Late(Exception):
    """An error that a time limit raises."""


class Limit:
    """A signal handler that is an object."""

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
    """Restore the handler of SIGALRM after a test."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "handler",
    [too_late, Limit(), Limit().bound, partial(too_late, 1)],
    ids=["function", "object", "method", "partial"],
)
def test_an_exception_of_a_handler_is_found_in_a_chain(alarm: None, handler: Any) -> None:
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


def test_an_error_that_shares_the_traceback_of_another_is_not_from_the_handler(alarm: None) -> None:
    signal.signal(signal.SIGALRM, too_late)
    with pytest.raises(OSError, match="a library's") as caught:
        wrap_with_the_same_traceback()
    assert type(error_from_signal_handler(caught.value)) is Late


def wrap_with_the_same_traceback() -> None:
    try:
        signal.raise_signal(signal.SIGALRM)
    except Late as late:
        error = OSError("a library's").with_traceback(late.__traceback__)
        raise error  # noqa: B904 - as urllib3 does


def test_an_exception_of_a_handler_may_have_a_cause(alarm: None) -> None:
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
def test_a_time_limit_ends_the_delivery(
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
    monkeypatch.setattr("nipype_datasink.delivery.file_writer.copy", late)
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
        pytest.param(
            *("copy_file_range", {}),
            marks=pytest.mark.skipif(
                not hasattr(os, "copy_file_range"), reason="this system lacks it"
            ),
        ),
        ("rmdir", {"remove_dest_dir": True}),
    ],
)
def test_a_time_limit_in_a_system_call_ends_the_delivery(
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


def test_a_time_limit_while_sources_are_compared_ends_the_delivery(
    alarm: None, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGALRM, no_time)
    monkeypatch.setattr(
        "nipype_datasink.planning.byte_comparison.raise_if_cancelled",
        lambda: signal.raise_signal(signal.SIGALRM),
    )
    for name in "ab":
        (workdir / name).mkdir()
        (workdir / name / "file").write_text(name)
    sink = DataSink(base_directory="out", infields=["x"], x=["a/file", "b/file"])
    with pytest.raises(TimeoutError, match="too late") as caught:
        sink.run()
    assert type(caught.value) is TimeoutError


def test_a_timeout_of_the_system_is_a_failure_of_its_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(source: str, *_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "the server does not answer", source)

    monkeypatch.setattr("nipype_datasink.delivery.file_writer.copy", hang)
    (workdir / "in").mkdir()
    for name in "abc":
        (workdir / "in" / name).write_text(name)
    with pytest.raises(DeliveryError) as caught:
        DataSink(base_directory="out", infields=["x"], x=str(workdir / "in")).run()
    assert len(caught.value.outcomes) == 3
