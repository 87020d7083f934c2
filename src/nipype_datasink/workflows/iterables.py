"""Find the values of iterables that each run of a node has, to name the run by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from functools import cached_property
from typing import Any

from nipype.pipeline.engine import Node
from nipype.pipeline.engine import utils as engine

Values = tuple[tuple[str, str], ...]
"""Fields and their values, such as ``(("subject_id", "sub-01"),)``."""


class IterableNames:
    """The values of iterables that belong to each parameterization of a workflow's nodes.

    Parameters
    ----------
    nodes
        Nodes of the graph, before it is expanded.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._values: dict[str, Values] = {}  # in the order of the iterables
        for node in nodes:
            if node.iterables:
                for parameters in _expand(node):
                    self._values.setdefault(_directory_name(parameters), _as_text(parameters))

    def values(self, node: Node) -> Values:
        """Return the values of the iterables of an expanded node, the outermost first."""
        return tuple(
            value
            for name in node.parameterization
            for value in self._values.get(name, (("", name.lstrip("_")),))
        )

    def position(self, node: Node) -> list[int]:
        """Return a key that sorts the runs of a node as their iterables are."""
        return [self._positions.get(name, len(self._values)) for name in node.parameterization]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self._values)}


def label(values: Values) -> str:
    """Return the values of iterables as text.

    Examples
    --------
    >>> label((("subject_id", "sub-01"), ("run", "1")))
    'subject_id=sub-01,run=1'
    """
    return ",".join(f"{field}={value}" if field else value for field, value in values)


def _as_text(parameters: Mapping[str, Any]) -> Values:
    return tuple((field, str(value)) for field, value in sorted(parameters.items()))


def _directory_name(parameters: Mapping[str, Any]) -> str:
    """Return the name that nipype gives to the directory of these values (`_merge_graphs`)."""
    return "".join(
        f"_{engine._get_valid_pathstr(field)}_{engine._get_valid_pathstr(value)}"
        for field, value in sorted(parameters.items())
    )


def _expand(node: Node) -> Iterator[Mapping[str, Any]]:
    """Yield the values of a node's iterables, as nipype combines them."""
    standard = copy(node)  # nipype replaces the attribute of the node
    engine._standardize_iterables(standard)
    iterables = standard.iterables
    if not node.itersource:
        yield from engine.expand_iterables(iterables, node.synchronize)
        return
    # The values depend on those of another node, the keys of these dictionaries.
    for key in dict.fromkeys(key for _, lookup in iterables for key in lookup):
        functions = {
            field: lambda values=lookup[key]: values for field, lookup in iterables if key in lookup
        }
        yield from engine.expand_iterables(functions, node.synchronize)
