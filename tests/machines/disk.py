"""Files, links, folders and pipes on disk, as the machines read and write them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.machines.checks import Seen
from tests.source_model import Kind, Link

_TEMPORARY = ".datasink-"


def read_tree(root: Path, same: Callable[[str], str] = str) -> Seen:
    """Return what is below a directory, by equal names for those that `same` treats as one."""
    seen, pending = Seen(), [""]
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(f"{root}/{folder}"))
        except FileNotFoundError:
            continue
        for entry in entries:
            path = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                seen.folders.add(same(path))
                pending.append(f"{path}/")
            elif entry.name.startswith(_TEMPORARY):
                seen.litter.add(path)
            else:
                _read_file(seen, same(path), entry.path)
    return seen


def _read_file(seen: Seen, path: str, address: str) -> None:
    with open(address, "rb", buffering=0) as file:
        seen.files[path] = file.read()
        status = os.fstat(file.fileno())
    seen.versions[path] = (status.st_ino, status.st_mtime_ns)
    if status.st_nlink > 1:
        seen.linked.add(path)


def read(path: Path) -> Any:
    """Return what a path holds, as the model has it."""
    if path.is_symlink():
        return Link(os.readlink(path))
    if path.is_dir():
        return Kind.FOLDER
    return Kind.PIPE if path.is_fifo() else path.read_bytes()


def make(path: Path, entry: Any) -> None:
    """Make what the model has at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(entry, Link):
        path.symlink_to(entry.target)
    elif entry is Kind.FOLDER:
        path.mkdir()
    elif entry is Kind.PIPE:
        os.mkfifo(path)
    else:
        path.write_bytes(entry)


def remove(path: Path) -> None:
    """Remove what a path holds, if anything."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
