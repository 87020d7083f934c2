"""Find sinks that deliver into their own working directory, which is rarely what the user meant."""

from __future__ import annotations

import os
from collections.abc import Iterator

from nipype_datasink.configuration import explicit_value
from nipype_datasink.errors import DataSinkError
from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.workflows.sink_run import SinkRun

_BASES = ("base_directory", "local_copy")


def describe_own_directories(run: SinkRun) -> Iterator[str]:
    """Yield a text for each directory of a sink that is one of its node, as it is not absolute.

    A sink without a node runs in the current directory, so its directories are as expected.
    """
    if run.node is None:
        return
    names = (*_BASES, "sink_manifest_dir")
    values = {name: explicit_value(run.interface.inputs, name) for name in names}
    if not any(map(values.get, _BASES)) and not run.unknown.keys() & {*_BASES}:
        yield f"{run.name}: base_directory is not set, so files go to the sink's working directory"
    for name, value in values.items():
        if value and _is_relative(value, name):
            yield (
                f"{run.name}: {name} {value!r} is relative, so files go to the sink's working "
                "directory; write an absolute path"
            )


def _is_relative(path: str, name: str) -> bool:
    try:
        is_local = isinstance(parse_location(path, name), LocalDirectory)
    except DataSinkError:  # it is the error of the plan
        return False
    return is_local and not os.path.isabs(os.path.expanduser(path))
