"""Guessing what somebody meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["likely_input"]

_LIKENESS = 0.85  # of difflib; nearer 1 is more alike


def likely_input(field: str, inputs: Collection[str]) -> str | None:
    """Return the input of the sink that `field` looks like a misspelling of, if any.

    Examples
    --------
    >>> likely_input("base_dir", ["base_directory", "container"])
    'base_directory'
    >>> likely_input("motion", ["base_directory", "container"]) is None
    True
    """
    if "." in field or "@" in field:  # nobody means an input by that
        return None
    for name in inputs:
        if "_" in field and name.startswith(field):
            return name
    return next(iter(difflib.get_close_matches(field, inputs, n=1, cutoff=_LIKENESS)), None)
