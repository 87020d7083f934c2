"""Find the directories that will contain the outputs of nodes that have not run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nipype.interfaces import io as upstream
from nipype.interfaces import utility
from nipype.interfaces.base import Directory, isdefined
from nipype.pipeline.engine import JoinNode, MapNode, Node

# Interfaces whose outputs are paths that they get as inputs.
_PASS_ON = (utility.IdentityInterface, utility.Merge, utility.Select, utility.Split)
# Interfaces whose outputs are paths that they find outside their working directory.
FINDERS = (
    upstream.BIDSDataGrabber,
    upstream.DataFinder,
    upstream.DataGrabber,
    upstream.DataSink,
    upstream.FreeSurferSource,
    upstream.JSONFileGrabber,
    upstream.S3DataGrabber,
    upstream.SelectFiles,
    upstream.XNATSource,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an output will lie."""

    directory: str | None
    """Working directory of the node that writes it; None for a directory that is not known, such
    as that of a data grabber or of a value that is set."""

    has_folders: bool = False
    """Whether it lies in folders below: those of a MapNode's items, or an output directory."""

    node: str = ""
    """Working directory of the node that names it, if `directory` is not known. It differs for the
    runs of a node with iterables, which may find different files."""


def _elsewhere(node: Node) -> Origin:
    return Origin(None, has_folders=True, node=node.output_dir())


def origins_of(graph: Any, node: Node, output: str) -> frozenset[Origin]:
    """Return where an output lies: several places if it joins what several nodes have written.

    A node is assumed to write into its working directory. `Merge` and similar interfaces pass on
    what other nodes have written.

    Parameters
    ----------
    graph
        Expanded graph.
    node
        Node in it.
    output
        Name of one of its outputs.
    """
    if isinstance(node.interface, _PASS_ON):
        return _passed_on(graph, node, output)
    if isinstance(node.interface, FINDERS):
        return frozenset({_elsewhere(node)})
    has_folders = isinstance(node, MapNode) or _is_directory(node, output)
    return frozenset({Origin(node.output_dir(), has_folders)})


def _is_directory(node: Node, output: str) -> bool:
    """Return whether the class of the interface declares an output as a directory."""
    declared = getattr(node.interface.output_spec, "__class_traits__", {})
    return output in declared and isinstance(declared[output].trait_type, Directory)


def _passed_on(graph: Any, node: Node, output: str) -> frozenset[Origin]:
    found = {_elsewhere(node)} if _has_values(node) else set()
    for source, _, data in graph.in_edges(node, data=True):
        for source_output, field in data["connect"]:
            if depends_on(node, output, field):
                name = source_output if isinstance(source_output, str) else source_output[0]
                found |= origins_of(graph, source, name)
    return frozenset(found or {_elsewhere(node)})


def depends_on(node: Node, output: str, field: str) -> bool:
    """Return whether an output depends on an input; on every input, unless a node passes it on."""
    if not isinstance(node.interface, utility.IdentityInterface):
        return True
    return joined_field(node, field) == output


def joined_field(node: Node, field: str) -> str:
    """Return the input of a JoinNode that `field` is an item of; otherwise `field`."""
    match = re.fullmatch(r"(.*)J\d+", field)
    if isinstance(node, JoinNode) and match and match[1] in node.joinfield:
        return match[1]
    return field


def is_never_joined(node: Node, field: str) -> bool:
    """Return whether nipype ignores a connection to an input of a JoinNode.

    It joins only what depends on the iterables of the node's `joinsource`. Without such items, the
    input becomes an empty list.
    """
    return isinstance(node, JoinNode) and field in node.joinfield


def _has_values(node: Node) -> bool:
    """Return whether an interface that merges or selects also has paths that are set."""
    values = node.inputs.trait_get()
    return any(isdefined(values[name]) for name in values if re.fullmatch(r"in(\d+|list)", name))
