"""Find out what is at the destination of a file."""

from __future__ import annotations

import os
import stat

from nipype_datasink.planning.places import same_place
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.planning.real_paths import resolve_parent


def lstat(path: str) -> os.stat_result | None:
    """Return the status of a file or link; None if nothing exists at `path`."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def is_source(existing: os.stat_result, destination: str, source: str) -> bool:
    """Return whether the file at the destination is the source itself."""
    if stat.S_ISLNK(existing.st_mode):
        # A link at the destination is replaced, unless this link is the source.
        return same_place(resolve_parent(source, os.path.realpath), destination)
    return os.path.samestat(existing, os.stat(source))


def may_equal(existing: os.stat_result, transfer: FileTransfer) -> bool:
    """Return whether a file at the destination has the size of the source."""
    return stat.S_ISREG(existing.st_mode) and existing.st_size == transfer.size
