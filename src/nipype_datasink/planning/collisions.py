"""Find collisions in a plan: two files for one destination, or a source that is overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import combinations

from nipype_datasink.display import escaped
from nipype_datasink.errors import CollisionError, SourceError, with_original
from nipype_datasink.planning.byte_comparison import same_bytes
from nipype_datasink.planning.places import (
    PathMap,
    group_similar_names,
    same_place,
    with_ancestors,
)
from nipype_datasink.planning.plan import FileTransfer, Plan
from nipype_datasink.planning.real_paths import RealPathCache, resolve_parent
from nipype_datasink.signals import is_time_limit

_ADVICE = (
    "Change one of the destinations by the input's name, by parameterization or by a substitution"
)


def check_collisions(plan: Plan, links: Collection[str], on_progress: Callable[[], object]) -> None:
    """Check that no file of a plan replaces another.

    Parameters
    ----------
    plan
        All deliveries.
    links
        Sources that are symbolic links.
    on_progress
        Called often while files are compared.

    Raises
    ------
    CollisionError
        If different bytes have one destination, also where the file system takes two names for
        one; if a destination is also a folder; or if a source would be overwritten.
    SourceError
        If sources cannot be read to compare them.
    """
    transfers: dict[str, FileTransfer] = {}
    for delivery in plan.deliveries:
        for transfer in delivery.transfers:
            other = transfers.setdefault(transfer.destination, transfer)
            if other is not transfer and not _same_bytes(
                transfer.source, other.source, on_progress
            ):
                raise _collision(
                    f"{other.source} and {transfer.source} differ, and both would become "
                    f"{transfer.destination}. {_ADVICE}"
                )
    _check_similar_names(transfers, on_progress)
    files = PathMap(transfers.items())
    for folder in sorted(_folders(plan)):
        if file := files.find(folder):
            raise _collision(
                f"{file.source} would become the file {folder}, which is also the folder of other "
                "files"
            )
    _check_sources_stay(transfers, files, links, on_progress)


def _collision(message: str) -> CollisionError:
    return CollisionError(escaped(f"nothing was written: {message}"))


def _check_similar_names(
    transfers: Mapping[str, FileTransfer], on_progress: Callable[[], object]
) -> None:
    for group in group_similar_names(transfers):
        for destination, other in combinations(group, 2):
            sources = transfers[destination].source, transfers[other].source
            if same_place(destination, other) and not _same_bytes(*sources, on_progress):
                raise _collision(describe_collision(*sources, destination, other))


def describe_collision(
    source: str, other_source: str, destination: str, other_destination: str
) -> str:
    """Return the message for two destinations that are one file on the file system."""
    return escaped(
        f"{source} and {other_source} differ, but the file system treats {destination} "
        f"and {other_destination} as one file: it ignores case or Unicode form. {_ADVICE}"
    )


def _check_sources_stay(
    transfers: Mapping[str, FileTransfer],
    files: PathMap[FileTransfer],
    links: Collection[str],
    on_progress: Callable[[], object],
) -> None:
    """Check that no source is the destination of another file."""
    real_directory = RealPathCache()
    on_disk = {path: item for path, item in transfers.items() if path.startswith("/")}
    real_directory.look_up(os.path.dirname(item.source) for item in on_disk.values())
    for transfer in on_disk.values():
        paths = [resolve_parent(transfer.source, real_directory)]
        if transfer.source in links:
            paths += _link_targets(paths[0], real_directory)
        for path in paths:
            other = files.find(path) or transfer
            if other is not transfer and not _same_bytes(
                transfer.source, other.source, on_progress
            ):
                raise _collision(
                    f"{transfer.source} is a source, but {other.source} would overwrite it in the "
                    "same run; use two sinks, one after the other"
                )


def _same_bytes(source: str, other: str, on_progress: Callable[[], object]) -> bool:
    try:
        return same_bytes(source, other, lambda _: on_progress())
    except OSError as error:
        if is_time_limit(error):
            raise
        path = error.filename or source
        message = escaped(f"nothing was written: {path} cannot be read: {error.strerror}")
        raise with_original(SourceError(message), error) from None


def _link_targets(path: str, real_directory: Callable[[str], str]) -> Iterator[str]:
    """Yield the target of the link at `path`, and so on while the target is a link."""
    while os.path.islink(path):
        target = os.path.join(os.path.dirname(path), os.readlink(path))
        path = resolve_parent(target, real_directory)
        yield path


def _folders(plan: Plan) -> Iterable[str]:
    """Return every folder that contains a destination, and every directory of the plan."""
    folders: set[str] = set()
    for delivery in plan.deliveries:
        folders.update(delivery.directories)
        folders.update(os.path.dirname(item.destination) for item in delivery.transfers)
    return with_ancestors(folders)
