"""Make plans that are safe to carry out: no file is lost or overwritten by another.

The functions here read the disk, and write nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.display import escaped, listed
from nipype_datasink.errors import DestinationError, SourceError
from nipype_datasink.planning.collisions import check_collisions
from nipype_datasink.planning.contents import SourceContents, scan
from nipype_datasink.planning.hints import likely_input
from nipype_datasink.planning.listings import find_directories, find_missing, find_status
from nipype_datasink.planning.location import LocalDirectory, Location
from nipype_datasink.planning.places import PathMap, group_by_depth, same_place, with_ancestors
from nipype_datasink.planning.plan import Delivery, Plan, make_plan
from nipype_datasink.planning.real_paths import RealPathCache
from nipype_datasink.planning.routing import Rules
from nipype_datasink.planning.sources import Problem, Source, flatten


def make_valid_plan(
    fields: Mapping[str, object],
    rules: Rules,
    *,
    inputs: Collection[str] = (),
    directory: str = "",
    on_progress: Callable[[], object] = lambda: None,
) -> Plan:
    """Decide where every file goes, or name everything that makes the plan invalid.

    Sources that do not exist do not make a plan invalid; they are listed in `Plan.missing`. Text
    that is not a path, such as the identifier of a subject, is listed in `Plan.ignored`.

    Parameters
    ----------
    fields
        Names of the sink's inputs and their values, in order.
    rules
        Everything that decides where the sources go.
    inputs
        Names of known inputs; a field may be a misspelling of one of them.
    directory
        Absolute directory that relative paths are below; empty for the current one.
    on_progress
        Called often while the sources are read, in this thread and in others.

    Raises
    ------
    SourceError
        Naming everything that cannot be delivered.
    CollisionError
        If different bytes would get the same destination, or if one file is the source of a
        delivery and the destination of another.
    DestinationError
        If a destination cannot hold its file or directory, or if `remove_dest_dir` would empty
        the base directory.
    """
    paths, problems = flatten(fields, directory=directory)
    scan_one = partial(scan, on_progress=on_progress)
    found = adaptive_map(scan_one, paths, abandon=True, on_wait=on_progress)
    scanned = list(zip(paths, found, strict=True))
    identifiers = {source for source, contents in scanned if _is_identifier(source, contents)}
    sources = [item for item in scanned if item[0] not in identifiers]
    problems += [problem for _, contents in sources for problem in contents.problems]
    if not all(problem.missing for problem in problems):
        raise _source_error(problems, inputs)
    sources = [item for item in sources if item[1].exists]
    plan = make_plan(sources, rules)
    _check_plan(plan, sources, on_progress)
    missing = [_with_hint(problem, inputs) for problem in _explain_missing(problems, plan)]
    ignored = [_not_a_file(source) for source, _ in scanned if source in identifiers]
    return replace(
        plan, missing=tuple(dict.fromkeys(missing)), ignored=tuple(dict.fromkeys(ignored))
    )


def _check_plan(
    plan: Plan, sources: Sequence[tuple[Source, SourceContents]], on_progress: Callable[[], object]
) -> None:
    contents_by_path = {source.path: contents for source, contents in sources}
    on_disk = [item for item in plan.deliveries if isinstance(item.location, LocalDirectory)]
    real_directory = RealPathCache()
    real_directory.look_up(folder for delivery in on_disk for folder in delivery.directories)
    for delivery in on_disk:
        _check_recursion(delivery, contents_by_path[delivery.source], real_directory)
    _check_obstacles(on_disk)
    _check_removals(plan)
    links = {file.path for _, contents in sources for file in contents.files if file.is_link}
    check_collisions(plan, links, on_progress)


def _is_identifier(source: Source, contents: SourceContents) -> bool:
    """Return whether a source is not a path; pipelines also connect identifiers of subjects."""
    if not source.is_bare_text or contents.exists or os.path.lexists(source.path):
        return False
    return all(problem.missing for problem in contents.problems)  # `os.lstat` may have failed


def _not_a_file(source: Source) -> Problem:
    return Problem(source.field, repr(os.path.basename(source.path)), "is not the name of a file")


def _source_error(problems: Sequence[Problem], inputs: Collection[str]) -> SourceError:
    """Return one error that names everything that cannot be delivered."""
    lines = [str(_with_hint(problem, inputs)) for problem in dict.fromkeys(problems)]
    if len(lines) == 1:
        return SourceError(f"nothing was written: {lines[0]}")
    title = f"nothing was written, because {len(lines):,} values cannot be delivered"
    return SourceError(listed(title, lines))


def _explain_missing(problems: Sequence[Problem], plan: Plan) -> list[Problem]:
    """Return the problems; of a source that this run itself delivers, say so."""
    delivered = {transfer.destination for transfer in plan.transfers}
    reason = "does not exist until this sink has delivered it; use two sinks, one after the other"
    return [replace(item, reason=reason) if item.value in delivered else item for item in problems]


def _with_hint(problem: Problem, inputs: Collection[str]) -> Problem:
    likely = likely_input(problem.field, inputs)
    return (
        replace(problem, reason=f"{problem.reason}; is the input {likely!r} meant?")
        if likely
        else problem
    )


def _check_recursion(
    delivery: Delivery, contents: SourceContents, real_directory: Callable[[str], str]
) -> None:
    """Raise an error if a directory would be written into itself; onto itself is allowed."""
    folders = list(map(real_directory, delivery.directories))
    if not folders or same_place(folders[0], os.path.realpath(delivery.source)):
        return
    sources = PathMap((directory, directory) for directory in contents.real_directories)
    if any(map(sources.find, with_ancestors(folders))):
        raise SourceError(
            escaped(
                f"{delivery.field}: {delivery.source} contains its own destination "
                f"{delivery.destination}; choose a base_directory outside it"
            )
        )


def _check_obstacles(deliveries: Sequence[Delivery]) -> None:
    """Raise an error if a directory is where a file must go, or a file where a directory must."""
    needed: dict[str, Delivery] = {}
    for delivery in deliveries:
        for folder in (*delivery.directories, *(item.folder for item in delivery.transfers)):
            needed.setdefault(folder, delivery)
    missing = _find_missing(needed)
    find_obstacle = partial(_obstacle, missing=missing, existing={"/"})
    obstacles = adaptive_map(find_obstacle, list(needed), abandon=True)
    directories = find_directories(
        transfer.destination
        for delivery in deliveries
        for transfer in delivery.transfers
        if transfer.folder not in missing
    )
    for delivery in deliveries:
        for transfer in delivery.transfers:
            path = transfer.destination
            if (
                path.endswith("/")
                or (not delivery.directories and delivery.destination.endswith(("/.", "/..")))
                or path in directories
            ):
                raise DestinationError(
                    escaped(
                        f"{delivery.field}: {transfer.source} cannot become the file {path}, "
                        "which is a directory; remove the directory, or change the destination by "
                        "a substitution"
                    )
                )
    for (directory, delivery), found in zip(needed.items(), obstacles, strict=True):
        if found:
            raise DestinationError(
                escaped(
                    f"{delivery.field}: {delivery.destination} needs the directory {directory}, "
                    f"but {found} is not a directory; move it away or change the destination"
                )
            )


def _find_missing(paths: Iterable[str]) -> set[str]:
    """Return those of `paths` and of the folders around them that surely do not exist."""
    missing: set[str] = set()
    for level in group_by_depth(with_ancestors(paths)):
        # A slow disk would look up a missing folder again for each path in it.
        inside = {path for path in level if os.path.dirname(path) in missing}
        missing |= inside | find_missing(path for path in level if path not in inside)
    return missing


def _obstacle(directory: str, missing: set[str], existing: set[str]) -> str | None:
    """Return the file that is in the way of `directory`; None if it exists or can be created.

    Directories that can be created are added to `missing`, and those that are found to `existing`,
    so that each is looked up once.
    """
    unknown: list[str] = []  # the directory and its parents, from the innermost
    path = directory
    while path not in missing and path not in existing:
        unknown.append(path)
        path = os.path.dirname(path)
    if path in existing:
        for index, each in enumerate(unknown):
            if status := find_status(each):
                if not (stat.S_ISDIR(status.st_mode) or os.path.isdir(each)):
                    return each
                existing.update(unknown[index:])
                del unknown[index:]
                break
    missing.update(unknown)
    return None


def _check_removals(plan: Plan) -> None:
    """Raise an error if `remove_dest_dir` would remove more than files of earlier runs.

    A folder of one location may be the base directory of another location, or hold its files. It
    may also hold manifests: other sinks have written some of them.
    """
    cleared = [(item, item.cleared_folder) for item in plan.deliveries if item.cleared_folder]
    if not cleared:
        return
    locations = {item.location for item in plan.deliveries}
    bases = {f"the base directory {base}": base for base in map(_real_base, locations)}
    if plan.manifest_directory:
        place = _real_path(plan.manifest_directory)
        bases[f"the directory of the manifests {place}"] = place
    around_bases = _folders_around(bases)
    files = {
        location: _folders_around(
            {item.destination: item.destination for item in plan.for_location(location).transfers}
        )
        for location in locations
    }
    for item, folder in cleared:
        if os.path.islink(folder):
            raise DestinationError(
                escaped(
                    f"{item.field}: remove_dest_dir cannot empty {folder}, which is a link; "
                    "replace the link by a directory, or unset remove_dest_dir"
                )
            )
        others = [around for location, around in files.items() if location != item.location]
        for around in (around_bases, *others):
            if found := around.find(folder):
                raise DestinationError(
                    escaped(
                        f"{item.field}: remove_dest_dir would empty {found}; "
                        "change the destination by a substitution, or unset remove_dest_dir"
                    )
                )


def _folders_around(paths: Mapping[str, str]) -> PathMap[str]:
    """Return every folder that holds one of `paths` (by name), that path included."""
    names = {path: name for name, path in paths.items()}
    around = PathMap((folder, names[path]) for folder, path in with_ancestors(names).items())
    for path, name in names.items():
        if path.startswith("/"):
            around.add("/", name)
    return around


def _real_base(location: Location) -> str:
    return _real_path(location.label)


def _real_path(path: str) -> str:
    """Return a path without links; an address in S3 is not changed."""
    return path if path.startswith("s3://") else os.path.realpath(path)
