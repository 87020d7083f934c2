"""Show how far a delivery is: a bar where somebody watches, lines in the log elsewhere."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, Protocol

from nipype_datasink.delivery.progress_text import State, log_line, phase_now, progress_parts
from nipype_datasink.signals import raise_if_from_signal_handler

_logger = logging.getLogger("nipype.interface")

_BAR_SECONDS = 0.2
_LINE_SECONDS = 30.0
_MIN_BAR_COLUMNS = _MIN_PLACE_COLUMNS = 10
_COLUMNS, _ROWS = 80, 24  # of a terminal that does not know its size
_NOTEBOOK_COLUMNS = 1000


class Display(Protocol):
    """Shows how far a delivery is."""

    @property
    def seconds(self) -> float:
        """Time between two updates, and the least time before the first."""

    def show(self, state: State) -> None:
        """Show a state; may raise any error."""

    def close(self) -> None:
        """Remove what is shown; may raise any error. It can be shown again."""


class Hidden:
    """Show nothing."""

    seconds = float("inf")

    def show(self, state: State) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class LogLines:
    """Write one line to nipype's log for each update."""

    seconds = _LINE_SECONDS

    def show(self, state: State) -> None:
        """Log a line."""
        _logger.info("%s", log_line(state))

    def close(self) -> None:
        """Do nothing."""


class Bar:
    """A bar of tqdm, in a terminal or a notebook."""

    seconds = _BAR_SECONDS

    def __init__(self) -> None:
        self._type = _bar_type()
        self._bar: Any = None

    def show(self, state: State) -> None:
        """Update the bar."""
        total = state.total
        whole = total.size or total.files or None
        if self._bar is None:  # tqdm has no truth value without a total
            # With a delay, however short, nothing is shown before the first update.
            self._bar = self._type(total=whole, leave=False, delay=1e-9, **_fallback_size())
        bar, columns = self._bar, _columns()
        bar.ncols = columns  # the user may have changed the size of the terminal
        done = state.done.size if total.size else state.done.files
        phase = phase_now(state).value
        room = (columns or _NOTEBOOK_COLUMNS) - len(phase) - len(": : 100%|| ") - _MIN_BAR_COLUMNS
        numbers = _numbers(state, room - _MIN_PLACE_COLUMNS)
        room -= len(numbers)
        bar.set_description_str(f"{_last_characters(state.place, room)}: {phase}", refresh=False)
        bar.bar_format = f"{{l_bar}}{{bar}}| {numbers}" if whole else f"{{desc}}: {numbers}"
        if whole != bar.total:
            bar.reset(whole)  # the only way to change the total of a widget in a notebook
            bar.total = whole  # `reset` does not change it to None
        bar.n = min(done, whole or done)
        bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.total = None  # before its end, tqdm would not remove a widget but turn it red
            bar.close()


def choose_bar() -> Display:
    """Return a bar if somebody watches this process, else what shows nothing."""
    return choose_display(Hidden)


def choose_display(otherwise: Callable[[], Display] = LogLines) -> Display:
    """Return a bar if somebody watches this process, else lines in the log.

    Several workers of MultiProc would write their bars over each other.
    """
    if multiprocessing.parent_process() is None and (_is_terminal() or _is_notebook()):
        try:
            return Bar()
        except Exception as error:  # noqa: BLE001 - tqdm may be missing or old
            raise_if_from_signal_handler(error)  # importing tqdm takes time
    return otherwise()


def _bar_type() -> Any:
    with warnings.catch_warnings():
        # Of tqdm: in a notebook without ipywidgets it shows text.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm  # here, because importing it takes time

        class QuietBar(tqdm):  # type: ignore[misc]
            monitor_interval = 0  # tqdm's own thread would stay until the process ends

        return QuietBar


def _fallback_size() -> dict[str, int]:
    """Return a size for tqdm if the terminal says that it has no columns or no rows.

    Pseudo-terminals begin so, as in `script`, containers and some CI systems. There tqdm shows
    nothing.
    """
    columns, rows = _terminal_size() or (_COLUMNS, _ROWS)
    return {} if columns and rows else {"ncols": columns or _COLUMNS, "nrows": rows or _ROWS}


def _terminal_size() -> tuple[int, int] | None:
    """Return the columns and rows of the terminal; None without a terminal, as in a notebook."""
    try:
        # The kernel of a notebook may have been started in a terminal, which is not shown.
        return os.get_terminal_size(sys.stderr.fileno()) if _is_terminal() else None
    except Exception:  # noqa: BLE001 - see `_is_terminal`
        return None


def _is_terminal() -> bool:
    try:
        return bool(sys.stderr.isatty())
    except Exception:  # noqa: BLE001 - it may be None (pythonw), closed, or any object
        return False


def _is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, and no engine of ipyparallel."""
    if "ipykernel.zmqshell" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and not type(kernel).__module__.startswith("ipyparallel")


def _columns() -> int | None:
    """Return how many columns a bar may fill in the terminal; None without a terminal.

    The terminal shows ``^C`` at the end of the bar: that must not begin a line below, because tqdm
    would then not overwrite the bar.
    """
    if size := _terminal_size():
        return (size[0] or _COLUMNS) - len("^C ")
    return None


def _numbers(state: State, most: int) -> str:
    """Return numbers and times; where they need too many columns, without the rate or bytes."""
    parts = [part.replace(" of ", "/").replace("about ", "") for part in progress_parts(state)]
    while len(text := ", ".join(parts)) > most and len(parts) > 2:
        del parts[-2]
    return text


def _last_characters(text: str, most: int) -> str:
    """Return a text, or its last characters if it has more than `most`.

    Examples
    --------
    >>> _last_characters("s3://lab/many", 20), _last_characters("s3://laboratory/study/many", 10)
    ('s3://lab/many', '…tudy/many')
    """
    most = max(most, _MIN_PLACE_COLUMNS)
    return text if len(text) <= most else f"…{text[1 - most :]}"
