"""Threads that share work."""

from __future__ import annotations

import signal
import threading
from _thread import interrupt_main
from collections.abc import Callable

import pytest

from nipype_datasink.threads import spread


@pytest.mark.parametrize("threads", [1, 2, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_results_have_the_order_of_pieces(threads: int, count: int) -> None:
    assert spread(lambda piece: piece * 2, range(count), threads=threads) == [
        piece * 2 for piece in range(count)
    ]


def test_so_many_pieces_are_worked_on_at_a_time() -> None:
    together = threading.Barrier(3, timeout=10)
    spread(lambda _: together.wait(), range(6), threads=3)


def test_a_single_piece_needs_no_thread() -> None:
    assert spread(lambda _: threading.current_thread(), [0], threads=9) == [threading.main_thread()]


def test_an_error_ends_all() -> None:
    seen = []

    def work(piece: int) -> None:
        seen.append(piece)
        threading.Event().wait(0.01)
        if piece == 3:
            raise ValueError(piece)

    with pytest.raises(ValueError, match="3"):
        spread(work, range(1000), threads=2)
    assert len(seen) < 100


def test_a_single_piece_may_have_a_thread() -> None:
    (thread,) = spread(lambda _: threading.current_thread(), [0], threads=1, apart=True)
    assert thread is not threading.main_thread()


@pytest.mark.parametrize("apart", [False, True])
def test_an_interrupt_while_a_thread_is_started_waits_for_it(
    apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, ended = threading.Thread.start, []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        threading.Event().wait(0.1)
        raise KeyboardInterrupt

    def work(_: int) -> None:
        threading.Event().wait(0.5)
        ended.append(True)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        spread(work, range(4), threads=1 if apart else 2, apart=apart)
    assert ended == [True]


def wake_main() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.mark.parametrize("interrupt", [wake_main, interrupt_main])
def test_an_interrupt_lets_no_thread_begin_another_piece(interrupt: Callable[[], None]) -> None:
    """Even one that does not wake the thread that waits."""
    begun, told, ended = [], [], threading.Event()

    def work(piece: int) -> None:
        begun.append(piece)
        if piece == 0:
            threading.Event().wait(0.2)  # until all that is left is to wait
            interrupt()
        told.append(ended.wait(10))

    with pytest.raises(KeyboardInterrupt):
        spread(work, range(100), threads=2, interrupt=ended.set)
    assert len(begun) <= 3
    assert all(told)
