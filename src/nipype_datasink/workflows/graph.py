"""Find the sinks of a workflow, and what is known of their inputs before the workflow runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from nipype import Workflow, config
from nipype.interfaces import io as upstream
from nipype.interfaces.base import Undefined, isdefined
from nipype.pipeline.engine import JoinNode, MapNode, Node
from nipype.pipeline.engine.utils import merge_dict
from nipype.utils.filemanip import ensure_list
from nipype.utils.misc import flatten
from traits.api import TraitError

from nipype_datasink.configuration import set_calling_node
from nipype_datasink.interface import DataSink
from nipype_datasink.workflows.expansion import (
    FailedFunctionError,
    FailedInput,
    expanded_graph,
    failed_inputs,
)
from nipype_datasink.workflows.iterables import IterableNames
from nipype_datasink.workflows.origins import Origin, is_never_joined, joined_field, origins_of
from nipype_datasink.workflows.results import (
    FinishedResults,
    Output,
    UnknownValueError,
    is_partly_known,
)
from nipype_datasink.workflows.sink_class import own_class
from nipype_datasink.workflows.sink_run import Connection, SinkRun


def sink_runs(
    target: Workflow | Node | DataSink,
    results_of: Callable[[Any], FinishedResults] = FinishedResults,
) -> Iterator[SinkRun]:
    """Yield each run of each sink in a workflow. No node runs, and nothing is written.

    Parameters
    ----------
    target
        A workflow, one node, or a sink without a node. It is not changed.
    results_of
        Called with the expanded graph; returns what is known of the outputs of its nodes.

    Yields
    ------
    SinkRun
        In the order of the graph; runs in the order of their iterables.
    """
    if isinstance(target, upstream.DataSink):
        name = type(target).__name__
        yield SinkRun(name=name, interface=own_class(deepcopy(target)), connections={})
        return
    if isinstance(target, Node):
        node = deepcopy(target)
        node.config = merge_dict(deepcopy(config._sections), node.config or {})
        node.base_dir = _base_dir(node)
        graph, names = _graph_of(node), IterableNames([])
        sinks = [node] if isinstance(node.interface, upstream.DataSink) else []
    elif isinstance(target, Workflow):
        graph, names, sinks = _expand(target)
    else:
        raise TypeError(f"{target!r} is a {type(target).__name__}, not a workflow, node or sink")
    results = results_of(graph)
    for node in sinks:
        yield from _runs(node, graph, results, names)


def _base_dir(target: Workflow | Node) -> str:
    """Return the base directory; without one, nipype makes a temporary one for each node."""
    return target.base_dir or os.path.join(os.environ.get("TMPDIR", "/tmp"), "nipype")


def _graph_of(node: Node) -> Any:
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_node(node)
    return graph


def _expand(workflow: Workflow) -> tuple[Any, IterableNames, list[Node]]:
    """Return the graph that nipype would run, the names of its iterables, and its sinks.

    The steps are those of `Workflow.run`, on a copy.
    """
    import networkx as nx

    own = deepcopy(workflow)
    own._generate_flatgraph()
    own.config = merge_dict(deepcopy(config._sections), own.config)
    own._set_needed_outputs(own._graph)
    names = IterableNames(own._graph.nodes())
    sinks = [
        node.fullname
        for node in nx.topological_sort(own._graph)
        if isinstance(node.interface, upstream.DataSink)
    ]
    order = {name: index for index, name in enumerate(sinks)}
    graph = expanded_graph(own)
    for node in graph.nodes():
        node.config = merge_dict(deepcopy(own.config), node.config)
        node.base_dir = _base_dir(own)
    found = [node for node in graph.nodes() if node.fullname in order]
    return (
        graph,
        names,
        sorted(found, key=lambda node: (order[node.fullname], names.position(node))),
    )


def _runs(
    node: Node, graph: Any, results: FinishedResults, names: IterableNames
) -> Iterator[SinkRun]:
    connections = {each.field: [_failed(node, each)] for each in failed_inputs(node)}
    for source, _, data in graph.in_edges(node, data=True):
        for output, field in data["connect"]:
            if not is_never_joined(node, field):
                connections.setdefault(joined_field(node, field), []).append(
                    _connect(source, output, field, node=node, graph=graph, results=results)
                )
    run = SinkRun(
        name=node.fullname,
        node=node,
        node_error=_prepare(node, connections),
        results=results,
        interface=node.interface,
        iterables=names.values(node),
        connections={name: tuple(each) for name, each in connections.items()},
    )
    runs = _items(node, run) if isinstance(node, MapNode) and not run.node_error else [run]
    for each in runs:
        own = replace(each, interface=own_class(each.interface))
        set_calling_node(own.interface.inputs, node)
        yield own


def _prepare(node: Node, connections: Mapping[str, Iterable[Connection]]) -> str:
    """Prepare the inputs as nipype does when it runs the node; return why that fails."""
    try:
        if isinstance(node, JoinNode):
            node._collate_join_field_inputs()
        if isinstance(node, MapNode) and all(
            each.is_known for field in node.iterfield for each in connections.get(field, ())
        ):
            node._check_iterfield()
    except Exception as error:  # noqa: BLE001 - of nipype, or of the sink that refuses a value
        cause = error.__context__ if isinstance(error.__context__, TraitError) else error
        return f"{type(cause).__name__}: {cause}".splitlines()[0]
    return ""


def _connect(
    source: Node, output: Output, field: str, *, node: Node, graph: Any, results: FinishedResults
) -> Connection:
    """Set an input of a sink if its value is known; return where it comes from."""
    name = output if isinstance(output, str) else output[0]
    known_part: Any = Undefined
    full_name = _without_workflow(f"{source.fullname}.{name}")
    connection = Connection(node=source, name=full_name, output=repr(output), is_known=True)
    try:
        node.set_input(field, results.value(source, output))
    except UnknownValueError as unknown:
        error, known_part = "", unknown.known_part
    except FailedFunctionError as failure:
        error = str(failure)
    except Exception as failure:  # noqa: BLE001 - the sink refuses the value
        error = f"{type(failure).__name__}: {failure}"
    else:
        return replace(connection, always_run=results.always_run(source))
    try:
        node.set_input(field, known_part)
    except TraitError:  # the input takes no list with Undefined
        known_part = Undefined
        node.set_input(field, known_part)
    origins = origins_of(graph, source, name)
    return replace(
        connection,
        is_known=False,
        is_partial=is_partly_known(known_part),
        origins=origins,
        error=error,
    )


def _failed(node: Node, failed: FailedInput) -> Connection:
    """Return a connection from a node that nipype has removed from the graph."""
    return Connection(
        node=node,
        name=_without_workflow(failed.source),
        output=failed.output,
        is_known=False,
        origins=frozenset({Origin(None, has_folders=True)}),
        error=failed.error,
    )


def _without_workflow(output: str) -> str:
    """Return the full name of an output without the name of the workflow, if it has one."""
    return output.partition(".")[2] if output.count(".") > 1 else output


def _items(node: MapNode, run: SinkRun) -> Iterator[SinkRun]:
    """Yield the run of each item of a MapNode; one run if their number is not known."""
    values = {name: getattr(node.inputs, name) for name in node.iterfield}
    values = {name: _list_of(node, value) for name, value in values.items() if isdefined(value)}
    if not values:
        yield run
    for index in range(min(map(len, values.values()), default=0)):
        interface = deepcopy(node.interface)
        for name, items in values.items():
            setattr(interface.inputs, name, items[index])
        yield replace(run, interface=interface, item=f"_{node.name}{index}")


def _list_of(node: MapNode, value: Any) -> list[Any]:
    items: list[Any] = ensure_list(value)
    return list(flatten(items)) if node.nested else items
