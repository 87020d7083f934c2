"""What the sink's inputs name: files, directories and their companions, as they lie on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from traits.trait_base import Undefined

from nipype_datasink.display import escaped

__all__ = ["Problem", "Source", "flatten"]


@dataclass(frozen=True, slots=True)
class Source:
    """One path that an input of the sink names."""

    field: str
    """Name of the input."""

    path: str
    """Absolute, normalised."""

    is_bare_text: bool = False
    """Whether it was given as text without a slash and without a dot. If no file has that name, it
    is no output but an identifier, as pipelines connect those of subjects and groups."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something cannot be sunk."""

    field: str
    """Name of the input."""

    what: str
    """The path or value, as a person recognises it."""

    why: str
    """Reads on from `what`."""

    missing: bool = False
    """The path, or what it links to, does not exist."""

    def __str__(self) -> str:
        return escaped(f"{self.field}: {self.what} {self.why}")


def flatten(fields: Mapping[str, object]) -> tuple[list[Source], list[Problem]]:
    """Turn the values of the sink's inputs into paths, in order.

    Parameters
    ----------
    fields
        Input names and their values: text, `os.PathLike` or nested containers of them. None and
        Undefined stand for nothing, at any depth.
    """
    sources: list[Source] = []
    problems: list[Problem] = []
    for field, value in fields.items():
        for leaf in _leaves(value):
            try:
                sources.append(Source(field, _path(leaf), _is_bare_text(leaf)))
            except ValueError as error:
                problems.append(Problem(field, repr(leaf), str(error)))
    return sources, problems


def _leaves(value: object) -> Iterator[object]:
    if value is None or value is Undefined:
        return
    one = isinstance(value, (str, bytes, os.PathLike, Mapping, Iterator)) or hasattr(value, "read")
    if one or not isinstance(value, Iterable):
        yield value
        return
    try:
        items = iter(value)
    except TypeError:  # an array of no dimension
        yield value
        return
    for item in items:
        yield from _leaves(item)


def _is_bare_text(leaf: object) -> bool:
    return isinstance(leaf, str) and "/" not in leaf and "." not in leaf


def _path(leaf: object) -> str:
    """Return the absolute path that a value means.

    Raises
    ------
    ValueError
        Saying why it is none that can be sunk.
    """
    if hasattr(leaf, "read") and not isinstance(leaf, os.PathLike):
        raise ValueError("is an open file; give its path")
    if isinstance(leaf, Iterator):
        raise ValueError("can be read only once; make it a list")
    path = os.fspath(leaf) if isinstance(leaf, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise ValueError(f"is no path but {type(leaf).__name__}")
    if not path:
        raise ValueError("is empty text, which would sink the whole working directory")
    if "\0" in path:
        raise ValueError("holds a NUL character")
    path = os.path.abspath(path)
    if path in ("/", "//"):
        raise ValueError("is the root of the file system")
    return path
