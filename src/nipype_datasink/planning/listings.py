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
# A folder that holds many more entries takes more requests to list than the paths to look up.
_MAX_ENTRIES_FOR_EACH_PATH = 100


def find_directories(paths: Iterable[str]) -> set[str]:
    """Return those of the paths that are directories, and not links to directories."""
    found = adaptive_map(_directories_in, _by_folder(paths), abandon=True)
    return {path for each in found for path in each}


def find_missing(paths: Iterable[str]) -> set[str]:
    """Return those of the paths that do not exist, as far as listings show that.

    A folder is listed if it would hold several of the paths and the first of them does not exist;
    otherwise the others probably exist, too. Folders that an automounter makes when they are looked
    up are not listed, so they are taken for missing.
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
    if len(paths) <= _FEW_PATHS or find_status(paths[0]):
        return []
    # Some file systems leave out a dot or a space at the end of a name.
    names = {normalize_name(os.path.basename(path)): path for path in paths if path[-1] not in ". "}
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries, 1):
                if count > len(paths) * _MAX_ENTRIES_FOR_EACH_PATH:
                    return []
                names.pop(normalize_name(entry.name), None)
    except ValueError:  # no folder can have such a name
        return []
    except OSError as error:
        if is_time_limit(error):
            raise
        return []  # it may be a file or a dangling link, which is in the way
    return list(names.values())


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
    status = find_status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def find_status(path: str) -> os.stat_result | None:
    """Return the status of a file or link; None if it does not exist or cannot be looked up."""
    try:
        return os.lstat(path)
    except ValueError:  # no file can have such a name
        return None
    except OSError as error:
        if is_time_limit(error):
            raise
        return None
