"""Whether two paths lead to one place on disk: the file system decides, not the spelling.

Many file systems ignore case (APFS, SMB, exFAT), some also Unicode's normal form. A directory's
listing shows how a name is stored there. Inode numbers alone say less: two hard links share one,
and FUSE may give one file two. Everything here only reads.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

__all__ = [
    "PathMap",
    "RealPathCache",
    "ancestors",
    "group_similar_names",
    "normalize_name",
    "same_place",
    "stored_name",
    "with_ancestors",
]

_Value = TypeVar("_Value")

_TO_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def normalize_name(path: str) -> str:
    """Return what `path` has in common with all names that a file system may take for it.

    Examples
    --------
    >>> normalize_name("/out/Re\u0301sum\u00e9.nii") == normalize_name("/out/r\u00e9sume\u0301.NII")
    True
    """
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def group_similar_names(paths: Iterable[str]) -> list[list[str]]:
    """Return the paths on disk that differ in spelling only, together, in order."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        if path.startswith("/"):
            groups.setdefault(normalize_name(path), []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def same_place(path: str, other: str) -> bool:
    """Return whether the file system takes two paths for one, as far as reading can tell.

    Where both exist the answer is certain. Where none does, it is True only if something else
    shows that the file system ignores case.

    Parameters
    ----------
    path, other
        Absolute; addresses in S3 are never one.
    """
    if path == other:
        return True
    if not path.startswith("/") or normalize_name(path) != normalize_name(other):
        return False
    directory = "/"
    for name, another in zip(path.split("/"), other.split("/"), strict=True):
        if name != another and not _same_name(directory, name, another):
            return False
        directory = os.path.join(directory, name)
    return True


def _same_name(directory: str, name: str, other: str) -> bool:
    """Return whether `directory` takes two names that are alike for one."""
    paths = [os.path.join(directory, each) for each in (name, other)]
    there = [os.path.lexists(path) for path in paths]
    if not any(there):
        ascii_case = name.translate(_TO_ASCII_LOWER) == other.translate(_TO_ASCII_LOWER)
        return ascii_case and _ignores_case(directory)
    if not all(there):
        return False
    try:
        names = os.listdir(directory)
    except OSError:
        return os.path.samestat(*map(os.lstat, paths))
    return stored_name(directory, name, names) == stored_name(directory, other, names)


def stored_name(directory: str, name: str, names: Collection[str]) -> str | None:
    """Return the name by which `directory` lists what it holds as `name`.

    Parameters
    ----------
    directory
        Path of a directory.
    name
        Of something in it.
    names
        All that the directory lists.

    Returns
    -------
    str or None
        `name` itself where nothing is there; None where something is, and no entry can be it.
    """
    path = os.path.join(directory, name)
    if name in names or not os.path.lexists(path):
        return name
    candidates = [each for each in names if normalize_name(each) == normalize_name(name)]
    if len(candidates) == 1:
        return candidates[0]
    # Stored in a way of the file system's own (without a dot at its end, say); or the file system
    # tells case apart but not normal forms.
    status = os.lstat(path)
    for each in candidates or names:
        with suppress(OSError):  # it may be gone by now
            if os.path.samestat(status, os.lstat(os.path.join(directory, each))):
                return each
    return None


def _ignores_case(directory: str) -> bool:
    """Return whether something in or above `directory` shows that it ignores case.

    Directories inherit that, so the nearest one that exists speaks for those to be made in it. An
    empty one says nothing: there its own name in its parent speaks.
    """
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    parent, name = os.path.split(directory)
    with suppress(OSError):
        names = set(os.listdir(directory))
        found = _found_in_other_case(directory, names, names)
        if found is None and name and os.stat(parent).st_dev == os.stat(directory).st_dev:
            found = _found_in_other_case(parent, [name], os.listdir(parent))
        return found is True
    return False


def _found_in_other_case(
    directory: str, names: Iterable[str], listed: Collection[str]
) -> bool | None:
    """Return whether one of `names` is also found with its case swapped; None if none has case."""
    for name in names:
        swapped = "".join(each.swapcase() if each.isascii() else each for each in name)
        if swapped not in listed:  # else it is an entry of its own, or nothing was swapped
            return os.path.lexists(os.path.join(directory, swapped))
    return None


def ancestors(path: str) -> Iterator[str]:
    """Yield the folders that `path` lies in, the innermost first; never the root."""
    while len(path := os.path.dirname(path)) > 1:
        yield path


def with_ancestors(paths: Iterable[str]) -> dict[str, str]:
    """Return `paths` and every folder that they lie in, each with the first path that needs it."""
    found: dict[str, str] = {}
    for path in paths:
        each = path
        while each not in found and len(each) > 1:
            found[each] = path
            each = os.path.dirname(each)
    return found


class RealPathCache:
    """Resolves links in paths of directories, and looks at no directory twice.

    `os.path.realpath` looks at all directories above one: for a deep tree, a look at each pair.
    """

    def __init__(self) -> None:
        self._real: dict[str, str] = {"/": "/"}
        self._missing: set[str] = set()

    def __call__(self, path: str) -> str:
        """Return `path`, which is absolute and need not exist, without links."""
        if path in self._real:
            return self._real[path]
        if os.path.normpath(path) != path:  # what ".." means depends on the links before it
            return os.path.realpath(path)
        below: list[str] = []
        while path not in self._real:
            path, name = os.path.split(path)
            below.append(name)
        for name in reversed(below):
            above = self._real[path]
            path = os.path.join(path, name)
            self._real[path] = self._resolve(above, os.path.join(above, name))
        return self._real[path]

    def _resolve(self, directory: str, path: str) -> str:
        if directory not in self._missing:
            try:
                return os.path.realpath(path) if stat.S_ISLNK(os.lstat(path).st_mode) else path
            except OSError:
                self._missing.add(path)
        else:
            self._missing.add(path)
        return path


class PathMap(Generic[_Value]):
    """Values by place: a path finds what another path to the same place was given.

    Parameters
    ----------
    items
        Paths and their values; the first value of a place stays.
    """

    def __init__(self, items: Iterable[tuple[str, _Value]] = ()) -> None:
        self._values: dict[str, _Value] = {}
        self._spellings: dict[str, list[str]] = {}
        for path, value in items:
            self.add(path, value)

    def add(self, path: str, value: _Value) -> None:
        """Give a place its value, unless this path has one."""
        if path not in self._values:
            self._values[path] = value
            self._spellings.setdefault(normalize_name(path), []).append(path)

    def find(self, path: str) -> _Value | None:
        """Return the value of the place that `path` leads to."""
        if path in self._values:
            return self._values[path]
        for other in self._spellings.get(normalize_name(path), ()):
            if same_place(path, other):
                return self._values[other]
        return None
