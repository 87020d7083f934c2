"""Guess which input a user meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_MIN_SIMILARITY = 0.85  # ratio of difflib, from 0 to 1 (equal)


def likely_input(field: str, inputs: Collection[str]) -> str | None:
    """Return the input of the sink that `field` is probably a misspelling of, if any.

    Examples
    --------
    >>> likely_input("base_dir", ["base_directory", "container"])
    'base_directory'
    >>> likely_input("motion", ["base_directory", "container"]) is None
    True
    """
    if "." in field or "@" in field:  # the syntax of a destination, so an input is not meant
        return None
    for name in inputs:
        if "_" in field and name.startswith(field):
            return name
    return next(iter(difflib.get_close_matches(field, inputs, n=1, cutoff=_MIN_SIMILARITY)), None)
