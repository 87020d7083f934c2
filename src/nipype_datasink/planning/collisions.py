"""Collisions within a plan: two files for one place, or one that overwrites another's source.

Everything here reads the disk and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import combinations

from nipype_datasink.display import escaped
from nipype_datasink.errors import CollisionError, SourceError
from nipype_datasink.planning.contents import same_bytes
from nipype_datasink.planning.places import (
    PathMap,
    RealPathCache,
    group_similar_names,
    same_place,
    with_ancestors,
)
from nipype_datasink.planning.plan import FileTransfer, Plan, resolve_parent
from nipype_datasink.signals import is_time_limit

__all__ = ["check_collisions", "describe_collision"]


def check_collisions(plan: Plan, links: Collection[str]) -> None:
    """Refuse a plan in which one file would replace another.

    Parameters
    ----------
    plan
        Where everything goes.
    links
        Sources that are links.

    Raises
    ------
    CollisionError
        If different bytes would end at one destination, also where the file system takes two
        names for one; if a destination is also a folder; or if a source would be overwritten.
    SourceError
        If sources cannot be read to be compared.
    """
    taken: dict[str, FileTransfer] = {}
    for delivery in plan.deliveries:
        for transfer in delivery.transfers:
            other = taken.setdefault(transfer.destination, transfer)
            if other is not transfer and not _same_bytes(transfer.source, other.source):
                raise CollisionError(
                    escaped(
                        f"nothing was written: {other.source} and {transfer.source} differ, and "
                        f"both would become {transfer.destination}. Keep them apart by the "
                        "input's name, by parameterization or by a substitution"
                    )
                )
    _refuse_names_that_are_one(taken)
    files = PathMap(taken.items())
    for folder in sorted(_folders(plan)):
        if file := files.find(folder):
            raise CollisionError(
                escaped(
                    f"nothing was written: {file.source} would become the file {folder}, "
                    "which is also the folder of other files"
                )
            )
    _refuse_overwritten_sources(taken, files, links)


def _refuse_names_that_are_one(taken: Mapping[str, FileTransfer]) -> None:
    for group in group_similar_names(taken):
        for place, other in combinations(group, 2):
            sources = taken[place].source, taken[other].source
            if same_place(place, other) and not _same_bytes(*sources):
                raise CollisionError(
                    f"nothing was written: {describe_collision(*sources, place, other)}"
                )


def describe_collision(source: str, another: str, place: str, other: str) -> str:
    """Say that two different sources would become one file because their names are one."""
    return escaped(
        f"{source} and {another} differ, but {place} and {other} are one file there: the file "
        "system ignores case or Unicode form. Keep them apart by the input's name, by "
        "parameterization or by a substitution"
    )


def _refuse_overwritten_sources(
    taken: Mapping[str, FileTransfer], files: PathMap[FileTransfer], links: Collection[str]
) -> None:
    real_directory = RealPathCache()
    for place, transfer in taken.items():
        if not os.path.isabs(place):
            continue
        places = [resolve_parent(transfer.source, real_directory)]
        if transfer.source in links:
            places += _linked(places[0], real_directory)
        for source in places:
            other = files.find(source) or transfer
            if other is not transfer and not _same_bytes(transfer.source, other.source):
                raise CollisionError(
                    escaped(
                        f"nothing was written: {transfer.source} is to be sunk, but {other.source} "
                        "would overwrite it in the same run; use two sinks, one after the other"
                    )
                )


def _same_bytes(source: str, other: str) -> bool:
    try:
        return same_bytes(source, other)
    except OSError as error:
        if is_time_limit(error):
            raise
        raise SourceError(
            escaped(
                f"nothing was written: {error.filename or source} cannot be read: {error.strerror}"
            )
        ) from error


def _linked(place: str, real_directory: Callable[[str], str]) -> Iterator[str]:
    """Yield what the link at `place` links to, and so on while that is a link."""
    while os.path.islink(place):
        place = resolve_parent(
            os.path.join(os.path.dirname(place), os.readlink(place)), real_directory
        )
        yield place


def _folders(plan: Plan) -> Iterable[str]:
    """Return every folder that a destination lies in, and every directory to be made."""
    folders: set[str] = set()
    for delivery in plan.deliveries:
        folders.update(delivery.directories)
        folders.update(os.path.dirname(item.destination) for item in delivery.transfers)
    return with_ancestors(folders)
