"""What sources hold, for the model: files, links, folders, and a file with its companions."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


@dataclass(frozen=True)
class Link:
    """A symbolic link among the sources."""

    target: str


class Kind(Enum):
    """What else a source may be."""

    FOLDER = "an empty folder"
    PIPE = "a named pipe"

    __repr__ = Enum.__str__


Sources = Mapping[str, "bytes | Link | Kind"]  # a folder that is not empty has no entry

COMPANIONS = ((".hdr", ".img", ".mat"), (".nii", ".mat"), (".BRIK", ".HEAD"))


@dataclass
class Found:
    """What a source holds."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By path in the folder; the file itself has the path "", a companion its extension."""

    folders: set[str] = field(default_factory=set)
    exists: bool = False
    is_folder: bool = False
    missing: set[str] = field(default_factory=set)
    """What does not exist: by path in the folder; the source itself has the path ""."""

    impossible: bool = False
    has_companion_folder: bool = False
    """Whether a folder has the name of a companion; it is no companion."""


def find(sources: Sources, path: Any) -> Found:
    """Return what a source holds: a file comes with the companions that its format has."""
    if not isinstance(path, str) or not path:
        return Found(impossible=True)
    found = look(sources, path)
    if not found.exists and path not in sources and "/" not in path and "." not in path:
        return Found()  # no path but an identifier, as pipelines connect them
    if found.is_folder or not found.exists:
        return found
    folder = resolve(sources, posixpath.dirname(path)) if "/" in path else ""
    stem, extension = posixpath.splitext(path)
    for other in sorted(companions(extension)):
        beside = look(sources, stem + other)
        found.has_companion_folder |= beside.is_folder
        name = posixpath.join(folder or "", posixpath.basename(stem) + other)
        if name in sources and not beside.is_folder:
            found.files |= dict.fromkeys([other] * beside.exists, beside.files.get("", b""))
            found.missing |= {other} if beside.missing else set()
            found.impossible |= beside.impossible
    return found


def companions(extension: str) -> set[str]:
    """Return the extensions of the companions that a file with an extension may have."""
    return {other for group in COMPANIONS if extension in group for other in group} - {extension}


def look(sources: Sources, path: str, inside: tuple[str, ...] = ()) -> Found:
    """Return what a path holds; links are followed, but not to a folder of `inside`."""
    real = resolve(sources, path)
    entry = sources.get(real) if real else None
    if isinstance(entry, bytes):
        return Found(files={"": entry}, exists=True)
    if entry is Kind.PIPE or real in inside:
        return Found(impossible=True)
    names = {
        name[len(f"{real}/") :].split("/")[0] for name in sources if name.startswith(f"{real}/")
    }
    if not names and entry is not Kind.FOLDER:
        return Found(missing={""})
    found = Found(exists=True, is_folder=True)
    for name in names:
        below = look(sources, f"{real}/{name}", (*inside, str(real)))
        found.files |= {
            posixpath.join(name, more).rstrip("/"): data for more, data in below.files.items()
        }
        found.folders |= (
            {name, *(f"{name}/{more}" for more in below.folders)} if below.is_folder else set()
        )
        found.missing |= {posixpath.join(name, more).rstrip("/") for more in below.missing}
        found.impossible |= below.impossible
    found.has_companion_folder = any(
        stem + other in found.folders
        for stem, extension in map(posixpath.splitext, found.files)
        for other in companions(extension)
    )
    return found


def resolve(sources: Sources, path: str, links: int = 8) -> str | None:
    """Return a path without links; None if they lead in a circle."""
    here = ""
    for part in path.split("/"):
        here = f"{here}/{part}" if here else part
        link = sources.get(here)
        if isinstance(link, Link):
            target = resolve(sources, link.target, links - 1) if links else None
            if target is None:
                return None
            here = target
    return here
