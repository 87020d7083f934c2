"""Expand the graph of a workflow as nipype does, also if functions of its connections fail.

nipype calls the functions that take values of an `IdentityInterface` while it expands the graph,
and gives up at the first error. The error of one sink must not hide the others.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from nipype import Workflow
from nipype.interfaces import io as upstream
from nipype.interfaces.base import Undefined, isdefined
from nipype.pipeline.engine import Node
from nipype.pipeline.engine import utils as engine

from nipype_datasink.errors import SettingsError


class FailedFunctionError(Exception):
    """The function of a connection has raised an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedInput:
    """An input that is not set, because the function of its connection has failed."""

    field: str
    """Name of the input."""
    source: str
    """Full name of the node and the output that the function takes: ``wf.subjects.subject_id``."""
    output: str
    """The output with its function."""
    error: str = ""


_call: Callable[..., Any] = engine.evaluate_connect_function


def evaluate(source: str, arguments: Any, value: Any) -> Any:
    """Return what the function of a connection returns.

    Parameters
    ----------
    source
        Text of the function.
    arguments
        What it takes beside the value.
    value
        Value of the connected output.

    Raises
    ------
    FailedFunctionError
        If it raises any error.
    """
    try:
        return _call(source, arguments, value)
    except Exception as error:
        name = re.search(r"def +(\w+)", source)
        raise FailedFunctionError(
            f"function {name[1] if name else repr(source)} failed: {type(error).__name__}: {error}"
        ) from error


def expanded_graph(workflow: Workflow) -> Any:
    """Return the graph that nipype would run.

    Parameters
    ----------
    workflow
        With its flat graph. It is changed.

    Raises
    ------
    SettingsError
        If nipype cannot expand it, or if the input of a node that is no sink cannot be set.
    """
    for node in workflow._graph.nodes():
        node._inputs_by_function = list(_inputs_by_function(workflow._graph, node))
    try:
        with _failures_recorded() as errors:
            graph = engine.generate_expanded_graph(workflow._graph)
    except Exception as error:
        raise SettingsError(f"workflow {workflow.name} cannot be expanded: {error}") from error
    of_others = dict(errors)
    for node in graph.nodes():
        if isinstance(node.interface, upstream.DataSink):
            node._failed_inputs = list(_failed(graph, node, errors))
            for failed in node._failed_inputs:
                of_others.pop(failed.output, None)
    for each in of_others.values():
        raise SettingsError(f"workflow {workflow.name} cannot be expanded: {each}")
    return graph


def failed_inputs(node: Node) -> list[FailedInput]:
    """Return the inputs of a sink in an expanded graph that functions failed to set."""
    failed: list[FailedInput] = getattr(node, "_failed_inputs", [])
    return failed


def _inputs_by_function(graph: Any, node: Node) -> Iterator[FailedInput]:
    """Yield the inputs that get a value by a function, as if they failed."""
    for source, _, data in graph.in_edges(node, data=True):
        for output, field in data["connect"]:
            if not isinstance(output, str):
                name = f"{source.fullname}.{output[0]}"
                yield FailedInput(field=field, source=name, output=_key(*output[1:]))


def _failed(graph: Any, node: Node, errors: Mapping[str, str]) -> Iterator[FailedInput]:
    # The same function may take an output that is not known yet; nipype keeps this connection.
    edges = graph.in_edges(node, data="connect")
    kept = {field for *_, connections in edges for _, field in connections}
    for each in node._inputs_by_function:
        is_set = isdefined(getattr(node.inputs, each.field, Undefined))
        if each.output in errors and each.field not in kept and not is_set:
            yield replace(each, error=errors[each.output])


def _key(source: str, arguments: Any) -> str:
    return f"{source}{arguments}"


@contextmanager
def _failures_recorded() -> Iterator[dict[str, str]]:
    """Let functions that fail give an undefined value; record their first errors.

    In other threads, which may run workflows, they fail as with nipype.
    """
    errors: dict[str, str] = {}
    own_thread = threading.get_ident()

    def call_and_record(source: str, arguments: Any, value: Any) -> Any:
        if threading.get_ident() != own_thread:
            return _call(source, arguments, value)
        try:
            return evaluate(source, arguments, value)
        except FailedFunctionError as error:
            errors.setdefault(_key(source, arguments), str(error))
            return Undefined

    engine.evaluate_connect_function = call_and_record
    try:
        yield errors
    finally:
        engine.evaluate_connect_function = _call
