"""Name the nodes that did not finish, and find their crash files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from glob import escape, iglob

from nipype.pipeline.engine import MapNode, Node

from nipype_datasink.configuration import node_directory
from nipype_datasink.display import escaped
from nipype_datasink.workflows.partial_results import PartialResults


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedNode:
    """A node, or one item of a MapNode, that has no result."""

    node: str
    """Its directory, relative to the base directory of the workflow."""

    crash_file: str = ""
    """Path of its newest crash file; empty text if there is none."""

    has_run: bool = False
    """Whether its directory exists."""

    has_old_result: bool = False
    """Whether it has a result, but one of other inputs than it has now, or one that cannot be
    read. An older crash file is not named then."""

    def __str__(self) -> str:
        if self.has_old_result:
            return escaped(
                f"{self.node} finished, but with other inputs than it has now, or its result "
                "cannot be read"
            )
        if self.crash_file:
            return escaped(f"{self.node} failed: {self.crash_file}")
        return escaped(f"{self.node} {'did not finish' if self.has_run else 'has not run'}")


def failed_nodes(
    results: PartialResults, node: Node, name: str, item: int | None = None
) -> list[FailedNode]:
    """Return the nodes because of which an output is not known: its node, or nodes before it.

    Parameters
    ----------
    results
        Results of all nodes.
    node
        Node without a result, or a MapNode with the results of some items.
    name
        Name of its output.
    item
        Only this item of the MapNode.
    """
    found: list[FailedNode] = []
    for each in results.first_unfinished(node, name):
        items = results.unfinished_items(each) if isinstance(each, MapNode) else []
        if item is not None and each is node:
            items = [one for one in items if one.name == f"_{node.name}{item}"]
        found += [_describe(one, each, results) for one in items or [each]]
    return found


def _describe(node: Node, whole: Node, results: PartialResults) -> FailedNode:
    """Describe a node, or an item of the MapNode `whole`.

    Where the items run one after the other, only the MapNode has a crash file.
    """
    directory = node.output_dir()
    inside = os.path.relpath(directory, whole.output_dir())
    has_old_result = _has_finished(directory)
    newest = results.crash_files.newest
    return FailedNode(
        node=os.path.normpath(os.path.join(node_directory(whole), inside)),
        crash_file="" if has_old_result else newest(node) or newest(whole),
        has_run=os.path.isdir(directory),
        has_old_result=has_old_result,
    )


def _has_finished(directory: str) -> bool:
    """Return whether a node has finished with any inputs; nipype then removes ``_unfinished``."""
    names = iglob(os.path.join(escape(directory), "_0x*.json"))
    return any(not name.endswith("_unfinished.json") for name in names)
