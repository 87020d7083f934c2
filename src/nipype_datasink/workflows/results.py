"""Read the outputs of nodes that have finished in an earlier run of a workflow.

nipype's own `Node.is_cached` cannot be used: it removes outdated files. Nothing is written here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import deepcopy
from functools import cached_property
from typing import Any

from nipype.interfaces import io as upstream
from nipype.interfaces.base import Undefined, isdefined
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import JoinNode, MapNode, Node

from nipype_datasink.planning.places import absolute_path
from nipype_datasink.workflows.expansion import evaluate
from nipype_datasink.workflows.origins import FINDERS, is_never_joined, joined_field

Output = str | tuple[Any, ...]
"""An output in a connection: its name, or its name, the text of a function and its arguments."""


# Interfaces that write nothing for other nodes; what sinks write is known from their plans.
_WRITE_NOTHING = (IdentityInterface, *FINDERS)


class UnknownValueError(Exception):
    """A value is known only when a node has run."""

    known_part: Any = Undefined
    """The value with `Undefined` in place of what is not known, if some of it is known."""


def is_complete(value: Any) -> bool:
    """Return whether nothing in a value is `Undefined`."""
    if isinstance(value, (list, tuple)):
        return all(map(is_complete, value))
    return bool(isdefined(value))


def is_partly_known(value: Any) -> bool:
    """Return whether anything in a value is not `Undefined`."""
    if isinstance(value, (list, tuple)):
        return any(map(is_partly_known, value))
    return bool(isdefined(value))


class FinishedResults:
    """The outputs of the nodes in an expanded graph, as far as they are known.

    Parameters
    ----------
    graph
        Expanded graph. Inputs of its nodes are set.
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._outputs: dict[Node, Any] = {}
        self._unknown: dict[Node, set[str]] = {}  # fields of nodes that only pass them on
        self._always_run: dict[Node, frozenset[str]] = {}

    @cached_property
    def finished(self) -> frozenset[Node]:
        """Nodes that nipype would not run again, because their inputs have not changed.

        Interfaces that run every time (``always_run``), such as `SelectFiles`, belong to them if
        their inputs have not changed.
        """
        import networkx as nx

        finished: set[Node] = set()
        for node in nx.topological_sort(self._graph):
            if finished.issuperset(self._graph.predecessors(node)):
                node.input_source = self._input_source(node)
                with suppress(Exception):  # nipype runs a node whose files cannot be read
                    if self._is_finished(node):
                        finished.add(node)
        return frozenset(finished)

    @cached_property
    def writable(self) -> frozenset[str]:
        """Paths that nodes may write when they run: working directories, and paths among inputs."""
        paths: set[str] = set()
        for node in self._graph.nodes():
            if not isinstance(node.interface, _WRITE_NOTHING) and (
                node not in self.finished or _runs_every_time(node)
            ):
                values = node.inputs.trait_get().values()
                paths.update(
                    absolute_path(os.fspath(each)) for each in values if _is_absolute_path(each)
                )
                paths.add(node.output_dir())
        return frozenset(paths)

    def always_run(self, node: Node) -> frozenset[str]:
        """Return the names of the nodes before a node, and its own, that nipype runs every time.

        A finished result is that of their last run; `SelectFiles` may find other files in the next.
        Sinks are left out: their results depend on their inputs only.
        """
        if node not in self._always_run:
            names = {node.fullname} if _runs_every_time(node) else set()
            names.update(*map(self.always_run, self._graph.predecessors(node)))
            self._always_run[node] = frozenset(names)
        return self._always_run[node]

    def value(self, node: Node, output: Output) -> Any:
        """Return the value of a connected output.

        Raises
        ------
        UnknownValueError
            If the node has not finished.
        FailedFunctionError
            If a function of the connection raises any error.
        """
        name = output if isinstance(output, str) else output[0]
        value = deepcopy(getattr(self._outputs_of(node, name), name, Undefined))
        if isinstance(output, str) or not isdefined(value):
            return value
        return evaluate(output[1], output[2], value)

    def _outputs_of(self, node: Node, name: str) -> Any:
        if node not in self._outputs:
            is_identity = isinstance(node.interface, IdentityInterface)
            passes_on = is_identity and not isinstance(node, MapNode)
            self._outputs[node] = self._pass_on(node) if passes_on else self._read(node)
        if self._outputs[node] is None or name in self._unknown.get(node, ()):
            raise UnknownValueError(node.fullname)
        return self._outputs[node]

    def _pass_on(self, node: Node) -> Any:
        """Return the inputs of a node that only passes them on; note those that are not known."""
        unknown = self._unknown.setdefault(node, set())
        for source, _, data in self._graph.in_edges(node, data=True):
            for output, field in data["connect"]:
                if is_never_joined(node, field):
                    continue
                try:
                    node.set_input(field, self.value(source, output))
                except UnknownValueError as error:
                    # Also if it is Undefined, because a JoinNode needs some value for each item.
                    node.set_input(field, error.known_part)
                    unknown.add(joined_field(node, field))
        if isinstance(node, JoinNode):
            node._collate_join_field_inputs()
        return node.interface.inputs

    def _is_finished(self, node: Node) -> bool:
        return not node.overwrite and has_result(node)

    def _read(self, node: Node) -> Any:
        if node in self.finished:
            with suppress(Exception):  # nipype runs the node again if it cannot read the file
                return node.result.outputs
        return None

    def _input_source(self, node: Node) -> dict[str, tuple[str, Output]]:
        """Return where nipype reads the inputs of a node (`Workflow._configure_exec_nodes`)."""
        return {
            field: (_result_file(source), output)
            for source, _, data in self._graph.in_edges(node, data=True)
            for output, field in data["connect"]
        }


class LastResults(FinishedResults):
    """The outputs of the last run, whether or not nipype would run the nodes again.

    No input file is read, as the hash of a node would require.
    """

    def _is_finished(self, node: Node) -> bool:
        return os.path.exists(_result_file(node))


def _runs_every_time(node: Node) -> bool:
    interface = node.interface
    is_forced = node.overwrite is None and interface.always_run  # as `Node.run` decides
    return bool(is_forced) and not isinstance(interface, upstream.DataSink)


def _is_absolute_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and os.path.isabs(os.fspath(value))


def _result_file(node: Node) -> str:
    return os.path.join(node.output_dir(), f"result_{node.name}.pklz")


def has_result(node: Node) -> bool:
    """Return whether a node has finished with the inputs that it has now."""
    if not os.path.exists(_result_file(node)):
        return False
    _, hash_value = node._get_hashval()
    return os.path.exists(os.path.join(node.output_dir(), f"_0x{hash_value}.json"))
