"""Show destinations of a sink of which some inputs are known only when a node has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nipype_datasink.planning.location import Location, S3Prefix
from nipype_datasink.workflows.placeholders import (
    BASE,
    CONTAINER,
    COPY,
    MERGED,
    NAME,
    TREE,
    has_folders,
    is_complete,
    root_of,
    show,
)
from nipype_datasink.workflows.sink_run import SinkRun

PLACES = {"base_directory": root_of(BASE), "local_copy": root_of(COPY), "container": CONTAINER}
"""What stands for these inputs if they are not known."""

# Inputs that decide, if they are not known, that no part of a destination is known.
_RULES = ("parameterization", "strip_dir", "substitutions", "regexp_substitutions")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownDestination:
    """A destination, as far as it is known."""

    text: str
    """Path or address; what is not known stands in braces."""

    is_known: bool

    has_folders: bool
    """Whether the braces may also stand for folders."""

    hides_folders: bool = False
    """Whether the braces also stand for folders that rules may change; they are known otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownInputs:
    """Outputs that give a sink its directories and its rules, if they are not known."""

    places: Mapping[str, str]
    """Names of the outputs by what stands for the base directory, its copy and the container."""

    rules: tuple[str, ...]
    """Names of the outputs that rules come from."""

    @classmethod
    def of(cls, run: SinkRun) -> UnknownInputs:
        """Return those of one run of a sink."""
        names = {name: connections[0].name for name, connections in run.unknown.items()}
        return cls(
            places={PLACES[name][-1]: names[name] for name in PLACES if name in names},
            rules=tuple(names[name] for name in _RULES if name in names),
        )

    def __bool__(self) -> bool:
        return bool(self.places or self.rules)

    def show(self, path: str, location: Location, output: str = "") -> ShownDestination:
        """Return a destination with the names of all that is not known in braces.

        Parameters
        ----------
        path
            Destination with placeholders.
        location
            Base directory and container that it lies below.
        output
            Name of the output that is delivered, if there is a placeholder for its name.
        """
        names = {**self.places, NAME: output, TREE: output}
        names[MERGED] = self._merged(path, location, output)
        if not self.rules:
            return ShownDestination(
                text=show(path, names),
                is_known=is_complete(path),
                has_folders=has_folders(path),
                hides_folders=MERGED in path,
            )
        # No rule can change the bucket.
        root = f"s3://{location.actual_bucket}/" if isinstance(location, S3Prefix) else ""
        rest = show(path, names, braces=False).removeprefix(root)
        for rule in self.rules:
            rest = f"{rule}({rest})"
        return ShownDestination(text=f"{root}{{{rest}}}", is_known=False, has_folders=True)

    def _merged(self, path: str, location: Location, output: str) -> str:
        """Return the names of what is not known in the part of a path that rules may change."""
        places = [each for each in self.places if each in str(location) and each not in path]
        is_named = NAME in path or TREE in path
        names = [self.places[each] for each in places]
        return "/".join([*names, *([output] if output and not is_named else [])])
