"""Look up many paths with few requests: one listing of each folder that holds several of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.planning.places import normalize_name
from nipype_datasink.signals import is_time_limit

# To open, read and close a folder takes as long as to look up so many files. A folder may hold many
# more files than those that are looked for.
_FEW_PATHS = 4


def find_directories(paths: Iterable[str]) -> set[str]:
    """Return those of the paths that are directories, and not links to directories."""
    found = adaptive_map(_directories_in, _by_folder(paths), abandon=True)
    return {path for each in found for path in each}


def find_missing(paths: Iterable[str]) -> set[str]:
    """Return those of the paths that do not exist, as far as a listing of their folder shows that.

    A folder is listed for several paths only. Where the first of them exists, the others probably
    exist, too.
    """
    found = adaptive_map(_missing_in, _by_folder(paths), abandon=True)
    return {path for each in found for path in each}


def _by_folder(paths: Iterable[str]) -> list[tuple[str, list[str]]]:
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(os.path.dirname(path), []).append(path)
    return list(by_folder.items())


def _missing_in(item: tuple[str, list[str]]) -> list[str]:
    folder, paths = item
    if len(paths) <= _FEW_PATHS or _exists(paths[0]):
        return []
    try:
        with os.scandir(folder) as entries:
            names = {normalize_name(entry.name) for entry in entries}
    except ValueError:  # no folder can have such a name
        return []
    except OSError as error:  # also if the folder is a file or a dangling link
        if is_time_limit(error):
            raise
        return []
    return [path for path in paths if normalize_name(os.path.basename(path)) not in names]


def _directories_in(item: tuple[str, list[str]]) -> list[str]:
    folder, paths = item
    if len(paths) > _FEW_PATHS:
        # The file system may find a directory under another spelling of its name.
        spellings = {normalize_name(os.path.basename(path)) for path in paths}
        listed = _list_directories(folder, spellings)
        if listed == set():
            return []
        if listed is not None:
            paths = [path for path in paths if normalize_name(os.path.basename(path)) in listed]
    return [path for path in paths if _is_directory(path)]


def _list_directories(folder: str, names: Collection[str]) -> set[str] | None:
    """Return those of `names` that a folder lists as directories; None if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            # Some file systems do not list kinds: then `is_dir` is a look-up, so it comes last.
            return {
                name
                for entry in entries
                if (name := normalize_name(entry.name)) in names
                and entry.is_dir(follow_symlinks=False)
            }
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        if is_time_limit(error):
            raise
        return None


def _is_directory(path: str) -> bool:
    status = _lstat(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _exists(path: str) -> bool:
    return _lstat(path) is not None


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except ValueError:  # no file can have such a name
        return None
    except OSError as error:
        if is_time_limit(error):
            raise
        return None
