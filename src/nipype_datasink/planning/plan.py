"""Decide where every file of a sink goes, before anything is written."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from nipype_datasink.display import ShownAsText, counted, escaped, listed
from nipype_datasink.errors import DestinationError
from nipype_datasink.planning.contents import SourceContents, split_extension
from nipype_datasink.planning.location import LocalDirectory, Location
from nipype_datasink.planning.path_limits import PathLimits
from nipype_datasink.planning.real_paths import RealPathCache, resolve_parent
from nipype_datasink.planning.routing import Rules, route
from nipype_datasink.planning.sources import Problem, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransfer:
    """One file and its destination."""

    source: str
    """Absolute path."""

    destination: str
    """Path without links in its directories, or ``s3://bucket/key``."""

    size: int
    """Size in bytes, when the plan was made."""

    linkable: bool = False
    """Whether the file may become a hard link: single files and companions may, as with nipype."""

    def __hash__(self) -> int:
        # Faster than a hash of all fields, as Python caches the hash of a string. A plan has each
        # destination only once.
        return hash(self.destination)

    @property
    def folder(self) -> str:
        """Directory of the destination, if that is on disk."""
        # Faster than `os.path.dirname`, and the same: the path has no slashes in a row.
        return self.destination.rpartition("/")[0] or "/"

    @property
    def key(self) -> str:
        """Key of the object, if the destination is in S3."""
        return self.destination.split("/", 3)[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One source, and one entry of ``out_file``."""

    field: str
    """Name of the sink's input."""

    source: str
    """Absolute path of a file or directory."""

    destination: str
    """Destination as ``out_file`` reports it; it does not report that of an S3 copy."""

    location: Location
    """Base directory (or a copy) and container that the destination is below."""

    transfers: tuple[FileTransfer, ...]
    """Files to transfer: the file and its companions, or all files of the directory."""

    directories: tuple[str, ...] = ()
    """Directories to create, those without files included."""

    cleared_folder: str | None = None
    """Folder from which all other files are removed (``remove_dest_dir``)."""


@dataclass(frozen=True, slots=True, repr=False)
class Plan(ShownAsText):
    """All deliveries of a sink; ``str(plan)`` shows the destination of each file."""

    deliveries: tuple[Delivery, ...]
    """Deliveries in the order of ``out_file``, which lists all but those of an S3 copy."""

    missing: tuple[Problem, ...] = ()
    """Sources that do not exist. Everything else is still delivered."""

    ignored: tuple[Problem, ...] = ()
    """Texts that are not paths of existing files, such as the identifier of a subject."""

    manifest_directory: str = ""
    """Where the manifest will be written (`sink_manifest_dir`); empty text without one."""

    def without_removals(self) -> Plan:
        """Return this plan without the removals of `remove_dest_dir`."""
        kept = tuple(replace(item, cleared_folder=None) for item in self.deliveries)
        return replace(self, deliveries=kept)

    def for_location(self, location: Location) -> Plan:
        """Return a plan with the deliveries below `location`."""
        return Plan(tuple(item for item in self.deliveries if item.location == location))

    @property
    def clears_folders(self) -> bool:
        """Whether files are removed from any folder (`remove_dest_dir`)."""
        return any(delivery.cleared_folder for delivery in self.deliveries)

    @property
    def transfers(self) -> tuple[FileTransfer, ...]:
        """Files to transfer; each destination occurs once."""
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
        if not (self.deliveries or self.missing or self.ignored):
            return "nothing is set; a connected sink is shown by plan(workflow)"
        lines: list[str] = []
        for item in self.deliveries:
            lines += [
                f"{item.field}: {file.source} -> {file.destination} ({counted(file.size, 'byte')})"
                for file in item.transfers
            ]
            if not item.transfers:
                lines.append(f"{item.field}: {item.source} -> {item.destination} (no files)")
            if item.cleared_folder:
                lines.append(f"{item.field}: removes what else is in {item.cleared_folder}")
        lines += [f"missing: {problem}" for problem in self.missing]
        lines += [f"ignored: {problem}" for problem in self.ignored]
        if self.manifest_directory:
            lines.append(f"manifest: in {self.manifest_directory}")
        missing = f", {len(self.missing):,} missing" if self.missing else ""
        files = counted(len(self.transfers), "file")
        lines.append(f"{files}, {counted(self.size, 'byte')}{missing}")
        return "\n".join(map(escaped, lines))


def make_plan(sources: Sequence[tuple[Source, SourceContents]], rules: Rules) -> Plan:
    """Decide where every file goes.

    Parameters
    ----------
    sources
        Sources in the order of the sink's inputs, each with its files and directories.
    rules
        Everything that decides where the sources go.

    Raises
    ------
    DestinationError
        Naming every destination that cannot be a file name or the key of an S3 object.
    """
    resolver = _Resolver()
    routed: list[tuple[Source, SourceContents, Location, str]] = []
    for source, contents in sources:
        path = f"{source.path}/" if contents.is_directory else source.path
        for location in rules.locations:
            try:
                destination = route(path, source.field, location, rules)
            except DestinationError as error:  # it has no S3 copy
                resolver.errors.append(f"{source.field}: {error}")
            else:
                routed.append((source, contents, location, destination))
    resolver.look_up(
        {
            folder
            for _, contents, location, destination in routed
            if isinstance(location, LocalDirectory)
            for folder in (posixpath.dirname(destination), *_folders(contents, destination))
        }
    )
    deliveries = [_make_delivery(*each, rules, resolver) for each in routed]
    if resolver.errors:
        errors = list(dict.fromkeys(resolver.errors))
        title = f"nothing was written, because {len(errors):,} destinations are not possible"
        raise DestinationError(listed(title, errors))
    manifest = rules.manifest_directory
    return Plan(tuple(deliveries), manifest_directory=manifest.label if manifest else "")


def _make_delivery(
    source: Source,
    contents: SourceContents,
    location: Location,
    destination: str,
    rules: Rules,
    resolver: _Resolver,
) -> Delivery:
    resolve = partial(resolver.resolve, source.field, location)
    folders = tuple(map(resolve, _folders(contents, destination)))
    return Delivery(
        field=source.field,
        source=source.path,
        destination=resolver.report(source.field, location, destination),
        location=location,
        transfers=tuple(
            FileTransfer(
                source=item.path,
                destination=resolve(file_destination),
                size=item.size,
                linkable=not contents.is_directory,
            )
            for item, file_destination in zip(
                contents.files, _file_destinations(contents, destination), strict=True
            )
        ),
        directories=folders,
        cleared_folder=folders[0] if folders and rules.remove_dest_dir else None,
    )


class _Resolver:
    """Turn destinations into paths and keys; collect the errors of those that cannot exist."""

    def __init__(self) -> None:
        self.errors: list[str] = []  # in the order of the sources, some repeatedly
        # Links may change between two plans, so every plan has its own caches.
        self._real_directory = RealPathCache()
        self._limits = PathLimits()

    def look_up(self, folders: Collection[str]) -> None:
        """Find the links in folders on disk, several at a time."""
        self._real_directory.look_up(folder for folder in folders if folder.startswith("/"))

    def report(self, field: str, location: Location, destination: str) -> str:
        """Return a destination as ``out_file`` reports it; empty text if it cannot exist."""
        try:
            return location.resolve(destination)
        except DestinationError as error:
            self.errors.append(f"{field}: {error}")
            return ""

    def resolve(self, field: str, location: Location, destination: str) -> str:
        """Return the path or address of a file or directory; empty text if it cannot exist."""
        reported = self.report(field, location, destination)
        if not reported or not isinstance(location, LocalDirectory):
            return reported
        path = resolve_parent(reported, self._real_directory)
        try:
            self._limits.check(path)
        except DestinationError as error:
            self.errors.append(f"{field}: {error}")
        return path


def _file_destinations(contents: SourceContents, destination: str) -> list[str]:
    """Return the destination of each file; a companion keeps its own extension."""
    if contents.is_directory:
        return [posixpath.join(destination, item.relative_path) for item in contents.files]
    _, *companions = contents.files
    if not companions:
        return [destination]
    stem, _ = split_extension(destination)
    return [destination, *(stem + split_extension(item.path)[1] for item in companions)]


def _folders(contents: SourceContents, destination: str) -> list[str]:
    if not contents.is_directory:
        return []
    top = destination.rstrip("/") or "/"
    return [top, *(posixpath.join(top, folder) for folder in contents.directories)]
