"""Check whether a directory on disk would accept files. Nothing is created."""

from __future__ import annotations

import os
import stat

from nipype_datasink.delivery.check_report import CheckStep, PlaceReport, StepVerdict
from nipype_datasink.display import BINARY, escaped, format_bytes

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def check_directory(path: str, *, link: bool, working_directory: str) -> PlaceReport:
    """Find out by reading whether files could be written to a directory.

    Parameters
    ----------
    path
        Absolute. It need not exist: a delivery makes it.
    link
        Whether the sink asks for hard links.
    working_directory
        Directory of the sources; it need not exist.
    """
    try:
        existing = _nearest_existing(path)
        problem = _problem_of(existing)
        step = (
            CheckStep(
                name="write", text="files", verdict=StepVerdict.FAILED, advice=escaped(problem)
            )
            if problem
            else _describe(existing, link=link, working_directory=working_directory)
        )
    except OSError as error:
        text = f"{error.filename or path}: {error.strerror}; {_cure(error)}"
        step = CheckStep(
            name="write", text="files", verdict=StepVerdict.FAILED, advice=escaped(text)
        )
    return PlaceReport(place=path, steps=(step,))


def _nearest_existing(path: str) -> str:
    """Return `path`, or the innermost of its parents that exists."""
    while True:
        try:
            os.stat(path)
        except FileNotFoundError:
            if os.path.islink(path):  # its target is missing, and a delivery does not make it
                return path
            path = os.path.dirname(path)
        except NotADirectoryError:
            path = os.path.dirname(path)
        else:
            return path


def _problem_of(path: str) -> str:
    """Return why nothing can be written to what is at `path`, and what to do; empty if it can."""
    return _kind_problem(path) or _permission_problem(path) or _space_problem(path)


def _kind_problem(path: str) -> str:
    if os.path.islink(path) and not os.path.exists(path):
        target = os.readlink(path)
        return f"{path} is a link to {target}, which does not exist; create that directory"
    if not os.path.isdir(path):
        return f"{path} is not a directory; choose another base directory, or remove the file"
    # The permission alone does not tell: root may write where nobody has the permission to.
    if not os.statvfs(path).f_blocks and not os.stat(path).st_mode & _WRITABLE:
        return f"the file system of {path} cannot hold files; choose another base directory"
    return ""


def _permission_problem(path: str) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{path} is on a file system that is mounted read-only; mount it for writing"
    if not _is_writable(path):
        status = os.stat(path)
        return (
            f"no permission to write to {path} (owner {status.st_uid}, group {status.st_gid}, mode "
            f"{stat.S_IMODE(status.st_mode):04o}; this process is user {os.geteuid()}); ask its "
            "owner, or choose another base directory"
        )
    return ""


def _space_problem(path: str) -> str:
    system = os.statvfs(path)
    if system.f_blocks and not system.f_bavail:
        return f"no space is left on the file system of {path}; delete files"
    if system.f_files and not system.f_favail:
        return f"the file system of {path} can hold no more files (inodes); delete files"
    return ""


def _is_writable(path: str) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.W_OK | os.X_OK, effective_ids=effective)


def _describe(existing: str, *, link: bool, working_directory: str) -> CheckStep:
    system = os.statvfs(existing)
    # Without blocks, the file system has no limit, or is one of FUSE that does not tell it.
    size = format_bytes(system.f_bavail * system.f_frsize, BINARY)
    free = f"{size} free" if system.f_blocks else "free space not known"
    if not link:
        return CheckStep(name="write", text=f"files, {free}")
    if os.stat(existing).st_dev == os.stat(_nearest_existing(working_directory)).st_dev:
        text = f"files, hard links possible, {free}"
        return CheckStep(name="write", text=text)
    return CheckStep(
        name="write",
        text=f"files, hard links not possible, {free}",
        verdict=StepVerdict.WARNING,
        advice=f"the working directory {escaped(working_directory)} is on another file system, so "
        "files will be copied; put both on one file system to save space",
    )


def _cure(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "ask the owners of the directories above it for permission to enter them"
    return "check the base directory"
