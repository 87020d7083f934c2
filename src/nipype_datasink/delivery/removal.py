"""Remove everything else from the folders that a plan delivers to (``remove_dest_dir``)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from functools import cache

from nipype_datasink.delivery.folder_clearer import FirstRemoval, FolderClearer
from nipype_datasink.errors import DestinationError
from nipype_datasink.planning.places import (
    PathMap,
    absolute_path,
    ancestors,
    same_place,
    stored_name,
)
from nipype_datasink.planning.plan import Plan
from nipype_datasink.planning.real_paths import RealPathCache, resolve_parent
from nipype_datasink.signals import is_time_limit


def remove_others(
    plan: Plan,
    base: str,
    *,
    before: Callable[[], object] = lambda: None,
    on_removed: Callable[[], object] = lambda: None,
) -> dict[str, OSError]:
    """Remove everything from the folders that `plan` clears, but not what it delivers or reads.

    Parameters
    ----------
    plan
        Delivered completely.
    base
        Directory that is never cleared.
    before
        Called before the first removal, if there is any. If it raises an `OSError`, nothing is
        removed.
    on_removed
        Called after each removal of a file.

    Returns
    -------
    dict
        Paths that could not be removed, and the errors. Other paths are removed all the same.
    """
    folders = {item.cleared_folder: None for item in plan.deliveries if item.cleared_folder}
    if not folders:
        return {}
    try:
        names = _StoredNames(folders)
        kept = {path for path in map(names.stored_path, _paths_to_keep(plan)) if path}
    except OSError as error:  # among others, if it is not known which files to keep
        if is_time_limit(error):
            raise
        return dict.fromkeys(folders, error)
    failures, first = names.failures, FirstRemoval(before)
    for folder in names.outermost:
        if any(same_place(folder, each) for each in (base, *ancestors(base))):
            reason = f"remove_dest_dir would empty the base directory {base}"
            failures[folder] = DestinationError(errno.EINVAL, reason, folder)
        else:
            failures |= FolderClearer(folder, kept, names.unlisted, first, on_removed).run()
    return dict.fromkeys(folders, first.error) if first.error else failures


class _StoredNames:
    """Translates paths into the spelling by which the directories in some folders list them.

    A file system may list a name in another form than it was created with (case, Unicode form), and
    the paths of a plan may spell one folder in several ways.
    """

    def __init__(self, folders: Collection[str]) -> None:
        self.outermost: list[str] = []
        """Folders that are not inside another of the folders."""
        self.unlisted: set[str] = set()
        """Directories with a file to keep that they do not list under any known name."""
        self.failures: dict[str, OSError] = {}
        """Directories that cannot be listed. They are unlisted, so nothing in them is removed."""
        # Directories that were looked up, as they are listed; None for those in no folder.
        self._folders: dict[str, str | None] = {"/": None}
        # The outermost folders, by device and inode, and by path. A folder may be reached by a
        # path with other names (a link or a bind mount), and FUSE may give it two inode numbers.
        self._by_inode: dict[tuple[int, int], str] = {}
        self._by_path: PathMap[str] = PathMap()
        self._list = cache(self._names)
        for folder in sorted(folders, key=len):
            if self._folder(folder) is None:
                self.outermost.append(folder)
                self._folders[folder] = folder
                self._by_path.add(folder, folder)
                status = os.stat(folder)
                self._by_inode[status.st_dev, status.st_ino] = folder

    def stored_path(self, path: str) -> str | None:
        """Return `path` as it is listed; None if it is in none of the folders."""
        directory, name = os.path.split(path)
        found = self._folder(directory)
        return None if found is None else self._listed_path(found, name)

    def _folder(self, path: str) -> str | None:
        """Return a directory as it is listed; None if it is in none of the folders."""
        unknown = [path]
        while unknown[-1] not in self._folders:
            unknown.append(os.path.dirname(unknown[-1]))
        for each in reversed(unknown[:-1]):
            parent = self._folders[os.path.dirname(each)]
            self._folders[each] = (
                self._listed_path(parent, os.path.basename(each)) if parent else self._root(each)
            )
        return self._folders[path]

    def _root(self, path: str) -> str | None:
        """Return the outermost folder that `path` leads to; None if it leads to none."""
        if found := self._by_path.find(path):
            return found
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None  # each folder was found, so this is another path
        return self._by_inode.get((status.st_dev, status.st_ino))

    def _listed_path(self, directory: str, name: str) -> str:
        listed = stored_name(directory, name, self._list(directory))
        if listed is None:
            self.unlisted.add(directory)
        return os.path.join(directory, listed or name)

    def _names(self, directory: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(directory))
        except OSError as error:
            if is_time_limit(error):
                raise
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self.failures[directory] = error
            return frozenset()


def _paths_to_keep(plan: Plan) -> Collection[str]:
    """Return the paths that `plan` delivers or reads, and the links that they go through."""
    real_directory = RealPathCache()
    kept: set[str] = set()

    def keep(path: str) -> None:
        """Keep a path, the folders that contain it, and the targets of all links among them."""
        while path not in kept and len(path) > 1:
            kept.add(path)
            if os.path.islink(path):
                target = os.path.join(os.path.dirname(path), os.readlink(path))
                keep(absolute_path(target))
                keep(resolve_parent(target, real_directory))
            path = os.path.dirname(path)

    for delivery in plan.deliveries:
        kept.update(delivery.directories)
        keep(absolute_path(delivery.destination))  # it may go through a link
        # Not `plan.transfers`, which has one source for each destination; there may be several.
        for transfer in delivery.transfers:
            kept.add(transfer.destination)
            keep(transfer.source)
            keep(resolve_parent(transfer.source, real_directory))
    return kept
