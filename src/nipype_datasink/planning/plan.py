"""Where every file of a sink goes: plain values, made before anything is written."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nipype_datasink.display import escaped
from nipype_datasink.errors import DestinationError
from nipype_datasink.planning.location import LocalDirectory, Location
from nipype_datasink.planning.path_limits import PathLimits
from nipype_datasink.planning.places import RealDirectories
from nipype_datasink.planning.routing import route
from nipype_datasink.planning.sources import Problem, Source, SourceContents, split_extension

__all__ = ["Delivery", "FileTransfer", "Plan", "make_plan", "resolve_parent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransfer:
    """One file and the place it goes to."""

    source: str
    """Absolute path."""

    destination: str
    """Path without links in its directories, or ``s3://bucket/key``."""

    size: int
    """In bytes, when the plan was made."""

    linkable: bool = False
    """Whether nipype would make a hard link of it: a file sunk by itself, or its companion."""

    def __hash__(self) -> int:
        return hash(self.destination)  # text keeps its hash, and a plan has each destination once

    @property
    def key(self) -> str:
        """Key of the object, where the destination is one of S3."""
        return self.destination.split("/", 3)[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One source, and one entry of ``out_file``."""

    field: str
    """Name of the sink's input."""

    source: str
    """Absolute path of a file or directory."""

    destination: str
    """As ``out_file`` reports it."""

    location: Location
    """Base directory (or ``local_copy``) and container that it goes below."""

    transfers: tuple[FileTransfer, ...]
    """Its file; its file and companions; or all files of its directory."""

    directories: tuple[str, ...] = ()
    """Directories that exist afterwards, even where they hold no file."""

    cleared_folder: str | None = None
    """Folder in which nothing else remains afterwards (``remove_dest_dir``)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All deliveries of a sink, in the order of ``out_file``.

    ``str(plan)`` shows where everything goes.
    """

    deliveries: tuple[Delivery, ...]
    """In the order of ``out_file``."""

    missing: tuple[Problem, ...] = ()
    """Sources that do not exist; they withhold nothing else."""

    left_out: tuple[Problem, ...] = ()
    """Texts that name no file and are no paths, such as the identifier of a subject."""

    def without_removals(self) -> Plan:
        """Return this plan without what `remove_dest_dir` would remove."""
        kept = tuple(replace(item, cleared_folder=None) for item in self.deliveries)
        return replace(self, deliveries=kept)

    def for_location(self, location: Location) -> Plan:
        """Return the part of this plan that goes below `location`."""
        return Plan(tuple(item for item in self.deliveries if item.location == location))

    @property
    def transfers(self) -> tuple[FileTransfer, ...]:
        """Files to transfer, each destination once."""
        unique = {
            transfer.destination: transfer
            for delivery in reversed(self.deliveries)
            for transfer in reversed(delivery.transfers)
        }
        return tuple(reversed(unique.values()))

    @property
    def size(self) -> int:
        """Sum of the files' sizes in bytes."""
        return sum(transfer.size for transfer in self.transfers)

    def __str__(self) -> str:
        lines: list[str] = []
        for item in self.deliveries:
            lines += [
                f"{item.field}: {file.source} -> {file.destination} ({file.size:,} bytes)"
                for file in item.transfers
            ]
            if not item.transfers:
                lines.append(f"{item.field}: {item.source} -> {item.destination} (no files)")
            if item.cleared_folder:
                lines.append(f"{item.field}: removes what else is in {item.cleared_folder}")
        lines += [f"missing: {problem}" for problem in self.missing]
        lines += [f"left out: {problem}" for problem in self.left_out]
        missing = f", {len(self.missing)} missing" if self.missing else ""
        lines.append(f"{len(self.transfers)} files, {self.size:,} bytes{missing}")
        return "\n".join(map(escaped, lines))


def make_plan(
    sources: Sequence[tuple[Source, SourceContents]],
    locations: Sequence[Location],
    *,
    relative: Callable[[str], str],
    substitute: Callable[[str], str],
    remove_dest_dir: bool = False,
) -> Plan:
    """Decide where every file goes.

    Parameters
    ----------
    sources
        In the order of the sink's inputs, each with what it holds.
    locations
        Base directory and local copy, each with its container. Every source goes to all.
    relative, substitute
        The two steps of `nipype_datasink.planning.routing.route`.
    remove_dest_dir
        Let nothing remain beside what is delivered in the folder of a directory.

    Raises
    ------
    DestinationError
        Naming every destination that no file or no object of S3 can have.
    """
    # The cache is this plan's own: links may be moved between two plans.
    real_directory = RealDirectories()
    refused: dict[str, None] = {}

    def report(location: Location, destination: str) -> str:
        try:
            return location.report(destination)
        except DestinationError as error:
            refused[str(error)] = None
            return ""

    limits = PathLimits()

    def place(location: Location, destination: str) -> str:
        reported = report(location, destination)
        if not isinstance(location, LocalDirectory):
            return reported
        found = resolve_parent(reported, real_directory)
        try:
            limits.check(found)
        except DestinationError as error:
            refused[str(error)] = None
        return found

    def delivery(source: Source, tree: SourceContents, location: Location) -> Delivery:
        path = f"{source.path}/" if tree.is_directory else source.path
        destination = route(path, source.field, location, relative=relative, substitute=substitute)
        folders = tuple(place(location, item) for item in _folders(tree, destination))
        return Delivery(
            field=source.field,
            source=source.path,
            destination=report(location, destination),
            location=location,
            transfers=tuple(
                FileTransfer(
                    source=item.path,
                    destination=place(location, target),
                    size=item.size,
                    linkable=not tree.is_directory,
                )
                for item, target in zip(tree.files, _targets(tree, destination), strict=True)
            ),
            directories=folders,
            cleared_folder=folders[0] if folders and remove_dest_dir else None,
        )

    plan = Plan(
        tuple(
            delivery(source, tree, location) for source, tree in sources for location in locations
        )
    )
    if refused:
        raise DestinationError("\n".join(refused))
    return plan


def _targets(tree: SourceContents, destination: str) -> list[str]:
    """Return where each file of `tree` goes; a companion keeps its own extension."""
    if tree.is_directory:
        return [posixpath.join(destination.rstrip("/"), item.below) for item in tree.files]
    _, *companions = tree.files
    if not companions:
        return [destination]
    stem, _ = split_extension(destination)
    return [destination, *(stem + split_extension(item.path)[1] for item in companions)]


def _folders(tree: SourceContents, destination: str) -> list[str]:
    if not tree.is_directory:
        return []
    top = destination.rstrip("/")
    return [top, *(posixpath.join(top, below) for below in tree.directories)]


def resolve_parent(destination: str, real_directory: Callable[[str], str]) -> str:
    """Return the path of `destination` without links in its directories: one place, one name."""
    path = destination if destination.startswith("/") else os.path.join(os.getcwd(), destination)
    head, _, name = path.rpartition("/")
    if name in (".", ".."):  # a directory, whatever it is called
        return real_directory(path)
    return f"{real_directory(head or '/').rstrip('/')}/{name}"
