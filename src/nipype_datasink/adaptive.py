"""Make calls one after the other, and in several threads once they prove to wait.

On a network file system, each operation on a path waits for an answer; threads wait side by side.
On a fast disk, threads take longer, because they wait for Python's lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from nipype_datasink.parallel import in_pool, parallel_map

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# An operation on a file of a local disk waits some microseconds, one on NFS a millisecond.
_WAITING_SECONDS = 0.0005
# Any call may wait for the processor. So many in a row mean that the disk is slow.
_CALLS_IN_A_ROW = 3
# NFS sends up to 64 requests at a time (`max_session_slots` of Linux), but for one directory it
# creates and renames only one file at a time. With files in 100 folders, 32 threads took 0.88 times
# as long as 16, and 64 took 1.04 times as long as 32 (`make bench ARGS='--only disk-folders'`).
_THREADS = 32


def adaptive_map(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    abandon: bool = False,
    on_interrupt: Callable[[], object] = lambda: None,
    on_wait: Callable[[], object] = lambda: None,
) -> list[_Result]:
    """Call `function` with each item; return the results in order.

    Some calls in a row that mostly wait let threads make the remaining ones. A thread of a pool
    starts no other threads.

    Parameters
    ----------
    function
        May be called in several threads. Its first error is raised here.
    items
        Arguments of the calls.
    abandon, on_interrupt, on_wait
        As for `parallel_map`.
    """
    if in_pool():
        return [function(item) for item in items]
    results: list[_Result] = []
    slow_calls = 0  # in a row, up to the last one
    idle = 0.0  # after the first of them
    begin = time.monotonic()
    for item in items:
        results.append(function(item))
        end = time.monotonic()
        slow_calls = slow_calls + 1 if end - begin > _WAITING_SECONDS else 0
        begin = end
        if slow_calls == 1:  # only now, as this clock takes as long as some operations
            idle = _idle_seconds()
        elif slow_calls > _CALLS_IN_A_ROW:
            waited = _idle_seconds() - idle
            if waited > (slow_calls - 1) * _WAITING_SECONDS:
                break
    return results + parallel_map(
        function,
        items[len(results) :],
        threads=_THREADS,
        abandon=abandon,
        on_interrupt=on_interrupt,
        on_wait=on_wait,
    )


def _idle_seconds() -> float:
    """Return a time that passes only while this thread does not compute."""
    return time.monotonic() - time.thread_time()
