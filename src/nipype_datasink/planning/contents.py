"""Find what a source holds on disk: a file and its companions, or the files of a directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.planning.sources import Problem, Source
from nipype_datasink.signals import is_time_limit

# Files that are delivered together (nipype/utils/filemanip.py, related_filetype_sets).
_COMPANIONS = ((".hdr", ".img", ".mat"), (".nii", ".mat"), (".BRIK", ".HEAD"))
_WITH_COMPANIONS = tuple(extension for group in _COMPANIONS for extension in group)
_DOUBLE_EXTENSIONS = (".nii.gz", ".tar.gz", ".niml.dset")
# Errors of `os.stat` where no file exists: also for a loop of links and a name that is too long.
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)

_KINDS = {
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to deliver."""

    path: str
    """Absolute path."""

    relative_path: str
    """Path relative to the source, if that is a directory; otherwise ``""``."""

    size: int
    """In bytes."""

    is_link: bool = False
    """Whether the path is a symbolic link to the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContents:
    """Contents of a source: one file, one file with companions, or the files of a directory."""

    is_directory: bool = False
    """Whether the source is a directory."""

    files: tuple[SourceFile, ...] = ()
    """The source, then its companions; or all files in the directory and below."""

    directories: tuple[str, ...] = ()
    """Relative paths of the directories below the source."""

    real_directories: tuple[str, ...] = ()
    """Absolute paths of those directories and of the source, with links resolved."""

    problems: tuple[Problem, ...] = ()
    """Reasons why the source, or a part of it, cannot be delivered."""

    @property
    def exists(self) -> bool:
        """Whether there is anything to deliver."""
        return self.is_directory or bool(self.files)


def scan(source: Source, on_progress: Callable[[], object] = lambda: None) -> SourceContents:
    """Find the files of a source; no file is opened.

    Links in a directory are followed, as nipype copies what they link to. The companions of a
    single file (``.img/.hdr/.mat``, ``.nii/.mat``, ``.BRIK/.HEAD``) come with it.

    Parameters
    ----------
    source
        A path, which need not exist.
    on_progress
        Called for each file and directory, and while other threads read them.
    """
    on_progress()
    try:
        status, is_link = _status(source.path)
    except UnicodeEncodeError:
        reason = "contains a lone surrogate (half a Unicode character), so no such file can exist"
        problem = Problem(source.field, repr(source.path), reason, missing=True)
        return SourceContents(problems=(problem,))
    except OSError as error:
        return SourceContents(problems=(_access_problem(source.field, source.path, error),))
    if stat.S_ISDIR(status.st_mode):
        return _Walk(source, on_progress).contents()
    file = SourceFile(source.path, "", status.st_size, is_link)
    found = [_check_file(source.field, file, status), *_find_companions(source)]
    return SourceContents(
        files=tuple(item for item in found if isinstance(item, SourceFile)),
        problems=tuple(item for item in found if isinstance(item, Problem)),
    )


def _status(path: str) -> tuple[os.stat_result, bool]:
    """Return the status of what `path` is or links to, and whether it is a link."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return os.stat(path), True
    return status, False


def _find_companions(source: Source) -> Iterator[SourceFile | Problem]:
    """Yield the companions that exist, and those of which it is not known whether they do."""
    for path in companion_paths(source.path):
        try:
            os.lstat(path)
        except OSError as error:  # not `os.path.lexists`, which returns False for every error
            if error.errno not in _NO_SUCH_FILE:
                yield _access_problem(source.field, path, error)
        else:
            if not os.path.isdir(path):
                yield _find_file(source.field, path, "")


def _find_file(field: str, path: str, relative_path: str) -> SourceFile | Problem:
    try:
        status, is_link = _status(path)
    except OSError as error:
        return _access_problem(field, path, error)
    return _check_file(field, SourceFile(path, relative_path, status.st_size, is_link), status)


def _check_file(field: str, file: SourceFile, status: os.stat_result) -> SourceFile | Problem:
    if not stat.S_ISREG(status.st_mode):
        reason = _KINDS.get(stat.S_IFMT(status.st_mode), "is not a regular file")
        return Problem(field, file.path, reason)
    if not os.access(file.path, os.R_OK):
        return Problem(field, file.path, "is not readable")
    return file


def _access_problem(field: str, path: str, error: OSError) -> Problem:
    """Return the problem of a path for which `os.stat` or `os.listdir` has failed."""
    if is_time_limit(error):
        raise error
    if error.errno not in _NO_SUCH_FILE:
        return Problem(field, path, f"cannot be accessed: {error.strerror}")
    reason = "does not exist"
    if error.errno == errno.ELOOP:
        reason = "is a link that leads back to itself"
    elif os.path.islink(path):
        reason = f"links to {os.readlink(path)}, which does not exist"
    return Problem(field, path, reason, missing=True)


def companion_paths(path: str) -> list[str]:
    """Return the paths that companions of a file would have, whether or not they exist."""
    if not path.endswith(_WITH_COMPANIONS):
        return []
    stem, extension = split_extension(path)
    others = [other for group in _COMPANIONS if extension in group for other in group]
    return [stem + other for other in dict.fromkeys(others) if other != extension]


def split_extension(path: str) -> tuple[str, str]:
    """Split a path before its extension; ``.nii.gz`` and similar ones count as one extension.

    Examples
    --------
    >>> split_extension("/w/a.nii.gz")
    ('/w/a', '.nii.gz')
    """
    name = os.path.basename(path)
    for extension in _DOUBLE_EXTENSIONS:
        if name.lower().endswith(extension) and len(name) > len(extension):
            return path[: -len(extension)], path[-len(extension) :]
    return os.path.splitext(path)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or directory that was found in a directory."""

    path: str
    """Absolute path."""

    relative_path: str
    """Path relative to the source."""

    ancestors: tuple[str, ...] = ()
    """Directories that contain it, with links resolved."""

    is_directory: bool = True
    """Whether it is a directory or links to one."""

    is_link: bool = False
    """Whether it is a symbolic link."""


class _Walk:
    """Collects the files of a directory; follows links, but not to a directory above them."""

    def __init__(self, source: Source, on_progress: Callable[[], object]) -> None:
        self._on_progress = on_progress
        self._field = source.field
        self._top = source.path
        self._found: list[_Entry | Problem] = []
        self._directories: list[str] = []
        self._real: list[str] = []

    def contents(self) -> SourceContents:
        """Return the contents of the directory, sorted by name."""
        # A stack in place of recursion: there may be more levels than Python allows nested calls.
        pending = [_Entry(self._top, "")]
        while pending:
            entry = pending.pop()
            if entry.is_directory:
                pending += reversed(self._enter(entry))
            else:
                self._found.append(entry)
        found = adaptive_map(self._examine, self._found, abandon=True, on_wait=self._on_progress)
        problems = tuple(item for item in found if isinstance(item, Problem))
        return SourceContents(
            is_directory=self._top not in [each.value for each in problems],  # it may have gone
            files=tuple(item for item in found if isinstance(item, SourceFile)),
            directories=tuple(self._directories),
            real_directories=tuple(dict.fromkeys(self._real)),
            problems=problems,
        )

    def _examine(self, item: _Entry | Problem) -> SourceFile | Problem:
        self._on_progress()
        if isinstance(item, Problem):
            return item
        return _find_file(self._field, item.path, item.relative_path)

    def _enter(self, entry: _Entry) -> list[_Entry]:
        """Record a directory; return what is in it."""
        self._on_progress()
        # `os.path.realpath` looks up every parent, so it is called only for links.
        if entry.ancestors and not entry.is_link:
            real = os.path.join(entry.ancestors[-1], os.path.basename(entry.path))
        else:
            real = os.path.realpath(entry.path)
        if real in entry.ancestors:
            reason = f"links to {real}, a directory that contains it"
            self._found.append(Problem(self._field, entry.path, reason))
            return []
        self._real.append(real)
        if entry.relative_path:
            self._directories.append(entry.relative_path)
        try:
            return _list(entry, (*entry.ancestors, real))
        except OSError as error:
            self._found.append(_access_problem(self._field, entry.path, error))
            return []


def _list(directory: _Entry, ancestors: tuple[str, ...]) -> list[_Entry]:
    """Return what is in a directory, sorted by name."""
    with os.scandir(directory.path) as entries:
        found = [
            _Entry(
                entry.path,
                os.path.join(directory.relative_path, entry.name),
                ancestors,
                _is_directory(entry),
                entry.is_symlink(),
            )
            for entry in entries
        ]
    return sorted(found, key=lambda entry: entry.path)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a directory or links to one; only a link is looked up."""
    try:
        return entry.is_dir()
    except OSError as error:  # a loop of links, or no permission
        if is_time_limit(error):
            raise
        return False
