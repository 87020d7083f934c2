"""Read what nodes have computed in part: items of MapNodes, and items that are joined or merged."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

from nipype.interfaces.base import Bunch, Undefined
from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import MapNode, Node
from nipype.utils.filemanip import ensure_list
from nipype.utils.misc import unflatten

from nipype_datasink.workflows.crash_files import CrashFiles
from nipype_datasink.workflows.origins import depends_on
from nipype_datasink.workflows.results import (
    FinishedResults,
    Output,
    UnknownValueError,
    has_result,
)

_Item = tuple[Node, Any]
"""The node of one item of a MapNode, and its outputs; None if it has not finished."""


class PartialResults(FinishedResults):
    """The outputs of the nodes in an expanded graph, with those that are known in part.

    Of a value that is known in part, every unknown item is `Undefined`, in its place.
    """

    def __init__(self, graph: Any) -> None:
        super().__init__(graph)
        self.crash_files = CrashFiles()
        self._items: dict[MapNode, list[_Item]] = {}

    def value(self, node: Node, output: Output) -> Any:
        """Return the value of a connected output; see `FinishedResults.value`.

        Raises
        ------
        UnknownValueError
            If not all of it is known, with the part that is.
        FailedFunctionError
            If a function of the connection raises any error.
        """
        try:
            return super().value(node, output)
        except UnknownValueError as error:
            if isinstance(output, str):  # a function needs the whole value
                error.known_part = deepcopy(self._known_part(node, output))
            raise

    def unfinished_items(self, node: MapNode) -> list[Node]:
        """Return the nodes of the items that have not finished; none if the number is not known."""
        return [item for item, outputs in self._items_of(node) if outputs is None]

    def finished_items(self, node: MapNode) -> list[Node]:
        """Return the nodes of the items that have finished."""
        return [item for item, outputs in self._items_of(node) if outputs is not None]

    def first_unfinished(self, node: Node, name: str) -> list[Node]:
        """Return the nodes because of which an output is not known: `node`, or nodes before it."""
        found: dict[Node, None] = {}
        todo, seen = [(node, name)], {(node, name)}
        while todo:
            current, output = todo.pop()
            before = set() if current in self.finished else self._unfinished_before(current, output)
            if not before:
                found[current] = None
            todo += before - seen
            seen |= before
        return sorted(found, key=lambda each: str(each.output_dir()))

    def _unfinished_before(self, node: Node, name: str) -> set[tuple[Node, str]]:
        """Return the nodes without a result that an output depends on, with their outputs."""
        return {
            (source, output if isinstance(output, str) else output[0])
            for source, _, data in self._graph.in_edges(node, data=True)
            for output, field in data["connect"]
            if source not in self.finished and depends_on(node, name, field)
        }

    def _is_finished(self, node: Node) -> bool:
        # With `overwrite`, nipype computes the result again, but it is the result of this run.
        return has_result(node)

    def _read(self, node: Node) -> Any:
        outputs = super()._read(node)
        if outputs is None and isinstance(node, MapNode):
            items = self._items_of(node)
            if items and not self.unfinished_items(node):  # only the node itself did not finish
                names = items[0][1].trait_get()
                return Bunch(**{name: self._collect(node, name) for name in names})
        return outputs

    def _known_part(self, node: Node, name: str) -> Any:
        if node in self._unknown:  # it passes on its inputs
            return getattr(self._outputs[node], name)
        if isinstance(node, MapNode):
            return self._collect(node, name) if self._items_of(node) else Undefined
        return self._merge(node) if isinstance(node.interface, Merge) else Undefined

    def _merge(self, node: Node) -> Any:
        """Return what a node would merge of the items that are known."""
        if any(isinstance(each, MapNode) for each in self._graph.successors(node)):
            return Undefined  # an unknown item would move the others to other positions
        try:
            self._pass_on(node)
            return node.interface._list_outputs()["out"]
        except Exception:  # noqa: BLE001 - of nipype, or of the function of a connection
            return Undefined
        finally:
            self._unknown.pop(node, None)  # these are no outputs of this node

    def _collect(self, node: MapNode, name: str) -> Any:
        """Return an output of all items, as nipype does."""
        values = [
            Undefined if outputs is None else outputs.trait_get()[name]
            for _, outputs in self._items_of(node)
        ]
        if node.nested:
            return unflatten(values, ensure_list(getattr(node.inputs, node.iterfield[0])))
        return values

    def _items_of(self, node: MapNode) -> list[_Item]:
        """Return all items; none if it is not known what they are."""
        if node not in self._items:
            self._items[node] = []
            if self.finished.issuperset(self._graph.predecessors(node)):
                with suppress(Exception):  # nipype runs a node whose files cannot be read
                    node._get_inputs()
                    node._check_iterfield()
                    self._items[node] = [(item, _outputs(item)) for _, item in node._make_nodes()]
        return self._items[node]


def _outputs(item: Node) -> Any:
    with suppress(Exception):  # as in `_items_of`
        if has_result(item):
            return item.result.outputs
    return None
