"""A file system that treats names as equal if they differ only in case or Unicode form.

It needs no FUSE (tests/fuse.py): functions of Python look up the names of a directory on disk.
"""

from __future__ import annotations

import builtins
import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_FUNCTIONS = (
    *("link", "listdir", "lstat", "mkdir", "open", "readlink", "replace", "scandir", "stat"),
    "unlink",
)


def ignore_case(monkeypatch: pytest.MonkeyPatch, top: Path) -> None:
    """Let Python find names below `top` in any spelling; they are listed as they were created."""
    listdir, lstat = os.listdir, os.lstat

    def mode_of(path: str) -> int:
        try:
            return lstat(path).st_mode
        except OSError:
            return 0

    def stored(path: Any) -> Any:
        if not isinstance(path, str) or not f"{path}/".startswith(f"{top}/"):
            return path
        found = str(top)
        for name in path[len(found) :].split("/")[1:]:
            names = listdir(found) if stat.S_ISDIR(mode_of(found)) else []
            same = [each for each in names if _folded(each) == _folded(name)]
            found = os.path.join(found, same[0] if same else name)
        return found

    def translated(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: function(*map(stored, args), **options)

    for name in _FUNCTIONS:
        monkeypatch.setattr(os, name, translated(getattr(os, name)))
    monkeypatch.setattr(builtins, "open", translated(open))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
