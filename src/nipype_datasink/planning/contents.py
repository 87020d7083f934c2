"""Find what a source holds on disk: a file and its companions, or the files of a directory."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from nipype_datasink.parallel import raise_if_cancelled
from nipype_datasink.planning.sources import Problem, Source
from nipype_datasink.signals import is_time_limit

__all__ = ["SourceContents", "SourceFile", "same_bytes", "scan", "split_extension"]

# Files that belong together (nipype/utils/filemanip.py, related_filetype_sets).
_COMPANIONS = ((".hdr", ".img", ".mat"), (".nii", ".mat"), (".BRIK", ".HEAD"))
_WITH_COMPANIONS = tuple(extension for group in _COMPANIONS for extension in group)
_DOUBLE_EXTENSIONS = (".nii.gz", ".tar.gz", ".niml.dset")

_BLOCK = 1 << 18  # bytes

# Answers to stat where no file is: also a link to itself, and a name longer than any can be.
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)

_KINDS = {
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to be delivered."""

    path: str
    """Where it lies."""

    relative_path: str
    """Its path below the directory that is sunk; ``""`` for a file that is sunk itself."""

    size: int
    """In bytes."""

    is_link: bool = False
    """Whether the file is reached through a link by that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContents:
    """What a source holds: one file, one file with companions, or a directory."""

    is_directory: bool = False
    """Whether the source is a directory."""

    files: tuple[SourceFile, ...] = ()
    """The source itself comes first, then its companions; or all files below a directory."""

    directories: tuple[str, ...] = ()
    """Paths of directories below the source."""

    real_directories: tuple[str, ...] = ()
    """Where those directories, and the source, really lie: links are followed."""

    problems: tuple[Problem, ...] = ()
    """What keeps it, or a part of it, from being sunk."""

    @property
    def exists(self) -> bool:
        """Whether there is anything to deliver."""
        return self.is_directory or bool(self.files)


def scan(source: Source) -> SourceContents:
    """Look at what a source holds; nothing is opened.

    A directory's files are followed through links, as nipype copies them. The companions of a
    single file (``.img/.hdr/.mat``, ``.nii/.mat``, ``.BRIK/.HEAD``) come with it.
    """
    try:
        status, is_link = _status(source.path)
    except UnicodeEncodeError:
        why = "holds half a character (a lone surrogate), so there is no such file"
        return SourceContents(
            problems=(Problem(source.field, repr(source.path), why, missing=True),)
        )
    except OSError as error:
        return SourceContents(problems=(_unreachable(source.field, source.path, error),))
    if stat.S_ISDIR(status.st_mode):
        return _Walk(source).tree()
    found = [_checked(source.field, SourceFile(source.path, "", status.st_size, is_link), status)]
    found += [
        _look(source.field, path, "")
        for path in _companions(source.path)
        if os.path.lexists(path) and not os.path.isdir(path)
    ]
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


def _look(field: str, path: str, relative_path: str) -> SourceFile | Problem:
    try:
        status, is_link = _status(path)
    except OSError as error:
        return _unreachable(field, path, error)
    return _checked(field, SourceFile(path, relative_path, status.st_size, is_link), status)


def _checked(field: str, file: SourceFile, status: os.stat_result) -> SourceFile | Problem:
    if not stat.S_ISREG(status.st_mode):
        why = _KINDS.get(stat.S_IFMT(status.st_mode), "is no file")
        return Problem(field, file.path, why)
    if not os.access(file.path, os.R_OK):
        return Problem(field, file.path, "may not be read")
    return file


def _unreachable(field: str, path: str, error: OSError) -> Problem:
    if is_time_limit(error):
        raise error
    if error.errno not in _NO_SUCH_FILE:
        return Problem(field, path, f"cannot be reached: {error.strerror}")
    why = "does not exist"
    if error.errno == errno.ELOOP:
        why = "is a link in a circle"
    elif os.path.islink(path):
        why = f"links to {os.readlink(path)}, which is not there"
    return Problem(field, path, why, missing=True)


def _companions(path: str) -> list[str]:
    if not path.endswith(_WITH_COMPANIONS):
        return []
    stem, extension = split_extension(path)
    others = [other for group in _COMPANIONS if extension in group for other in group]
    return [stem + other for other in dict.fromkeys(others) if other != extension]


def split_extension(path: str) -> tuple[str, str]:
    """Split a path before its extension, keeping ``.nii.gz`` and its like whole.

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


class _Walk:
    """One walk through a directory, following links but never in a circle."""

    def __init__(self, source: Source) -> None:
        self._field = source.field
        self._top = source.path
        self._files: list[SourceFile] = []
        self._directories: list[str] = []
        self._real: list[str] = []
        self._problems: list[Problem] = []

    def tree(self) -> SourceContents:
        # A stack of our own: directories may be nested deeper than calls can be.
        pending: list[tuple[str, str, tuple[str, ...]]] = [(self._top, "", ())]
        while pending:
            path, relative_path, ancestors = pending.pop()
            if os.path.isdir(path):
                pending += reversed(self._enter(path, relative_path, ancestors))
            else:
                self._file(path, relative_path)
        return SourceContents(
            is_directory=True,
            files=tuple(self._files),
            directories=tuple(self._directories),
            real_directories=tuple(dict.fromkeys(self._real)),
            problems=tuple(self._problems),
        )

    def _enter(
        self, path: str, relative_path: str, ancestors: tuple[str, ...]
    ) -> list[tuple[str, str, tuple[str, ...]]]:
        """Take note of a directory; return what is in it."""
        if ancestors and not os.path.islink(path):  # a whole realpath looks at every folder above
            real = os.path.join(ancestors[-1], os.path.basename(path))
        else:
            real = os.path.realpath(path)
        if real in ancestors:
            why = f"links to {real}, a directory that contains it"
            self._problems.append(Problem(self._field, path, why))
            return []
        self._real.append(real)
        if relative_path:
            self._directories.append(relative_path)
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            self._problems.append(_unreachable(self._field, path, error))
            return []
        inside = (*ancestors, real)
        return [
            (os.path.join(path, name), os.path.join(relative_path, name), inside) for name in names
        ]

    def _file(self, path: str, relative_path: str) -> None:
        found = _look(self._field, path, relative_path)
        if isinstance(found, Problem):
            self._problems.append(found)
        else:
            self._files.append(found)


def same_bytes(path: str, other: str) -> bool:
    """Return whether two files hold the same bytes. Their times do not count."""
    if os.path.samefile(path, other):
        return True
    with open(path, "rb") as one, open(other, "rb") as two:
        if os.fstat(one.fileno()).st_size != os.fstat(two.fileno()).st_size:
            return False
        while block := one.read(_BLOCK):
            raise_if_cancelled()
            if block != two.read(_BLOCK):
                return False
        return not two.read(1)
