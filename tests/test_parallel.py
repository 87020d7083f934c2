"""Calls in several threads, and how an interrupt ends them."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nipype_datasink.hashing import hash_file, hash_parts
from nipype_datasink.parallel import Pool, WorkCancelled, parallel_map, raise_if_cancelled
from nipype_datasink.planning.byte_comparison import same_bytes


@pytest.mark.parametrize("threads", [1, 2, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_results_have_the_order_of_items(threads: int, count: int) -> None:
    assert parallel_map(lambda item: item * 2, range(count), threads=threads) == [
        item * 2 for item in range(count)
    ]


def test_as_many_threads_run_as_asked_for() -> None:
    together = threading.Barrier(3, timeout=10)
    parallel_map(lambda _: together.wait(), range(6), threads=3)


def test_a_single_item_needs_no_thread() -> None:
    assert parallel_map(lambda _: threading.current_thread(), [0], threads=9) == [
        threading.main_thread()
    ]


def test_after_an_error_no_thread_takes_another_item() -> None:
    seen = []

    def work(item: int) -> None:
        seen.append(item)
        threading.Event().wait(0.01)
        if item == 3:
            raise ValueError(item)

    with pytest.raises(ValueError, match="3"):
        parallel_map(work, range(1000), threads=2)
    assert len(seen) < 100


def test_a_single_item_may_have_its_own_thread() -> None:
    (thread,) = parallel_map(lambda _: threading.current_thread(), [0], threads=1, own_thread=True)
    assert thread is not threading.main_thread()


def threads_of_calls() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "datasink"]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_while_a_thread_is_started_waits_for_all_threads(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun, ended = threading.Thread.start, [], []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if len(threads_of_calls()) == threads:
            threading.Event().wait(0.1)  # a thread that was started before is at work
            raise KeyboardInterrupt

    def work(_: int) -> None:
        begun.append(True)
        threading.Event().wait(0.5)
        ended.append(True)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parallel_map(work, range(4), threads=threads, own_thread=True)
    assert (len(begun), len(ended)) == (threads - 1, threads - 1)
    assert threads_of_calls() == []


@pytest.mark.parametrize("in_pool", [False, True])
def test_a_second_interrupt_while_a_thread_starts_is_raised_as_interrupt(
    in_pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one interrupts a lock of `threading`, which then raises a RuntimeError."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start_threads(in_pool=in_pool)


def start_threads(*, in_pool: bool) -> None:
    if in_pool:
        with Pool(2) as pool:
            pool.submit(int)
    else:
        parallel_map(int, range(4), threads=2)


def wake_main() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.mark.parametrize("interrupt", [wake_main, interrupt_main])
def test_after_an_interrupt_no_thread_takes_another_item(interrupt: Callable[[], None]) -> None:
    """Also an interrupt that does not wake the main thread from its wait."""
    begun, called, ended = [], [], threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            threading.Event().wait(0.2)  # until all that is left is to wait
            interrupt()
        called.append(ended.wait(10))

    with pytest.raises(KeyboardInterrupt):
        parallel_map(work, range(100), threads=2, on_interrupt=ended.set)
    assert len(begun) <= 3
    assert all(called)


def test_an_interrupt_does_not_wait_for_abandoned_work() -> None:
    begun, end = threading.Event(), threading.Event()

    def read(_: int) -> None:
        begun.set()
        end.wait(60)

    threading.Thread(target=interrupt_once, args=[begun]).start()
    with pytest.raises(KeyboardInterrupt):
        parallel_map(read, [0], threads=1, own_thread=True, abandon=True)
    assert not end.is_set()
    end.set()


def few_threads(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let only so many more threads be started, as a limit of the machine would."""
    start, left = threading.Thread.start, [None] * number

    def limited(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.parametrize("own_thread", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_threads_do_all_the_work(
    *, number: int, own_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_threads(monkeypatch, number)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:  # an error that the caller handles changes nothing
        seen = parallel_map(
            lambda _: threading.current_thread(), range(50), threads=4, own_thread=own_thread
        )
    assert len(seen) == 50
    assert (threading.main_thread() in seen) is (number == 0)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_pool_of_few_threads_does_all_the_work(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_threads(monkeypatch, number)
    with Pool(4) as pool:
        futures = [pool.submit(pow, base, 2) for base in range(50)]
        error = pool.submit(int, "x").exception()
    assert [future.result() for future in futures] == [base**2 for base in range(50)]
    assert isinstance(error, ValueError)


def test_calls_are_made_while_the_interpreter_shuts_down() -> None:
    code = """
import atexit, threading
from nipype_datasink.parallel import Pool, parallel_map
def last():
    print(parallel_map(lambda each: each * 2, range(4), threads=2))
    with Pool(2) as pool:
        print(pool.submit(pow, 2, 3).result())
atexit.register(last)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[0, 2, 4, 6]\n8\n"


def endless(begun: threading.Event) -> None:
    begun.set()
    while True:
        raise_if_cancelled()
        threading.Event().wait(0.01)


def interrupt_once(begun: threading.Event) -> None:
    """Interrupt the main thread as soon as something has begun."""

    def wait() -> None:
        assert begun.wait(10)
        threading.Event().wait(0.1)
        wake_main()

    threading.Thread(target=wait).start()


def test_an_interrupt_ends_work_at_its_next_check() -> None:
    begun = threading.Event()
    interrupt_once(begun)
    with pytest.raises(KeyboardInterrupt):
        parallel_map(endless, [begun] * 3, threads=2)
    raise_if_cancelled()  # the main thread is not stopped


def test_an_interrupt_ends_work_in_threads_of_threads() -> None:
    def outer(begun: threading.Event) -> None:
        try:
            parallel_map(endless, [begun] * 3, threads=2)
        except WorkCancelled:
            ended.append(True)
            raise

    ended: list[bool] = []
    begun = threading.Event()
    interrupt_once(begun)
    with pytest.raises(KeyboardInterrupt):
        parallel_map(outer, [begun], threads=1, own_thread=True)
    assert ended == [True]


def test_an_error_in_inner_threads_does_not_cancel_outer_ones() -> None:
    def fail(_: int) -> None:
        raise ValueError

    def outer(_: int) -> str:
        with suppress(ValueError):
            parallel_map(fail, range(4), threads=2)
        raise_if_cancelled()
        return "went on"

    assert parallel_map(outer, range(2), threads=2) == ["went on"] * 2


def test_an_interrupt_cancels_calls_that_a_pool_has_not_begun() -> None:
    begun = threading.Event()
    interrupt_once(begun)
    pool = Pool(1)
    futures = [pool.submit(endless, begun) for _ in range(5)]
    with pytest.raises(KeyboardInterrupt):
        pool.shutdown()
    assert isinstance(futures[0].exception(), WorkCancelled)
    assert all(future.cancelled() for future in futures[1:])


def test_an_error_cancels_calls_that_a_pool_has_not_begun() -> None:
    begun = threading.Event()
    with suppress(ZeroDivisionError), Pool(1) as pool:
        futures = [pool.submit(endless, begun) for _ in range(5)]
        assert begun.wait(10)
        raise ZeroDivisionError
    assert all(future.cancelled() for future in futures[1:])


@pytest.mark.parametrize(
    ("module", "read"),
    [
        ("planning.byte_comparison", lambda path: same_bytes(path, f"{path}.twin")),
        ("hashing", lambda path: hash_file(path, [hashlib.sha256])),
        ("hashing", lambda path: hash_parts(path, [], [hashlib.sha256], 1000, threads=2)),
    ],
    ids=["comparing", "hashing", "hashing-parts"],
)
def test_reading_a_file_can_be_cancelled(
    module: str, read: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise WorkCancelled

    for name in ("a", "a.twin"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    monkeypatch.setattr(f"nipype_datasink.{module}.raise_if_cancelled", stop)
    with pytest.raises(WorkCancelled):
        read(str(tmp_path / "a"))
