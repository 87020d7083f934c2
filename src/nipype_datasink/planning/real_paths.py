"""Resolve the links in many paths with few system calls."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.planning.listings import find_missing
from nipype_datasink.planning.places import absolute_path, group_by_depth, with_ancestors
from nipype_datasink.signals import is_time_limit


class RealPathCache:
    """Resolves links in paths of directories, and looks up each directory once at most.

    `os.path.realpath` looks up all parents of each path, which takes long on network file systems.
    """

    def __init__(self) -> None:
        self._real: dict[str, str] = {"/": "/"}
        self._missing: set[str] = set()  # real paths that do not exist

    def __call__(self, path: str) -> str:
        """Return an absolute path without links; it need not exist."""
        if path in self._real:
            return self._real[path]
        if not _is_plain(path):
            return _real_path(path)
        names: list[str] = []
        while path not in self._real:
            path, name = os.path.split(path)
            names.append(name)
        for name in reversed(names):
            parent = self._real[path]
            path = os.path.join(path, name)
            self._real[path] = self._resolve(parent, os.path.join(parent, name))
        return self._real[path]

    def look_up(self, paths: Iterable[str]) -> None:
        """Resolve many absolute paths: many missing ones by a listing, others in threads."""
        wanted = with_ancestors(path for path in paths if path not in self._real)
        for level in group_by_depth(filter(_is_plain, wanted)):
            parents = {path: self._real[os.path.dirname(path)] for path in level}
            self._missing |= find_missing(
                os.path.join(parent, os.path.basename(path))
                for path, parent in parents.items()
                if parent not in self._missing
            )
            adaptive_map(self, level, abandon=True)

    def _resolve(self, directory: str, path: str) -> str:
        # Nothing is in a missing directory. `look_up` may have found that the path is missing, too.
        if not self._missing.isdisjoint((directory, path)):
            self._missing.add(path)
            return path
        try:
            return _real_path(path) if stat.S_ISLNK(os.lstat(path).st_mode) else path
        except ValueError:
            pass  # no file can have such a name
        except OSError as error:
            if is_time_limit(error):
                raise
        self._missing.add(path)
        return path


def _is_plain(path: str) -> bool:
    """Return whether a path can be resolved from one folder to the next; ".." depends on links."""
    return os.path.normpath(path) == path and path.startswith("/") and path[1:2] != "/"


def _real_path(path: str) -> str:
    return absolute_path(os.path.realpath(path))


def resolve_parent(path: str, real_directory: Callable[[str], str]) -> str:
    """Return `path` with the links in its directories resolved, but not a link at its end.

    A file then has one name, whatever links lead to it.
    """
    path = path if path.startswith("/") else os.path.join(os.getcwd(), path)
    head, _, name = path.rpartition("/")
    if name in (".", ".."):  # always a directory
        return real_directory(path)
    return f"{real_directory(head or '/').rstrip('/')}/{name}"
