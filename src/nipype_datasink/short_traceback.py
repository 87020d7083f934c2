"""Show errors in notebooks without the frames of this package."""

from __future__ import annotations

import sys
import traceback
from itertools import dropwhile, takewhile
from types import FrameType

_HIDDEN_PACKAGES = ("nipype", "nipype_datasink")
_DEFAULT_MODE = "Context"


def wants_short_traceback() -> bool:
    """Return whether IPython shows errors in its default mode; see ``%xmode``."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    mode = getattr(getattr(get_ipython(), "InteractiveTB", None), "mode", None)
    return bool(mode == _DEFAULT_MODE)


def short_traceback(error: BaseException) -> list[str]:
    """Return the frames of the user up to the call of this package or nipype, and the message."""
    frames = dropwhile(_is_frame_of_ipython, traceback.walk_tb(error.__traceback__))
    own = takewhile(lambda frame: _package(frame) not in _HIDDEN_PACKAGES, frames)
    return [
        "Traceback (most recent call last); '%tb Verbose' shows all of it:",
        *map(str.rstrip, traceback.StackSummary.extract(own).format()),
        f"{type(error).__name__}: {error}",
    ]


def _package(frame: tuple[FrameType, int]) -> str:
    return str(frame[0].f_globals.get("__name__")).partition(".")[0]


def _is_frame_of_ipython(frame: tuple[FrameType, int]) -> bool:
    return _package(frame) == "IPython"
