"""Find out whether two paths lead to the same place on disk.

Many file systems ignore case (APFS, SMB, exFAT), some also the normal form of Unicode, so spelling
does not decide. The listing of a directory shows how a name is stored. Inode numbers alone are not
enough: two hard links have the same number, and FUSE may give one file two numbers.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

_Value = TypeVar("_Value")

_TO_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def absolute_path(path: str) -> str:
    """Return a path as `os.path.abspath` does, but never with two slashes at its start.

    POSIX lets systems treat two slashes in another way than one, so Python keeps them. Linux and
    macOS treat them as one.
    """
    return f"/{os.path.abspath(path).lstrip('/')}"


def normalize_name(path: str) -> str:
    """Return a form of `path` that is equal for all paths that a file system may take for it.

    Examples
    --------
    >>> normalize_name("/out/Re\u0301sum\u00e9.nii") == normalize_name("/out/r\u00e9sume\u0301.NII")
    True
    """
    if path.isascii():  # the same result, but faster
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def group_similar_names(paths: Iterable[str]) -> list[list[str]]:
    """Return groups of paths on disk that differ only in case or Unicode form, in order."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        if path.startswith("/"):
            groups.setdefault(normalize_name(path), []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def same_place(path: str, other: str) -> bool:
    """Return whether the file system takes two paths for one, as far as reading shows.

    The answer is certain if both exist. If neither does, it is True only if other names in the
    directory show that the file system ignores case.

    Parameters
    ----------
    path, other
        Absolute. Different addresses in S3 are never the same place.
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
    """Return whether `directory` takes two similar names for one."""
    paths = [os.path.join(directory, each) for each in (name, other)]
    exist = [os.path.lexists(path) for path in paths]
    if not any(exist):
        ascii_case = name.translate(_TO_ASCII_LOWER) == other.translate(_TO_ASCII_LOWER)
        return ascii_case and _ignores_case(directory)
    if not all(exist):
        return False
    try:
        names = os.listdir(directory)
    except OSError:
        return os.path.samestat(*map(os.lstat, paths))
    return stored_name(directory, name, names) == stored_name(directory, other, names)


def stored_name(directory: str, name: str, names: Collection[str]) -> str | None:
    """Return the name under which `directory` lists the file that is found as `name`.

    Parameters
    ----------
    directory
        Path of a directory.
    name
        Name of a file in it, in any spelling.
    names
        All names that the directory lists.

    Returns
    -------
    str or None
        `name` itself if no such file exists; None if it exists, but no listed name can be its own.
    """
    path = os.path.join(directory, name)
    if name in names or not os.path.lexists(path):
        return name
    candidates = [each for each in names if normalize_name(each) == normalize_name(name)]
    if len(candidates) == 1:
        return candidates[0]
    # Either the file system has changed the name in another way (such as a dot at its end that it
    # leaves out), or it distinguishes case but not normal forms. Then inode numbers decide.
    status = os.lstat(path)
    for each in candidates or names:
        with suppress(OSError):  # another process may have removed it
            if os.path.samestat(status, os.lstat(os.path.join(directory, each))):
                return each
    return None


def _ignores_case(directory: str) -> bool:
    """Return whether a name in or above `directory` shows that it ignores case.

    New directories inherit this from their parent, so the nearest existing directory is examined.
    If that is empty, its own name in its parent shows it, unless it is a mount point.
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
    """Return whether a name is also found in swapped case; None if no name has letters to swap."""
    for name in names:
        swapped = "".join(each.swapcase() if each.isascii() else each for each in name)
        if swapped not in listed:  # otherwise it is another file, or nothing was swapped
            return os.path.lexists(os.path.join(directory, swapped))
    return None


def ancestors(path: str) -> Iterator[str]:
    """Yield the folders that contain `path`, from the innermost to the outermost, but not ``/``."""
    while (path := os.path.dirname(path)).strip("/"):
        yield path


def with_ancestors(paths: Iterable[str]) -> dict[str, str]:
    """Return `paths` and all folders that contain them, each with the first of the paths in it."""
    found: dict[str, str] = {}
    for path in paths:
        each = path
        while each not in found and each.strip("/"):
            found[each] = path
            each = os.path.dirname(each)
    return found


def group_by_depth(paths: Iterable[str]) -> list[list[str]]:
    """Return lists of paths that lie equally deep, the outermost first."""
    levels: dict[int, list[str]] = {}
    for path in paths:
        levels.setdefault(path.count("/"), []).append(path)
    return [levels[level] for level in sorted(levels)]


class PathMap(Generic[_Value]):
    """Maps paths to values; all paths to the same place have the same value.

    Parameters
    ----------
    items
        Paths and their values. Of several values for a place, the first is used.
    """

    def __init__(self, items: Iterable[tuple[str, _Value]] = ()) -> None:
        self._values: dict[str, _Value] = {}
        self._spellings: dict[str, list[str]] = {}
        for path, value in items:
            self.add(path, value)

    def add(self, path: str, value: _Value) -> None:
        """Set the value of a path, unless it has one."""
        if path not in self._values:
            self._values[path] = value
            self._spellings.setdefault(normalize_name(path), []).append(path)

    def find(self, path: str) -> _Value | None:
        """Return the value of the place that `path` leads to; None if it has none."""
        if path in self._values:
            return self._values[path]
        for other in self._spellings.get(normalize_name(path), ()):
            if same_place(path, other):
                return self._values[other]
        return None
