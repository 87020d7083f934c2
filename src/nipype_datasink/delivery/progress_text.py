"""Say how far a delivery is, in a few words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from nipype_datasink.display import DECIMAL, counted, format_bytes

_MINUTE_SECONDS, _HOUR_SECONDS = 60, 3600


class Phase(Enum):
    """What a delivery is doing."""

    PLANNING = "planning"
    LISTING = "listing"
    LINKING = "linking"
    COMPARING = "comparing"
    COPYING = "copying"
    COMPARING_AND_COPYING = "comparing and copying"
    SENDING = "sending"
    VERIFYING = "verifying"
    REMOVING = "removing"
    HASHING = "computing SHA-256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number of files, and the sum of their sizes."""

    files: int = 0
    """Number of files."""

    size: int = 0
    """In bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was done at one time."""

    time: float
    """In seconds, of any clock."""

    done: Amount
    """Since the phase began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What is done in one second."""

    files: float = 0.0
    """Files in a second."""

    size: float = 0.0
    """Bytes in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far one phase of a delivery is."""

    place: str
    """Base directory and container, or another place."""

    phase: Phase
    """What is being done there."""

    done: Amount
    """What is done in this phase."""

    total: Amount
    """All that this phase will do; zero where it is not known."""

    rate: Rate
    """Of the last seconds."""

    seconds: float
    """Time since the phase began."""


def rate_of(samples: Sequence[Sample]) -> Rate:
    """Return the rate between the first and the last sample; zero where bytes are sent again.

    Examples
    --------
    >>> before = Sample(time=0.0, done=Amount(files=0, size=0))
    >>> rate_of([before, Sample(time=2.0, done=Amount(files=3, size=100))])
    Rate(files=1.5, size=50.0)
    """
    first, last = samples[0], samples[-1]
    seconds = last.time - first.time
    if seconds <= 0:
        return Rate()
    return Rate(
        files=max(0.0, (last.done.files - first.done.files) / seconds),
        size=max(0.0, (last.done.size - first.done.size) / seconds),
    )


def seconds_left(state: State) -> float | None:
    """Return the seconds until the phase ends; None where that cannot be estimated.

    The bytes decide; where there are none, as where files are removed, the number of files does.
    """
    if state.total.size:
        left, rate = state.total.size - state.done.size, state.rate.size
    else:
        left, rate = state.total.files - state.done.files, state.rate.files
    return left / rate if left > 0 and rate > 0 else None


def describe_progress(state: State) -> str:
    """Return numbers and times, without place and phase.

    Examples
    --------
    >>> state = State(
    ...     place="s3://lab/many",
    ...     phase=Phase.SENDING,
    ...     done=Amount(files=1204, size=112_000_000),
    ...     total=Amount(files=5006, size=560_000_000),
    ...     rate=Rate(files=225.0, size=21_000_000.0),
    ...     seconds=5.3,
    ... )
    >>> describe_progress(state)
    '1,204 of 5,006 files, 112 of 560 MB, 21 MB/s, about 21 s left'
    """
    return ", ".join(progress_parts(state))


def progress_parts(state: State) -> list[str]:
    """Return the numbers and times one by one: files, bytes, rate and time, as far as known."""
    parts = [_format_files(state)]
    if state.total.size:
        parts.append(_format_sizes(state.done.size, state.total.size))
    if _only_verifies(state):
        return parts
    if state.total.size:
        parts.append(f"{format_bytes(round(state.rate.size))}/s")
    if (left := seconds_left(state)) is not None:
        parts.append(f"about {format_seconds(left)} left")
    elif not state.total.files:
        parts.append(format_seconds(state.seconds))
    return [part for part in parts if part]


def phase_now(state: State) -> Phase:
    """Return what is being done; after the last byte was sent, large files are verified."""
    return Phase.VERIFYING if _only_verifies(state) else state.phase


def log_line(state: State) -> str:
    """Return a line for a log. Sending and copying are not named, as that is what a sink does."""
    phase = phase_now(state)
    is_usual = phase in (Phase.SENDING, Phase.COPYING)
    name = "" if is_usual else f"{phase.value}, "
    return f"{state.place}: {name}{describe_progress(state)}"


def interruption_line(place: str, phase: Phase, arrived: Amount, total: Amount) -> str:
    """Return what to say after Ctrl-C or SIGTERM.

    Parameters
    ----------
    place
        Where files were delivered; empty text if that was not known yet.
    phase
        What was being done.
    arrived
        What is known to be in place.
    total
        All that is to be delivered there.
    """
    if phase is Phase.PLANNING:
        prefix = f"{place}: " if place else ""
        return f"{prefix}interrupted while planning: nothing was written; run again"
    sizes = f" ({_format_sizes(arrived.size, total.size)})" if total.size else ""
    verb = "is" if total.files == 1 else "are"
    return (
        f"{place}: interrupted while {phase.value}: {arrived.files:,} of "
        f"{counted(total.files, 'file')}{sizes} {verb} in place; run again to complete it: "
        "files in place are not transferred again"
    )


def format_seconds(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> [format_seconds(each) for each in (0.2, 21.4, 59.6, 250, 7800)]
    ['1 s', '21 s', '1 min', '4 min', '2 h 10 min']
    """
    whole = max(1, round(seconds))
    if whole < _MINUTE_SECONDS:
        return f"{whole} s"
    minutes = round(whole / _MINUTE_SECONDS)
    if whole < _HOUR_SECONDS - _MINUTE_SECONDS / 2:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, _MINUTE_SECONDS)
    return f"{hours:,} h {minutes} min"


def _only_verifies(state: State) -> bool:
    is_sent = state.total.size and state.done.size >= state.total.size
    return bool(is_sent and state.phase is Phase.SENDING and state.done.files < state.total.files)


def _format_files(state: State) -> str:
    if state.total.files:
        return f"{state.done.files:,} of {counted(state.total.files, 'file')}"
    return counted(state.done.files, "file") if state.done.files else ""


def _format_sizes(done: int, total: int) -> str:
    """Return two sizes in the unit of the second, and as exact.

    Examples
    --------
    >>> _format_sizes(112_400_000, 560_000_000), _format_sizes(0, 5_240_000), _format_sizes(3, 7)
    ('112 of 560 MB', '0 of 5.24 MB', '3 of 7 bytes')
    """
    factor, names = DECIMAL
    number, unit = format_bytes(total).split(" ")
    if unit not in names[1:]:
        return f"{done:,} of {number} {unit}"
    decimals = 2 - math.floor(math.log10(float(number)))
    return f"{round(done / factor ** names.index(unit), decimals):,g} of {number} {unit}"
