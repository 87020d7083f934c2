"""Turn the values of the sink's inputs into paths of sources."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from traits.trait_base import Undefined

from nipype_datasink.display import escaped
from nipype_datasink.planning.places import absolute_path


@dataclass(frozen=True, slots=True)
class Source:
    """One path in an input of the sink."""

    field: str
    """Name of the input."""

    path: str
    """Absolute and normalised."""

    is_bare_text: bool = False
    """Whether it was given as text without a slash and without a dot. If no such file exists, it is
    not an output but an identifier: some pipelines connect those of subjects and groups."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Reason why a value or path cannot be delivered."""

    field: str
    """Name of the input."""

    value: str
    """The path or value, as shown to the user."""

    reason: str
    """Reason, as the rest of a sentence that starts with `value`."""

    missing: bool = False
    """Whether the path, or the file it links to, does not exist."""

    def __str__(self) -> str:
        return escaped(f"{self.field}: {self.value} {self.reason}")


def flatten(
    fields: Mapping[str, object], *, directory: str = ""
) -> tuple[list[Source], list[Problem]]:
    """Return the paths in the values of the sink's inputs, in order, and those that are not valid.

    Parameters
    ----------
    fields
        Input names and their values: text, `os.PathLike` or nested containers of them. None and
        Undefined are ignored at any depth.
    directory
        Absolute directory that relative paths are below; empty for the current one.
    """
    sources: list[Source] = []
    problems: list[Problem] = []
    for field, value in fields.items():
        for leaf in _leaves(value):
            try:
                sources.append(Source(field, _path(leaf, directory), _is_bare_text(leaf)))
            except ValueError as error:
                problems.append(Problem(field, repr(leaf), str(error)))
    return sources, problems


def _leaves(value: object) -> Iterator[object]:
    """Yield the values in nested containers, and those that `_path` rejects."""
    if value is None or value is Undefined:
        return
    single = isinstance(value, (str, bytes, os.PathLike, Mapping, Iterator))
    if single or hasattr(value, "read") or not isinstance(value, Iterable):
        yield value
        return
    try:
        items = iter(value)
    except TypeError:  # a NumPy array without dimensions has `__iter__`, but cannot be iterated
        yield value
        return
    for item in items:
        yield from _leaves(item)


def _is_bare_text(leaf: object) -> bool:
    return isinstance(leaf, str) and "/" not in leaf and "." not in leaf


def _path(leaf: object, directory: str) -> str:
    """Return the absolute path that a value stands for.

    Raises
    ------
    ValueError
        If it is not a path that can be delivered; the message is the reason.
    """
    if hasattr(leaf, "read") and not isinstance(leaf, os.PathLike):
        raise ValueError("is an open file; give its path")
    if isinstance(leaf, Iterator):
        raise ValueError("can be read only once; make it a list")
    path = os.fspath(leaf) if isinstance(leaf, (str, os.PathLike)) else None
    if not isinstance(path, str):
        kind = type(leaf).__name__
        article = "an" if kind[0] in "aeiouAEIOU" else "a"
        raise ValueError(f"is {article} {kind}, not a path")
    if not path:
        raise ValueError("is empty text, which would sink the whole working directory")
    if "\0" in path:
        raise ValueError("contains a NUL character")
    path = absolute_path(os.path.join(directory, path))
    if path == "/":
        raise ValueError("is the root of the file system")
    return path
