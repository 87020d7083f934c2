"""Guessing what somebody meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["likely_input"]

_LIKENESS = 0.8  # of difflib; nearer 1 is more alike
_SHORTEST_BEGINNING = 6  # letters


def likely_input(field: str, inputs: Collection[str]) -> str | None:
    """Return the input of the sink that `field` looks like a misspelling of, if any.

    Examples
    --------
    >>> likely_input("base_dir", ["base_directory", "container"])
    'base_directory'
    >>> likely_input("motion", ["base_directory", "container"]) is None
    True
    """
    for name in inputs:
        if len(field) >= _SHORTEST_BEGINNING and name.startswith(field):
            return name
    return next(iter(difflib.get_close_matches(field, inputs, n=1, cutoff=_LIKENESS)), None)
