"""Find sinks that deliver into their own working directory, which is rarely what the user meant."""

from __future__ import annotations

import os
from collections.abc import Iterator

from nipype_datasink.configuration import explicit_value, read_options
from nipype_datasink.errors import DataSinkError
from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import LocalDirectory, Location
from nipype_datasink.planning.places import with_ancestors
from nipype_datasink.workflows.sink_run import SinkRun

DIRECTORIES = ("base_directory", "local_copy")
"""Inputs of a sink that are directories or addresses of outputs."""

MANIFEST = "sink_manifest_dir"
"""Input of a sink that is the directory or address of its manifest."""


def describe_own_directories(run: SinkRun) -> Iterator[str]:
    """Yield a text for each directory of a sink that is one of its node, as it is not absolute.

    A sink without a node runs in the current directory, so its directories are as expected.
    """
    if run.node is None:
        return
    values = {name: explicit_value(run.interface.inputs, name) for name in (*DIRECTORIES, MANIFEST)}
    if not any(map(values.get, DIRECTORIES)) and not run.unknown.keys() & {*DIRECTORIES}:
        yield f"{run.name}: base_directory is not set, so files go to the sink's working directory"
    for name, value in values.items():
        if value and _is_relative(value, name):
            yield (
                f"{run.name}: {name} {value!r} is relative, so files go to the sink's working "
                "directory; write an absolute path"
            )


def make_directories_absolute(run: SinkRun) -> None:
    """Set the directories of a sink that are relative to those below its working directory.

    Raises
    ------
    DataSinkError
        If a value is not a directory or address.
    """
    inputs = run.interface.inputs
    paths = {name: explicit_value(inputs, name) for name in (*DIRECTORIES, MANIFEST)}
    for name, path in {**paths, **read_options(inputs, [MANIFEST])}.items():
        if path and isinstance(parse_location(path, name), LocalDirectory):
            absolute = os.path.join(run.directory, os.path.expanduser(path))
            inputs.trait_set(**{name: absolute})


def is_in_own_directory(run: SinkRun, location: Location) -> bool:
    """Return whether a place is in the working directory of a sink, which each run empties."""
    if run.node is None or not isinstance(location, LocalDirectory):
        return False
    own = os.path.realpath(run.node.output_dir())
    return own in with_ancestors([os.path.realpath(location.path)])


def _is_relative(path: str, name: str) -> bool:
    try:
        is_local = isinstance(parse_location(path, name), LocalDirectory)
    except DataSinkError:  # it is the error of the plan
        return False
    return is_local and not os.path.isabs(os.path.expanduser(path))
