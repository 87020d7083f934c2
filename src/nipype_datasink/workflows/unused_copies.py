"""Find directories that are to be copied to S3, but contain the base directory of no sink.

This is how a spelling mistake in ``--s3-copy`` can be noticed: no sink fails because of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

from nipype import Workflow

from nipype_datasink.configuration import calling_node, copied_directories, explicit_value
from nipype_datasink.errors import DataSinkError, SettingsError
from nipype_datasink.interface import DataSink
from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.s3_copy import CopiedDirectory, directory_to_copy, find_copied
from nipype_datasink.workflows.graph import sink_runs
from nipype_datasink.workflows.results import LastResults
from nipype_datasink.workflows.sink_run import SinkRun

_MAX_SHOWN = 4  # base directories, or sinks
_BASES = ("base_directory", "local_copy")  # the first that is set is copied


def describe_unused_copies(runs: Iterable[SinkRun]) -> tuple[str, ...]:
    """Return a text for each directory in which no sink of a workflow has its base directory.

    Parameters
    ----------
    runs
        All sinks, with the directories as the user has written them.
    """
    unused = UnusedCopies()
    for run in runs:
        unused.add(run)
    return unused.describe() if unused.has_sinks else ()


class UnusedCopies:
    """Collects base directories; describes the directories to be copied that contain none."""

    def __init__(self) -> None:
        # Ordered sets. The bases are texts: directories, and addresses in S3.
        self._copied: dict[CopiedDirectory, None] = {}
        self._used: set[CopiedDirectory] = set()
        self._bases: dict[str, None] = {}
        self._unknown: dict[str, None] = {}
        self._add_copied(None)

    @property
    def has_sinks(self) -> bool:
        """Whether any sink was added."""
        return bool(self._bases or self._unknown)

    def add(self, run: SinkRun) -> None:
        """Add one run of a sink, before relative directories among its inputs are replaced."""
        inputs = run.interface.inputs
        copied = self._add_copied(inputs)
        name = next((each for each in _BASES if _is_given(run, each)), "")
        if name in run.unknown:
            self._unknown[f"{run.name} ({run.unknown[name][0].name})"] = None
            return
        text = explicit_value(inputs, name) if name else run.directory
        with suppress(DataSinkError):  # it is the error of the sink
            location = parse_location(text, name)
            if isinstance(location, LocalDirectory):
                path = os.path.join(run.directory, os.path.expanduser(text))
                container = explicit_value(inputs, "container") or ""
                location = directory_to_copy(LocalDirectory(os.path.abspath(path)), container)
                self._used.update(find_copied(location, copied))
            self._bases[location.label] = None

    def _add_copied(self, inputs: Any) -> tuple[CopiedDirectory, ...]:
        with suppress(SettingsError):  # it is the error of each sink
            copied = copied_directories(inputs)
            self._copied.update(dict.fromkeys(copied))
            return copied
        return ()

    def describe(self) -> tuple[str, ...]:
        """Return a text for each directory that contains no base directory, and so has no copy."""
        return tuple(self._describe(each) for each in self._copied if each not in self._used)

    def _describe(self, copied: CopiedDirectory) -> str:
        missing = "" if os.path.exists(copied.directory) else ", which does not exist"
        source, prefix = f"{copied.directory}{missing}", copied.prefix
        if not self.has_sinks:
            return f"no sink was seen, so perhaps nothing is copied to {prefix} from {source}"
        text = f"no sink has its base directory in {source}; nothing is copied to {prefix}"
        if self._unknown:
            text = (
                f"no sink is known to have its base directory in {source}; perhaps nothing is "
                f"copied to {prefix}; not known: {_listed(self._unknown)}"
            )
        bases = f"; base directories of the sinks: {_listed(self._bases)}" if self._bases else ""
        return text + bases


def _is_given(run: SinkRun, name: str) -> bool:
    return name in run.unknown or explicit_value(run.interface.inputs, name) is not None


def _listed(texts: Iterable[str]) -> str:
    shown = list(texts)
    if len(shown) > _MAX_SHOWN:
        shown[_MAX_SHOWN:] = [f"{len(shown) - _MAX_SHOWN} more"]
    return ", ".join(shown)


@contextmanager
def recorded_sinks() -> Iterator[UnusedCopies]:
    """Record the sinks that this process runs, and those of its workflows.

    Workers of plugins run sinks in other processes. So if a directory seems to be unused when a
    workflow has ended, the sinks are taken from its graph, and base directories that nodes compute
    from its working directory. This calls the functions of connections once more.
    """
    unused = UnusedCopies()
    run_workflow, deliver = Workflow.run, DataSink._list_outputs

    # Bound methods are pickled by their names, which `wraps` keeps.
    @wraps(run_workflow)
    def record_workflow(workflow: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return run_workflow(workflow, *args, **kwargs)
        finally:
            with suppress(Exception):  # of nipype, or of functions of the workflow, which fails
                for run in sink_runs(workflow, LastResults) if unused.describe() else ():
                    unused.add(run)

    @wraps(deliver)
    def record_sink(sink: DataSink) -> Any:  # here all inputs and the directory are set
        with suppress(Exception):  # it is the error of the sink
            node = calling_node(sink.inputs)
            name = node.fullname if node else type(sink).__name__
            unused.add(SinkRun(name=name, node=node, interface=sink, connections={}))
        return deliver(sink)

    _replace_methods(record_workflow, record_sink)
    try:
        yield unused
    finally:
        _replace_methods(run_workflow, deliver)


def _replace_methods(run_workflow: Any, deliver: Any) -> None:
    Workflow.run = run_workflow
    DataSink._list_outputs = deliver  # type: ignore[method-assign]
