"""How long names and paths may be where files are to go; looked up before anything is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from nipype_datasink.errors import DestinationError

__all__ = ["PathLimits"]

# eCryptfs takes 143 bytes, every other file system in use 255 or more: shorter names need no look.
_ALWAYS_ALLOWED = 143

# Bytes of a temporary file's name and the slash before it; a file is written beside its place.
TEMPORARY_BYTES = len("/.datasink-0123456789abcdef")


class PathLimits:
    """Longest names and paths, each file system asked once for each directory."""

    def __init__(self) -> None:
        self._limits: dict[tuple[str, str], int | None] = {}

    def check(self, path: str) -> None:
        """Refuse a path that the file system cannot take.

        Parameters
        ----------
        path
            Absolute destination of a file or directory; it need not exist.

        Raises
        ------
        DestinationError
            If it, or the temporary file beside it, or a name in it is too long.
        """
        encoded = os.fsencode(path)
        if len(encoded) <= _ALWAYS_ALLOWED:
            return
        whole = max(len(encoded), len(os.path.dirname(encoded)) + TEMPORARY_BYTES) + 1  # a NUL
        limit = self._limit("/", "PC_PATH_MAX") or whole
        if whole > limit:
            raise DestinationError(
                f"{path!r} needs {whole:,} bytes; paths may have {limit:,}. Shorten it by a "
                "substitution"
            )
        for directory, name in _long_names(encoded):
            limit = self._limit(directory, "PC_NAME_MAX") or len(name)
            if len(name) > limit:
                raise DestinationError(
                    f"{path!r} holds the name {os.fsdecode(name)!r} of {len(name):,} bytes; the "
                    f"file system takes {limit:,}. Shorten it by a substitution"
                )

    def _limit(self, directory: str, kind: str) -> int | None:
        """Return a limit of the nearest directory that exists; None where there is none."""
        if (directory, kind) not in self._limits:
            limit = None
            with suppress(OSError, ValueError):
                limit = os.pathconf(_nearest(directory), kind)
            self._limits[directory, kind] = limit if limit and limit > 0 else None
        return self._limits[directory, kind]


def _long_names(path: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each name in `path` that may be too long, and the directory it is in."""
    end = 0
    for name in path.split(b"/"):
        if len(name) > _ALWAYS_ALLOWED:
            yield os.fsdecode(path[:end]) or "/", name
        end += len(name) + 1


def _nearest(directory: str) -> str:
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory
