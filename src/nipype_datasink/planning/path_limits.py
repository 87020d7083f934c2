"""Check the length of names and paths against the limits of the file system."""

from __future__ import annotations

import os
from collections.abc import Iterator

from nipype_datasink.errors import DestinationError

# eCryptfs allows names of 143 bytes, all other file systems in use 255 or more. Shorter names and
# paths need no system call.
_ALWAYS_ALLOWED_BYTES = 143

# A temporary file is in the directory of the destination, so its path needs room, too.
TEMPORARY_NAME_BYTES = len("/.datasink-0123456789abcdef")


class PathLimits:
    """Largest lengths of names and paths; each directory is looked up once."""

    def __init__(self) -> None:
        self._limits: dict[tuple[str, str], int] = {}

    def check(self, path: str) -> None:
        """Check that the file system allows a path.

        Parameters
        ----------
        path
            Absolute destination of a file or directory; it need not exist.

        Raises
        ------
        DestinationError
            If it, a name in it, or the path of its temporary file is too long.
        """
        encoded = os.fsencode(path)
        if len(encoded) <= _ALWAYS_ALLOWED_BYTES:
            return
        # The limit of a path includes the NUL at its end.
        whole = max(len(encoded), len(os.path.dirname(encoded)) + TEMPORARY_NAME_BYTES) + 1
        limit = self._limit("/", "PC_PATH_MAX") or whole
        if whole > limit:
            raise DestinationError(
                f"{path!r} needs {whole:,} bytes; paths are limited to {limit:,}. Shorten it by a "
                "substitution"
            )
        for directory, name in _long_names(encoded):
            limit = self._limit(directory, "PC_NAME_MAX") or len(name)
            if len(name) > limit:
                raise DestinationError(
                    f"{path!r} contains the name {os.fsdecode(name)!r} of {len(name):,} bytes; the "
                    f"file system allows {limit:,}. Shorten it by a substitution"
                )

    def _limit(self, directory: str, kind: str) -> int:
        """Return a limit of the nearest existing directory; 0 if it has none."""
        if (directory, kind) not in self._limits:
            self._limits[directory, kind] = _read_limit(_nearest_existing(directory), kind)
        return self._limits[directory, kind]


def _read_limit(directory: str, kind: str) -> int:
    try:
        return max(os.pathconf(directory, kind), 0)
    except (OSError, ValueError):
        return 0


def _long_names(path: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each name in `path` that may be too long, after the directory that contains it."""
    end = 0
    for name in path.split(b"/"):
        if len(name) > _ALWAYS_ALLOWED_BYTES:
            yield os.fsdecode(path[:end]) or "/", name
        end += len(name) + 1


def _nearest_existing(directory: str) -> str:
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory
