"""What SIGTERM does to a delivery, to the process, and to those who handle it themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nipype_datasink.termination import Terminated, sigterm_interrupts

BEGINNING = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever measures coverage handles it
from nipype_datasink.termination import Terminated, sigterm_interrupts
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
    with sigterm_interrupts():
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
with sigterm_interrupts():
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
with sigterm_interrupts():
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
from nipype_datasink import termination
termination._GRACE = 0.1
with sigterm_interrupts():
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
with sigterm_interrupts():
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
    with sigterm_interrupts():
        assert callable(signal.getsignal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with suppress(ZeroDivisionError), sigterm_interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda *_: None])
def test_somebody_elses_handler_stays(theirs: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, theirs)
    with sigterm_interrupts():
        assert signal.getsignal(signal.SIGTERM) is theirs
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is theirs


def test_other_threads_handle_no_signals() -> None:
    seen: list[object] = []

    def enter() -> None:
        with sigterm_interrupts():
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
        with sigterm_interrupts():
            monkeypatch.setattr(os, "kill", lambda _, number: ended.append(number))
            with sigterm_interrupts():
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
