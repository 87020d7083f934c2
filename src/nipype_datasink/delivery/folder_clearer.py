"""Clear folders from the bottom up, except for the paths that must stay.

Other processes may move files and directories at the same time. Therefore each directory is opened
relative to the descriptor of its parent and never through a link (``O_NOFOLLOW``). A path of text
could lead to another place by the time it is used: a directory may have been replaced by a link.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from nipype_datasink.signals import is_time_limit

_logger = logging.getLogger("nipype.interface")

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)  # POSIX allows both


class FirstRemoval:
    """A function to call once, before the first removal."""

    def __init__(self, before: Callable[[], object]) -> None:
        self._before: Callable[[], object] | None = before
        self.error: OSError | None = None
        """What the function has raised."""

    def prepare(self) -> bool:
        """Call the function, if this is the first time; return whether files may be removed."""
        if before := self._before:
            self._before = None
            try:
                before()
            except OSError as error:
                if is_time_limit(error):
                    raise
                self.error = error
        return self.error is None


@dataclass(slots=True)
class _Level:
    """A directory that is being cleared."""

    path: str
    identity: tuple[int, int]
    pending: list[str]
    """Names of the directories in it that are not cleared yet."""


class FolderClearer:
    """Clears a folder from the bottom up, with one open directory at a time.

    Only one: a deep tree would need more descriptors than a process may have.

    Parameters
    ----------
    folder
        A directory, spelled without links.
    kept
        Paths that are not removed.
    unlisted
        Directories in which nothing is removed.
    first
        Decides whether anything may be removed.
    on_removed
        Called after each removal of a file.
    """

    def __init__(
        self,
        folder: str,
        kept: Collection[str],
        unlisted: Collection[str],
        first: FirstRemoval,
        on_removed: Callable[[], object],
    ) -> None:
        self._folder = folder
        self._kept = kept
        self._unlisted = unlisted
        self._first = first
        self._on_removed = on_removed
        self._failures: dict[str, OSError] = {}
        self._descriptor = -1

    def run(self) -> dict[str, OSError]:
        """Clear the folder; return the paths that could not be removed."""
        try:
            self._descriptor = os.open(self._folder, _OPEN_DIRECTORY)
        except OSError as error:
            return {self._folder: error}
        try:
            if os.path.realpath(self._folder) != self._folder:
                raise OSError(errno.ELOOP, "it, or a folder above it, was replaced by a link")
            self._walk()
        except OSError as error:
            self._record(self._folder, error)
        finally:
            os.close(self._descriptor)
        return self._failures

    def _walk(self) -> None:
        levels = [self._remove_files(self._folder)]
        while levels:
            level = levels[-1]
            if level.pending:
                levels += self._enter(os.path.join(level.path, level.pending.pop()))
                continue
            levels.pop()
            if levels:
                # ".." leads elsewhere if another process has moved the directory.
                self._move("..", identity=levels[-1].identity)
                self._remove(os.rmdir, level.path)

    def _remove_files(self, path: str) -> _Level:
        """Remove the files in the open directory; return the directories in it."""
        status = os.fstat(self._descriptor)
        with os.scandir(self._descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            if not is_directory:
                self._remove(os.unlink, os.path.join(path, name))
        directories = [name for name, is_directory in found if is_directory]
        return _Level(path, (status.st_dev, status.st_ino), directories)

    def _enter(self, path: str) -> Iterator[_Level]:
        """Open a directory in the open one, unless it is gone; remove its files."""
        try:
            self._move(os.path.basename(path))
        except FileNotFoundError:
            return
        except OSError as error:
            self._record(path, error)
            return
        yield self._remove_files(path)

    def _move(self, name: str, identity: tuple[int, int] | None = None) -> None:
        """Open the directory `name` in the open one, then close that one."""
        descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=self._descriptor)
        status = os.fstat(descriptor)
        if identity and identity != (status.st_dev, status.st_ino):
            os.close(descriptor)
            raise OSError(errno.ESTALE, "a directory was moved while the folder was cleared")
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _remove(self, remove: Callable[..., None], path: str) -> None:
        directory, name = os.path.split(path)
        if path in self._kept or directory in self._unlisted or not self._first.prepare():
            return
        try:
            remove(name, dir_fd=self._descriptor)
        except FileNotFoundError:  # another process may clear the folder, too
            pass
        except OSError as error:
            if name.startswith(".nfs") and error.errno == errno.EBUSY:
                # NFS keeps a removed file under such a name while a process has it open.
                _logger.debug("%s remains until all processes have closed it", path)
            elif remove is not os.rmdir or error.errno not in _NOT_EMPTY:
                self._record(path, error)
        else:
            if remove is os.unlink:
                self._on_removed()

    def _record(self, path: str, error: OSError) -> None:
        if is_time_limit(error):
            raise error
        self._failures[path] = OSError(error.errno, error.strerror, path)
