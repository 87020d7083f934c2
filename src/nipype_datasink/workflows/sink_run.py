"""Define one run of a sink, and what is connected to it, in an expanded graph."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from nipype.pipeline.engine import Node

from nipype_datasink.interface import DataSink
from nipype_datasink.workflows.iterables import Values, label
from nipype_datasink.workflows.origins import Origin
from nipype_datasink.workflows.results import FinishedResults


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the value of one input comes from."""

    node: Node
    """Node in the expanded graph."""

    name: str
    """Node and output, without the name of the workflow: ``preproc.bold``."""

    output: str
    """The output, with its function if there is one."""

    is_known: bool
    """Whether the value is known, because the node has finished; the sink has it then."""

    is_partial: bool = False
    """Whether part of a value that is not known is known, and set."""

    origins: frozenset[Origin] = frozenset()
    """Where the output will lie; empty if the value is known."""

    always_run: frozenset[str] = frozenset()
    """Names of nodes that run every time, if a value that is known depends on their last run."""

    error: str = ""
    """Why the value cannot be set; empty text if nothing is known to be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRun:
    """One run of a sink, as it would be if the workflow ran now."""

    name: str
    """Name of the node, with those of its workflows: ``wf.datasink``."""

    interface: DataSink
    """Copy of the sink. All values that are known are set."""

    node: Node | None = None
    """Node in the expanded graph; None for a sink without a node."""

    iterables: Values = ()
    """Fields and values of iterables, the outermost first."""

    item: str = ""
    """Name of the item of a MapNode, as nipype names its directory: ``_datasink0``."""

    connections: Mapping[str, tuple[Connection, ...]]
    """Connections by the name of the input, in their order; a JoinNode has several for one input.
    Inputs from an IdentityInterface are set, and have none."""

    node_error: str = ""
    """Why nipype cannot prepare the node: lists of a MapNode have different lengths, for example.
    Empty text if nothing is known to be wrong."""

    results: FinishedResults | None = None
    """Results of all nodes in the expanded graph."""

    @property
    def directory(self) -> str:
        """Directory in which the sink will run; relative paths are below it."""
        if self.node is None:
            return os.getcwd()
        items = ("mapflow", self.item) if self.item else ()
        return os.path.join(self.node.output_dir(), *items)

    @property
    def label(self) -> str:
        """Values of iterables: ``subject_id=sub-01``; empty text if there is only one run."""
        return ",".join(filter(None, (label(self.iterables), self.item)))

    @property
    def unknown(self) -> dict[str, tuple[Connection, ...]]:
        """Connections with at least one value that is not known, by the name of the input."""
        return {
            name: connections
            for name, connections in self.connections.items()
            if not all(connection.is_known for connection in connections)
        }

    @property
    def error(self) -> str:
        """Why an input cannot be set: a function in its connection fails, for example."""
        errors = [
            f"{name} <- {connection.name}: {connection.error}"
            for name, connections in self.connections.items()
            for connection in connections
            if connection.error
        ]
        return "; ".join(filter(None, (*errors, self.node_error)))

    def __str__(self) -> str:
        return f"{self.name}[{self.label}]" if self.label else self.name
