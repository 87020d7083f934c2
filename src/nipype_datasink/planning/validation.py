"""Making a plan that is sound: no file lost, none overwritten by another.

Everything here reads the disk and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from nipype_datasink.display import escaped
from nipype_datasink.errors import DestinationError, SourceError
from nipype_datasink.planning.collisions import refuse_collisions
from nipype_datasink.planning.hints import likely_input
from nipype_datasink.planning.location import LocalDirectory, Location
from nipype_datasink.planning.places import Places, RealDirectories, same_place, with_ancestors
from nipype_datasink.planning.plan import Delivery, Plan, make_plan
from nipype_datasink.planning.sources import Problem, Source, SourceContents, flatten, scan

__all__ = ["make_valid_plan"]


def make_valid_plan(
    fields: Mapping[str, object],
    locations: Sequence[Location],
    *,
    relative: Callable[[str], str],
    substitute: Callable[[str], str],
    remove_dest_dir: bool = False,
    inputs: Collection[str] = (),
) -> Plan:
    """Decide where every file goes, or say everything that stands against it.

    Sources that do not exist do not make a plan invalid: it names them (`Plan.missing`), and text
    that is no path at all (`Plan.left_out`).

    Parameters
    ----------
    fields
        Names of the sink's inputs and their values, in order.
    locations
        Base directory and local copy, each with its container. Every source goes to all.
    relative, substitute
        The two steps of `nipype_datasink.planning.routing.route`.
    remove_dest_dir
        Let nothing remain beside what is delivered in the folder of a directory.
    inputs
        Names that a field may be a misspelling of.

    Raises
    ------
    SourceError
        Naming everything that cannot be sunk.
    CollisionError
        If different bytes would end at one destination, or if one file is the source of a
        delivery and the destination of another.
    DestinationError
        If a destination cannot hold what should go there, or if `remove_dest_dir` would empty
        the base directory.
    """

    def plan_of(sources: Sequence[tuple[Source, SourceContents]]) -> Plan:
        return make_plan(
            sources,
            locations,
            relative=relative,
            substitute=substitute,
            remove_dest_dir=remove_dest_dir,
        )

    paths, problems = flatten(fields)
    examined = [(source, scan(source)) for source in paths]
    left_out = [_without_path(source) for source, tree in examined if _is_identifier(source, tree)]
    sources = [item for item in examined if not _is_identifier(*item)]
    problems += [problem for _, tree in sources for problem in tree.problems]
    if not all(problem.missing for problem in problems):
        _refuse(problems, inputs)
    sources = [item for item in sources if item[1].exists]
    plan = plan_of(sources)
    trees = {source.path: tree for source, tree in sources}
    on_disk = [item for item in plan.deliveries if isinstance(item.location, LocalDirectory)]
    for delivery in on_disk:
        _refuse_recursion(delivery, trees[delivery.source])
    _refuse_obstacles(on_disk)
    _refuse_removals(plan)
    links = {file.path for _, tree in sources for file in tree.files if file.is_link}
    refuse_collisions(plan, links)
    missing = [_with_hint(problem, inputs) for problem in _explained(problems, plan)]
    return replace(
        plan, missing=tuple(dict.fromkeys(missing)), left_out=tuple(dict.fromkeys(left_out))
    )


def _is_identifier(source: Source, tree: SourceContents) -> bool:
    """Return whether a source is no path: pipelines connect the identifiers of subjects, too."""
    return source.is_bare_text and not tree.exists and not os.path.lexists(source.path)


def _without_path(source: Source) -> Problem:
    return Problem(source.field, repr(os.path.basename(source.path)), "is not the name of a file")


def _refuse(problems: Sequence[Problem], inputs: Collection[str]) -> None:
    """Raise one error that names everything that cannot be sunk."""
    lines = [f"  {_with_hint(problem, inputs)}" for problem in dict.fromkeys(problems)]
    raise SourceError("\n".join(["nothing was written, because this cannot be sunk:", *lines]))


def _explained(problems: Sequence[Problem], plan: Plan) -> list[Problem]:
    """Say of a missing source that the same run delivers it, if so."""
    delivered = {transfer.destination for transfer in plan.transfers}
    why = "did not exist before this same sink delivered it; use two sinks, one after the other"
    return [replace(item, why=why) if item.what in delivered else item for item in problems]


def _with_hint(problem: Problem, inputs: Collection[str]) -> Problem:
    likely = likely_input(problem.field, inputs)
    return (
        replace(problem, why=f"{problem.why}; is the input {likely!r} meant?")
        if likely
        else problem
    )


def _refuse_recursion(delivery: Delivery, tree: SourceContents) -> None:
    """Refuse to write into a directory that is being read, unless it is sunk in its own place."""
    folders = list(map(RealDirectories(), delivery.directories))
    if not folders or same_place(folders[0], os.path.realpath(delivery.source)):
        return
    read = Places((directory, directory) for directory in tree.real_directories)
    if any(map(read.find, with_ancestors(folders))):
        raise SourceError(
            escaped(
                f"{delivery.field}: {delivery.source} contains its own destination "
                f"{delivery.destination}; choose a base_directory outside it"
            )
        )


def _refuse_obstacles(deliveries: Sequence[Delivery]) -> None:
    """Refuse a directory where a file must go, and a file where a directory must be."""
    needed: dict[str, Delivery] = {}
    for delivery in deliveries:
        needed |= {folder: delivery for folder in delivery.directories if folder not in needed}
        for transfer in delivery.transfers:
            place = transfer.destination
            if (
                place.endswith("/")
                or (not delivery.directories and delivery.destination.endswith(("/.", "/..")))
                or (os.path.isdir(place) and not os.path.islink(place))
            ):
                raise DestinationError(
                    escaped(
                        f"{delivery.field}: {transfer.source} cannot become the file {place}, "
                        "which is a directory; remove it, or change it by a substitution"
                    )
                )
            needed.setdefault(os.path.dirname(place), delivery)
    missing: set[str] = set()
    for directory, delivery in needed.items():
        if found := _obstacle(directory, missing):
            raise DestinationError(
                escaped(
                    f"{delivery.field}: {delivery.destination} needs the directory {directory}, "
                    f"but {found} is none; move it away or change the destination"
                )
            )


def _obstacle(directory: str, missing: set[str]) -> str | None:
    """Return what keeps `directory` from being one, or from being made.

    The directories that can be made are added to `missing`; what is above them is known.
    """
    path = directory
    found: list[str] = []
    while path not in missing and not os.path.lexists(path):
        found.append(path)
        path = os.path.dirname(path)
    if path not in missing and not os.path.isdir(path):
        return path
    missing.update(found)
    return None


def _refuse_removals(plan: Plan) -> None:
    """Refuse to empty a base directory, or a folder in which the other location's files are."""
    emptied = [(item, item.cleared_folder) for item in plan.deliveries if item.cleared_folder]
    if not emptied:
        return
    locations = {item.location for item in plan.deliveries}
    bases = _inside({f"the base directory {base}": base for base in map(_real_base, locations)})
    files = {
        location: _inside({item.destination: item.destination for item in part.transfers})
        for location, part in zip(locations, map(plan.for_location, locations), strict=True)
    }
    for item, folder in emptied:
        if os.path.islink(folder):
            raise DestinationError(
                escaped(f"{item.field}: remove_dest_dir does not empty {folder} through a link")
            )
        others = [inside for location, inside in files.items() if location != item.location]
        for inside in (bases, *others):
            if found := inside.find(folder):
                raise DestinationError(
                    escaped(
                        f"{item.field}: remove_dest_dir would empty {found}; "
                        "change the destination by a substitution, or do not set it"
                    )
                )


def _inside(places: Mapping[str, str]) -> Places[str]:
    """Return every folder in which one of `places` lies, itself included, and that one's name."""
    names = {place: name for name, place in places.items()}
    return Places((folder, names[place]) for folder, place in with_ancestors(names).items())


def _real_base(location: Location) -> str:
    label = location.label
    return os.path.realpath(label) if isinstance(location, LocalDirectory) else label
