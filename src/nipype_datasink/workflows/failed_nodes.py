"""Name the nodes that did not finish, and find their crash files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from nipype.pipeline.engine import MapNode, Node
from nipype.utils.filemanip import loadpkl

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

    def __str__(self) -> str:
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
        found += [_describe(one, each) for one in items] or [_describe(each, each)]
    return found


def _describe(node: Node, whole: Node) -> FailedNode:
    """Describe a node, or an item of the MapNode `whole`.

    Where the items run one after the other, only the MapNode has a crash file.
    """
    directory = node.output_dir()
    inside = os.path.relpath(directory, whole.output_dir())
    return FailedNode(
        node=os.path.normpath(os.path.join(node_directory(whole), inside)),
        crash_file=_crash_file(node) or (_crash_file(whole) if whole is not node else ""),
        has_run=os.path.isdir(directory),
    )


_MAX_READ = 100  # crash files with the name of a node; those of its other runs have it, too
_TIME = r"\d{8}-\d{6}"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _crash_file(node: Node) -> str:
    """Return the newest crash file of a node; empty text if there is none."""
    directory = os.path.abspath(node.config["execution"].get("crashdump_dir", os.getcwd()))
    for name in islice(_names(directory, node._id), _MAX_READ):
        path = os.path.join(directory, name)
        with suppress(Exception):  # it may be damaged, or of another version
            if _directory_of(path) == node.output_dir():
                return path
    return ""


def _names(directory: str, node_id: str) -> Iterator[str]:
    """Yield names of crash files, the newest first (`report_crash` in nipype/pipeline/plugins)."""
    pattern = re.compile(rf"crash-({_TIME})-.*-{re.escape(node_id)}-{_UUID}\.(txt|pklz)")
    with suppress(OSError):
        matches = filter(None, map(pattern.fullmatch, os.listdir(directory)))
        yield from (each[0] for each in sorted(matches, key=lambda each: each[1], reverse=True))


def _directory_of(path: str) -> str:
    """Return the directory of the node that a crash file is about."""
    if path.endswith(".pklz"):
        return str(loadpkl(path)["node"].output_dir())
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        found = re.search(r"^Working directory: (.*)$", file.read(), re.MULTILINE)
    return found[1] if found else ""
