"""Count how far a delivery is, and show it where it takes long.

Any thread counts. Only the thread that delivers shows something: while it counts, and while it
waits for other threads. So there is no thread or timer that has to be ended, or that a fork would
lose, and no thread that sends files ever waits for a terminal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from nipype_datasink.delivery.progress_display import Display, Hidden, choose_display
from nipype_datasink.delivery.progress_text import (
    Amount,
    Phase,
    Sample,
    State,
    interruption_line,
    rate_of,
)
from nipype_datasink.display import escaped
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.signals import raise_if_from_signal_handler

_logger = logging.getLogger("nipype.interface")

_FIRST_SECONDS = 2.0  # shorter deliveries show nothing
_UNKNOWN = Amount()
_RATE_SECONDS = 10.0  # time for which a rate is computed, or since the last time it was shown


class FileProgress:
    """Bytes of one file in one phase. Several threads may send parts of the file."""

    def __init__(self, phase: PhaseProgress, size: int) -> None:
        self._phase = phase
        self._size = size
        self._lock = threading.Lock()  # guards the next line
        self._done = 0

    def add_bytes(self, count: int) -> None:
        """Count bytes; a negative number if they are sent again.

        The sum is never negative, and never more than the file has.
        """
        with self._lock:
            count = max(-self._done, min(count, self._size - self._done))
            self._done += count
        self._phase.add(size=count)

    def restart(self) -> None:
        """Count no byte of this file: it will be sent again, or was not sent."""
        self.add_bytes(-self._done)

    def finish(self, *, arrived: bool = True) -> None:
        """Count the file, and all of its bytes; `arrived` tells whether it is in place now."""
        with self._lock:
            left, self._done = self._size - self._done, self._size
        if arrived:
            self._phase.progress.add_arrived(self._size)
        self._phase.add(files=1, size=left)


class PhaseProgress:
    """How far one phase of a delivery is; any thread may count.

    Parameters
    ----------
    progress
        Shown after each change.
    phase
        What is done.
    total
        All that is to be done; zero where that is not known.
    """

    def __init__(self, progress: Progress, phase: Phase, total: Amount) -> None:
        self.progress = progress
        self.phase = phase
        self._place = ""
        self._total = total
        self._lock = threading.Lock()  # guards the next two
        self._files = self._size = 0
        self._begin = 0.0
        self._samples: deque[Sample] = deque()  # of the thread that delivers

    def add(self, *, files: int = 0, size: int = 0) -> None:
        """Count files and bytes; negative numbers where they are sent again."""
        with self._lock:
            self._files += files
            self._size += size
        self.progress.show()

    def file(self, size: int) -> FileProgress:
        """Return what counts the bytes of a file; `size` in bytes."""
        return FileProgress(self, size)

    def begin(self, place: str, now: float) -> None:
        """Measure the rate from now on, in seconds; `place` is where it happens."""
        self._place, self._begin = place, now
        self._samples = deque([Sample(time=now, done=self._done)])

    def state(self, now: float) -> State:
        """Return how far this phase is; only the thread that delivers may call this."""
        samples = self._samples
        samples.append(Sample(time=now, done=self._done))
        while len(samples) > 2 and samples[1].time <= now - _RATE_SECONDS:
            samples.popleft()
        return State(
            place=self._place,
            phase=self.phase,
            done=samples[-1].done,
            total=self._total,
            rate=rate_of(samples),
            seconds=now - self._begin,
        )

    @property
    def _done(self) -> Amount:
        with self._lock:
            return Amount(files=self._files, size=self._size)


class Progress:
    """How far the delivery of a sink is.

    Parameters
    ----------
    choose
        Returns what shows it; called when the delivery turns out to be long.
    clock
        Returns a time in seconds.
    """

    def __init__(
        self,
        choose: Callable[[], Display] = choose_display,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._choose = choose
        self._clock = clock
        self._begin = clock()
        self._due = self._begin + _FIRST_SECONDS
        self._display: Display | None = None
        self._thread = threading.get_ident()
        self._lock = threading.Lock()  # guards the next line
        self._arrived_files = self._arrived_size = 0
        self._place = ""
        self._total = _UNKNOWN
        self._phase = self.prepare(Phase.PLANNING)

    def begin_planning(self, place: str) -> None:
        """Begin to decide where files go; nothing is written there before `begin_place`."""
        self._place = escaped(place)
        self.begin(Phase.PLANNING)

    def begin_place(self, place: str, transfers: Iterable[FileTransfer]) -> None:
        """Begin to deliver files to another place."""
        self._place = escaped(place)
        self._total = amount_of(transfers)
        self._arrived_files = self._arrived_size = 0
        self.begin(Phase.LISTING)

    def add_arrived(self, size: int) -> None:
        """Count a file that is in place; `size` in bytes."""
        with self._lock:
            self._arrived_files += 1
            self._arrived_size += size

    def prepare(self, phase: Phase, total: Amount = _UNKNOWN) -> PhaseProgress:
        """Return the progress of a phase that begins later; it can be counted already."""
        return PhaseProgress(self, phase, total)

    def begin(self, phase: Phase, total: Amount = _UNKNOWN) -> PhaseProgress:
        """Begin a phase, and return what counts it."""
        return self.enter(self.prepare(phase, total))

    def enter(self, phase: PhaseProgress) -> PhaseProgress:
        """Begin a phase; from now on, it is shown."""
        phase.begin(self._place, self._clock())
        self._phase = phase
        self.show()
        return phase

    def show(self) -> None:
        """Show the progress if it is time to. No error of a terminal stops a delivery."""
        now = self._clock()
        if now < self._due or threading.get_ident() != self._thread:
            return
        try:
            self._show(now)
        except Exception as error:  # noqa: BLE001 - standard error may be any object
            self._display, self._due = Hidden(), float("inf")
            raise_if_from_signal_handler(error)

    def _show(self, now: float) -> None:
        if self._display is None:
            self._display = self._choose()
            self._due = max(now, self._begin + self._display.seconds)
        if now >= self._due:
            self._due = now + self._display.seconds
            self._display.show(self._phase.state(now))

    def close(self) -> None:
        """Show nothing more."""
        self._due = float("inf")
        self.hide()

    def hide(self) -> None:
        """Remove what is shown, until it is shown again, to make room for other lines."""
        try:
            if self._display:
                self._display.close()
        except Exception as error:  # noqa: BLE001 - see `show`
            raise_if_from_signal_handler(error)

    def log_interruption(self, interrupt: KeyboardInterrupt) -> None:
        """Say how far the delivery came before Ctrl-C or SIGTERM, in the log and in the error.

        nipype shows the error last, after many lines of traceback.
        """
        arrived = Amount(files=self._arrived_files, size=self._arrived_size)
        line = interruption_line(self._place, self._phase.phase, arrived, self._total)
        interrupt.args = interrupt.args or (line,)
        with suppress(Exception):  # of the user's log; it must not replace the interrupt
            _logger.warning("%s", line)


@contextmanager
def shown_progress(outer: Progress | None = None) -> Iterator[Progress]:
    """Yield a progress that is shown until the block ends; after an interrupt, say how far it came.

    `KeyboardInterrupt` leaves the block, and has that line as its text.

    Parameters
    ----------
    outer
        The progress of a block around this one, which shows it; otherwise one is made.
    """
    if outer:
        yield outer
        return
    progress = Progress()
    try:
        yield progress
    except KeyboardInterrupt as interrupt:
        progress.close()
        progress.log_interruption(interrupt)
        raise
    finally:
        progress.close()


def hidden_progress() -> Progress:
    """Return a progress that is not shown."""
    return Progress(choose=Hidden)


def amount_of(transfers: Iterable[FileTransfer]) -> Amount:
    """Return how many files there are, and the sum of their sizes."""
    sizes = [transfer.size for transfer in transfers]
    return Amount(files=len(sizes), size=sum(sizes))
