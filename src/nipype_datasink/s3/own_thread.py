"""Run a step of a delivery in a thread that signals cannot interrupt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from nipype_datasink.parallel import parallel_map
from nipype_datasink.s3.circuit_breaker import CircuitBreaker

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


def run_in_own_thread(
    function: Callable[[_Argument], _Result],
    argument: _Argument,
    breaker: CircuitBreaker,
    *,
    abandon: bool = False,
    on_wait: Callable[[], object] = lambda: None,
) -> _Result:
    """Return what `function` returns for `argument`, called in another thread.

    Python runs handlers of signals in the main thread, and what they raise (KeyboardInterrupt, the
    exception of a time limit) appears there in the middle of any call. Inside botocore it would be
    taken for a failed request and retried. In this thread it ends the delivery.

    Parameters
    ----------
    function
        Called once.
    argument
        Its argument.
    breaker
        Opened after an interrupt, so that uploads end early.
    abandon
        Do not wait for the thread after an interrupt. Only for work that changes nothing.
    on_wait
        Called several times a second until the thread has ended.
    """
    (result,) = parallel_map(
        function,
        [argument],
        threads=1,
        own_thread=True,
        abandon=abandon,
        on_interrupt=breaker.open,
        on_wait=on_wait,
    )
    return result
