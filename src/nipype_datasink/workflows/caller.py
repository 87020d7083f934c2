"""Find the line of a program that called a function, through frames of libraries."""

from __future__ import annotations

import os
import sys
import sysconfig
from types import FrameType

import nipype

_LIBRARIES = tuple(
    os.path.join(directory, "")
    for directory in (
        os.path.dirname(nipype.__file__),
        os.path.dirname(os.path.dirname(__file__)),
        sysconfig.get_path("stdlib"),
    )
)
_SITE = tuple(os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib"))


def place_of(caller: FrameType, start: str) -> str:
    """Return file and line of the innermost frame of the program.

    Frames of nipype, of this library and of the standard library are not the program's.
    """
    frame: FrameType | None = caller
    while frame and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    path = frame.f_code.co_filename
    roots = [os.path.join(root, "") for root in (start, *sorted(sys.path, key=len, reverse=True))]
    root = next((each for each in roots if path.startswith(each)), "")
    return f"{path[len(root) :]}:{frame.f_lineno}"


def _is_library(path: str) -> bool:
    if path.startswith("<"):  # code that has no file
        return True
    *packages, standard = _LIBRARIES
    return path.startswith(tuple(packages)) or (
        path.startswith(standard) and not path.startswith(_SITE)
    )
