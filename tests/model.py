"""What a sink promises, as a dictionary from destination to bytes and what a run may do to it.

This is the contract in a form that a program can check. It follows the documentation, not the code,
and imports nothing of it but the errors. Paths of sources are relative to the working directory.
Destinations begin with the name of a place: ``base`` (``base_directory``) or ``copy``
(``local_copy``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from nipype_datasink import CollisionError, DestinationError, SourceError


@dataclass(frozen=True)
class Link:
    """A symbolic link among the sources."""

    target: str


class Kind(Enum):
    """What else a source may be."""

    FOLDER = "an empty folder"
    PIPE = "a named pipe"

    __repr__ = Enum.__str__


Sources = Mapping[str, "bytes | Link | Kind"]  # a folder with something in it has no entry
Files = Mapping[str, bytes]  # by destination


@dataclass(frozen=True, repr=False)
class Sink:
    """Inputs of a sink."""

    fields: Mapping[str, Any]
    container: str = ""
    substitutions: tuple[tuple[str, str], ...] = ()
    regexp_substitutions: tuple[tuple[str, str], ...] = ()
    strip_dir: str = ""
    parameterization: bool = True
    remove_dest_dir: bool = False
    local_copy: bool = False
    local_hardlink: bool = False
    skip_missing: bool = False
    encrypt: bool = False
    transport: str = "classic"

    def __repr__(self) -> str:
        """Return what makes it again, without what is as usual."""
        given = [item.name for item in fields(self)[1:] if getattr(self, item.name) != item.default]
        return (
            f"Sink({', '.join([repr(self.fields), *(f'{n}={getattr(self, n)!r}' for n in given)])})"
        )

    @property
    def places(self) -> list[str]:
        return ["base", "copy"] if self.local_copy else ["base"]


@dataclass
class Promise:
    """What a run without trouble does."""

    files: dict[str, bytes] = field(default_factory=dict)
    """What it delivers."""

    out_file: list[str] = field(default_factory=list)
    """What it reports."""

    removed: set[str] = field(default_factory=set)
    """What `remove_dest_dir` removes."""

    missing: bool = False
    """Whether a source is missing: an error, but after everything else is delivered."""

    refusals: set[type[Exception]] = field(default_factory=set)
    """Errors, of which one is raised before anything is written."""

    beyond_nipype: bool = False
    """Whether nipype does something else, on purpose of ours."""

    def after(self, before: Files) -> dict[str, bytes]:
        """Return what is there when the run has ended well."""
        kept = {name: data for name, data in before.items() if name not in self.removed}
        return {**kept, **self.files}


@dataclass
class Found:
    """What a source holds."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    exists: bool = False
    is_folder: bool = False
    missing: bool = False
    impossible: bool = False
    odd_companion: bool = False


COMPANIONS = ((".hdr", ".img", ".mat"), (".nii", ".mat"), (".BRIK", ".HEAD"))


def promise(
    sink: Sink,
    sources: Sources,
    there: Files,
    folders: set[str],
    *,
    same: Callable[[str], str] = str,
    has_folders: Callable[[str], bool] = lambda place: True,
) -> Promise:
    """Return what a run does.

    Parameters
    ----------
    sources, there
        What is there before: sources, and files by destination.
    folders
        Destinations that are directories; a store has none.
    same
        Returns equal names for those that the file system takes for one.
    has_folders
        Whether a place has directories; a bucket has none.
    """
    done, made, cleared = Promise(), set[str](), set[str]()
    given = [(name, leaf) for name, value in sink.fields.items() for leaf in leaves(value)]
    for name, source in given:
        found = look_with_companions(sources, source)
        done.missing |= found.missing
        done.beyond_nipype |= found.odd_companion
        done.refusals |= {SourceError} if found.impossible else set()
        for place in sink.places if found.exists else ():
            top = destination(sink, place, name, source)
            done.out_file.append(top)
            if found.is_folder:
                made |= {same(top), *(same(f"{top}/{folder}") for folder in found.folders)}
                cleared |= {same(top)} if sink.remove_dest_dir else set()
            for inner, data in found.files.items():
                if done.files.setdefault(same(file_destination(top, inner, found)), data) != data:
                    done.refusals.add(CollisionError)
    made |= {folder for path in {*made, *done.files} for folder in above(path)}
    done.refusals |= {CollisionError} if made & done.files.keys() else set()
    in_the_way = made & there.keys() | done.files.keys() & folders
    if any(has_folders(path.split("/")[0]) for path in in_the_way):
        done.refusals.add(DestinationError)
    if not done.missing or sink.skip_missing:
        inside = tuple(f"{folder}/" for folder in cleared)
        done.removed = {path for path in there if path.startswith(inside)} - done.files.keys()
    folders_there = {folder for path in there for folder in above(path)}
    no_tree = not {*there, *done.files}.isdisjoint({*made, *folders_there})
    several_cleared = bool(cleared) and len(done.out_file) > 1
    done.beyond_nipype |= done.missing or sink.local_copy or no_tree or several_cleared
    return done


def leaves(value: Any) -> Iterator[Any]:
    """Yield what nested lists hold."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif value is not None:
        yield value


def above(path: str) -> Iterator[str]:
    """Yield the folders around `path`."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def destination(sink: Sink, place: str, name: str, source: str) -> str:
    """Return where a source goes."""
    folders = [part for part in name.split(".") if part and not part.startswith("@")]
    inside = posixpath.dirname(source)
    if sink.strip_dir:
        inside = inside.replace(sink.strip_dir, "")
    if sink.parameterization:
        folders += [part for part in inside.split("/") if part.startswith("_")]
    path = "/".join(["", place, *sink.container.split("/"), *folders, posixpath.basename(source)])
    path = path.replace("//", "/")
    for old, new in sink.substitutions:
        path = path.replace(old, new)
    for old, new in sink.regexp_substitutions:
        path = re.sub(old, new, path)
    return path[1:]


def file_destination(top: str, inner: str, found: Found) -> str:
    """Return where a file of a folder goes, or a file and its companions by their extensions."""
    if found.is_folder:
        return f"{top}/{inner}"
    return posixpath.splitext(top)[0] + inner if inner else top


def resolve(sources: Sources, path: str, links: int = 8) -> str | None:
    """Return a path without links; None if they run in a circle."""
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


def look(sources: Sources, path: str, inside: tuple[str, ...] = ()) -> Found:
    """Return what a path holds; links are followed."""
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
        return Found(missing=True)
    found = Found(exists=True, is_folder=True)
    for name in names:
        below = look(sources, f"{real}/{name}", (*inside, str(real)))
        found.files |= {
            posixpath.join(name, more).rstrip("/"): data for more, data in below.files.items()
        }
        found.folders |= (
            {name, *(f"{name}/{more}" for more in below.folders)} if below.is_folder else set()
        )
        found.missing |= below.missing
        found.impossible |= below.impossible
    return found


def look_with_companions(sources: Sources, path: Any) -> Found:
    """Return what a source holds: with a file come those that its format keeps beside it."""
    if not isinstance(path, str) or not path:
        return Found(impossible=True)
    found = look(sources, path)
    if not found.exists and path not in sources and "/" not in path and "." not in path:
        return Found()  # no path but an identifier, as pipelines connect them
    if found.is_folder or not found.exists:
        return found
    folder = resolve(sources, posixpath.dirname(path)) if "/" in path else ""
    stem, extension = posixpath.splitext(path)
    others = {other for group in COMPANIONS if extension in group for other in group} - {extension}
    for other in sorted(others):
        beside = look(sources, stem + other)
        found.odd_companion |= beside.is_folder
        name = posixpath.join(folder or "", posixpath.basename(stem) + other)
        if name in sources and not beside.is_folder:
            found.files |= dict.fromkeys([other] * beside.exists, beside.files.get("", b""))
            found.missing |= beside.missing
            found.impossible |= beside.impossible
    return found
