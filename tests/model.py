"""What a sink does, as a dictionary from destination to bytes and what a run may do to it.

This is the contract in a form that a program can check. It follows the documentation, not the code,
and imports nothing of it but the errors. Paths of sources are relative to the working directory.
Destinations begin with the name of a place: ``base`` (``base_directory``), ``copy``
(``local_copy``) or ``s3`` (``s3_copy``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nipype_datasink import CollisionError, DestinationError, SourceError
from tests.source_model import Found, Sources, find

Files = Mapping[str, bytes]  # by destination


@dataclass(frozen=True, repr=False)
class Sink:
    """Inputs of a sink, and the option of nipype's configuration for hard links."""

    fields: Mapping[str, Any]
    container: str = ""
    substitutions: tuple[tuple[str, str], ...] = ()
    regexp_substitutions: tuple[tuple[str, str], ...] = ()
    strip_dir: str = ""
    parameterization: bool = True
    remove_dest_dir: bool = False
    local_copy: bool = False
    s3_copy: bool = False
    hard_links: bool = False
    skip_missing: bool = False
    manifests: str = ""  # "base" or "s3" (in that place), "beside" or none
    encrypt: bool = False
    transport: str = "classic"

    def __repr__(self) -> str:
        """Return the call that makes it again, without the defaults."""
        given = [item.name for item in fields(self)[1:] if getattr(self, item.name) != item.default]
        return (
            f"Sink({', '.join([repr(self.fields), *(f'{n}={getattr(self, n)!r}' for n in given)])})"
        )

    @property
    def places(self) -> list[str]:
        return ["base", *["copy"] * self.local_copy, *["s3"] * self.s3_copy]


@dataclass
class Expected:
    """What a run does if nothing disturbs it."""

    places: list[str] = field(default_factory=list)
    """Where it delivers, one place after the other: a bucket is the last."""

    files: dict[str, bytes] = field(default_factory=dict)
    """What it delivers."""

    out_file: list[str] = field(default_factory=list)
    """What it reports."""

    removed: set[str] = field(default_factory=set)
    """Files that `remove_dest_dir` removes."""

    removed_folders: set[str] = field(default_factory=set)
    """Folders that it removes."""

    missing: bool = False
    """Whether a source is missing: an error, but after everything else is delivered."""

    skipped: set[str] = field(default_factory=set)
    """Where missing sources would have gone."""

    perhaps: set[str] = field(default_factory=set)
    """Files that may be no part of the run, because their sources go during it."""

    refusals: set[type[Exception]] = field(default_factory=set)
    """Errors, of which one is raised before anything is written."""

    differs_from_nipype: bool = False
    """Whether nipype's class does something else, on purpose of ours."""

    def after(self, before: Files) -> dict[str, bytes]:
        """Return the files that exist when the run has ended without an error."""
        kept = {name: data for name, data in before.items() if name not in self.removed}
        return {**kept, **self.files}

    def status(self, path: str, before: Files) -> str:
        """Return what the manifest says of a file when the run has ended without an error."""
        if path not in before:
            return "new"
        return "unchanged" if before[path] == self.files[path] else "replaced"


def expected(
    sink: Sink,
    sources: Sources,
    there: Files,
    folders: set[str],
    *,
    same: Callable[[str], str] = str,
    has_folders: Callable[[str], bool] = lambda place: True,
) -> Expected:
    """Return what a run does.

    Parameters
    ----------
    sources, there
        What exists before: sources, and files by destination.
    folders
        Destinations that are directories; a store has none.
    same
        Returns equal names for those that the file system treats as one.
    has_folders
        Whether a place has directories; a bucket has none.
    """
    in_order = sorted(sink.places, key=has_folders, reverse=True)
    run, made, cleared = Expected(in_order), set[str](), set[str]()
    given = [(name, leaf) for name, value in sink.fields.items() for leaf in leaves(value)]
    for name, source in given:
        found = find(sources, source)
        run.missing |= bool(found.missing)
        run.refusals |= {SourceError} if found.impossible else set()
        run.differs_from_nipype |= bool(found.missing) or found.has_companion_folder
        run.skipped |= {same(path) for path in skipped(sink, name, source, found)}
        for place in sink.places if found.exists else ():
            top = destination(sink, place, name, source)
            run.out_file += [top] if place != "s3" else []
            if found.is_folder:
                made |= {same(top), *(same(f"{top}/{folder}") for folder in found.folders)}
                cleared |= {same(top)} if sink.remove_dest_dir else set()
            for inner, data in found.files.items():
                path = same(file_destination(top, inner, found))
                if run.files.setdefault(path, data) != data:
                    run.refusals.add(CollisionError)
    made |= {folder for path in {*made, *run.files} for folder in above(path)}
    run.refusals |= {CollisionError} if made & run.files.keys() else set()
    in_the_way = made & there.keys() | run.files.keys() & folders
    if any(has_folders(path.split("/")[0]) for path in in_the_way):
        run.refusals.add(DestinationError)
    if not run.missing or sink.skip_missing:
        inside = tuple(f"{folder}/" for folder in cleared)
        run.removed = {path for path in there if path.startswith(inside)} - run.files.keys()
        run.removed_folders = {path for path in folders if path.startswith(inside)} - made
    folders_there = {folder for path in there for folder in above(path)}
    no_tree = not {*there, *run.files}.isdisjoint({*made, *folders_there})  # only in a bucket
    several_cleared = bool(cleared) and len(run.out_file) > 1
    run.differs_from_nipype |= sink.local_copy or no_tree or several_cleared
    return run


def skipped(sink: Sink, name: str, source: str, found: Found) -> Iterator[str]:
    """Yield where what is missing of a source would have gone."""
    for place in sink.places if found.missing else ():
        top = destination(sink, place, name, source)
        yield from (file_destination(top, inner, found) for inner in found.missing)


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values in nested lists."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif value is not None:
        yield value


def above(path: str) -> Iterator[str]:
    """Yield the folders that contain `path`."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def destination(sink: Sink, place: str, name: str, source: str) -> str:
    """Return the destination of a source; rules see that on disk, not that of its copy in S3."""
    if place == "s3":
        return place + destination(sink, "base", name, source).removeprefix("base")
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
    """Return the destination of a file in a folder, or of a companion by its extension."""
    if found.is_folder:
        return f"{top}/{inner}"
    return posixpath.splitext(top)[0] + inner if inner else top
