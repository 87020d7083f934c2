"""Removing what must not remain in a folder (``remove_dest_dir``), and nothing else.

Other processes may move things meanwhile, so every directory is entered from the one above it, by
descriptor and never through a link: a directory that is swapped for a link leads nowhere.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache

from nipype_datasink.errors import DestinationError
from nipype_datasink.planning.places import (
    PathMap,
    RealPathCache,
    ancestors,
    same_place,
    stored_name,
)
from nipype_datasink.planning.plan import Plan, resolve_parent
from nipype_datasink.signals import is_time_limit

__all__ = ["remove_others"]

_logger = logging.getLogger("nipype.interface")

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


def remove_others(plan: Plan, base: str) -> dict[str, OSError]:
    """Remove everything that `plan` neither delivers nor reads from the folders it replaces.

    Parameters
    ----------
    plan
        Delivered as a whole.
    base
        Directory that is never emptied.

    Returns
    -------
    dict
        Paths that could not be removed, and why. One of them does not keep others from going.
    """
    folders = {item.cleared_folder: None for item in plan.deliveries if item.cleared_folder}
    if not folders:
        return {}
    try:
        names = _StoredNames(folders)
        stay = {path for path in map(names.stored, _kept(plan)) if path}
    except OSError as error:  # what is to stay is not known, so everything does
        if is_time_limit(error):
            raise
        return dict.fromkeys(folders, error)
    failures: dict[str, OSError] = {}
    for folder in names.outermost:
        if any(same_place(folder, each) for each in (base, *ancestors(base))):
            why = f"remove_dest_dir would empty the base directory {base}"
            failures[folder] = DestinationError(errno.EINVAL, why, folder)
        else:
            failures |= _Emptying(folder, stay, names.unclear).run()
    return failures


class _StoredNames:
    """Paths below some folders, spelled as these directories list their names.

    A file system may list a name in another form than it was written, and one folder may have
    been spelled in several ways.
    """

    def __init__(self, folders: Collection[str]) -> None:
        self.outermost: list[str] = []
        """Folders that lie in no other."""
        self.unclear: set[str] = set()
        """Directories that hold something that is to stay, and do not list it."""
        self._folders: dict[str, str | None] = {"/": None}
        self._roots: dict[tuple[int, int], str] = {}
        self._spelled: PathMap[str] = PathMap()
        self._listed = cache(_names)
        for folder in sorted(folders, key=len):
            if self._folder(folder) is None:
                self.outermost.append(folder)
                self._folders[folder] = folder
                self._spelled.add(folder, folder)
                status = os.stat(folder)
                self._roots[status.st_dev, status.st_ino] = folder

    def stored(self, path: str) -> str | None:
        """Return `path` as it is listed; None if it lies in none of the folders."""
        directory, name = os.path.split(path)
        found = self._folder(directory)
        return None if found is None else self._listed_path(found, name)

    def _folder(self, path: str) -> str | None:
        way = []
        while path not in self._folders:
            way.append(path)
            path = os.path.dirname(path)
        for each in reversed(way):
            above = self._folders[os.path.dirname(each)]
            self._folders[each] = (
                self._listed_path(above, os.path.basename(each)) if above else self._root(each)
            )
        return self._folders[way[0] if way else path]

    def _root(self, path: str) -> str | None:
        if found := self._spelled.find(path):
            return found
        try:
            status = os.stat(path)
        except OSError:
            return None
        return self._roots.get((status.st_dev, status.st_ino))

    def _listed_path(self, directory: str, name: str) -> str:
        listed = stored_name(directory, name, self._listed(directory))
        if listed is None:
            self.unclear.add(directory)
        return os.path.join(directory, listed or name)


def _names(directory: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))
    except OSError as error:  # then nothing in it can be removed, either
        if is_time_limit(error):
            raise
        return frozenset()


def _kept(plan: Plan) -> Collection[str]:
    """Return the paths that `plan` delivers or reads, links on the way to them included."""
    real_directory = RealPathCache()
    kept: set[str] = set()

    def keep(path: str) -> None:
        while path not in kept and len(path) > 1:
            kept.add(path)
            if os.path.islink(path):
                target = os.path.join(os.path.dirname(path), os.readlink(path))
                keep(os.path.normpath(target))
                keep(resolve_parent(target, real_directory))
            path = os.path.dirname(path)

    for delivery in plan.deliveries:
        kept.update(delivery.directories)
        keep(os.path.abspath(delivery.destination))  # perhaps spelled through a link
        for transfer in delivery.transfers:  # not the plan's: two may have one destination
            kept.add(transfer.destination)
            keep(transfer.source)
            keep(resolve_parent(transfer.source, real_directory))
    return kept


@dataclass(slots=True)
class _Level:
    """A directory that is being emptied."""

    path: str
    identity: tuple[int, int]
    pending: list[str]
    """Names of the directories in it that have not been entered."""


class _Emptying:
    """One walk through a folder, from the bottom up, with one open directory at a time.

    Parameters
    ----------
    folder
        A directory, spelled without links.
    stay
        Paths that are not removed.
    unclear
        Directories in which nothing is removed.
    """

    def __init__(self, folder: str, stay: Collection[str], unclear: Collection[str]) -> None:
        self._folder = folder
        self._stay = stay
        self._unclear = unclear
        self._failures: dict[str, OSError] = {}
        self._descriptor = -1

    def run(self) -> dict[str, OSError]:
        """Empty the folder; return what could not be removed."""
        try:
            self._descriptor = os.open(self._folder, _ENTER)
        except OSError as error:
            return {self._folder: error}
        try:
            if os.path.realpath(self._folder) != self._folder:
                raise OSError(errno.ELOOP, "was replaced by a link, or lies below one")
            self._walk()
        except OSError as error:
            self._note(self._folder, error)
        finally:
            os.close(self._descriptor)
        return self._failures

    def _walk(self) -> None:
        levels = [self._look(self._folder)]
        while levels:
            level = levels[-1]
            if level.pending:
                levels += self._enter(os.path.join(level.path, level.pending.pop()))
                continue
            levels.pop()
            if levels:
                self._move("..", identity=levels[-1].identity)
                self._remove(os.rmdir, level.path)

    def _look(self, path: str) -> _Level:
        """Remove the files in the open directory."""
        status = os.fstat(self._descriptor)
        with os.scandir(self._descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            if not is_directory:
                self._remove(os.unlink, os.path.join(path, name))
        directories = [name for name, is_directory in found if is_directory]
        return _Level(path, (status.st_dev, status.st_ino), directories)

    def _enter(self, path: str) -> Iterator[_Level]:
        try:
            self._move(os.path.basename(path))
        except FileNotFoundError:
            return
        except OSError as error:
            self._note(path, error)
            return
        yield self._look(path)

    def _move(self, name: str, identity: tuple[int, int] | None = None) -> None:
        """Open the directory `name` of the open one in its place."""
        descriptor = os.open(name, _ENTER, dir_fd=self._descriptor)
        status = os.fstat(descriptor)
        if identity and identity != (status.st_dev, status.st_ino):
            os.close(descriptor)
            raise OSError(errno.ESTALE, "a directory was moved while the folder was emptied")
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _remove(self, remove: Callable[..., None], path: str) -> None:
        directory, name = os.path.split(path)
        if path in self._stay or directory in self._unclear:
            return
        try:
            remove(name, dir_fd=self._descriptor)
        except FileNotFoundError:  # another process may empty the folder, too
            pass
        except OSError as error:
            if name.startswith(".nfs") and error.errno == errno.EBUSY:
                # NFS keeps a removed file by such a name while somebody has it open.
                _logger.debug("%s stays until those who have it open close it", path)
            elif remove is not os.rmdir or error.errno not in _NOT_EMPTY:
                self._note(path, error)

    def _note(self, path: str, error: OSError) -> None:
        if is_time_limit(error):
            raise error
        self._failures[path] = OSError(error.errno, error.strerror, path)
