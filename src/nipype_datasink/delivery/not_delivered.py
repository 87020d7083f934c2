"""List what was not delivered in a file in a node's directory.

nipype passes on only the text of an error, and that does not name each of thousands of files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from nipype_datasink.delivery.manifest import escape
from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.planning.sources import Problem

FILE_NAME = "not_delivered.tsv"
_HEADER = ("destination", "status", "cause")


def write_list(
    directory: str | None, outcomes: Sequence[Outcome], missing: Sequence[Problem]
) -> str | None:
    """Write what was not delivered, a line each: destination, status and cause.

    Parameters
    ----------
    directory
        Directory of the node; None writes nothing.
    outcomes, missing
        Results of all files, and sources that do not exist. Of these, no destination is named.

    Returns
    -------
    str
        Path of the list; None if it could not be written, as on a full disk.
    """
    if directory is None:
        return None
    rows = [
        (outcome.transfer.destination, outcome.status.value, str(outcome.cause))
        for outcome in outcomes
        if not outcome.status.arrived
    ]
    rows += [("", "missing", str(problem)) for problem in missing]
    path = os.path.join(directory, FILE_NAME)
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.writelines("\t".join(map(escape, row)) + "\n" for row in (_HEADER, *rows))
    except OSError:
        remove_list(directory)
        return None
    return path


def remove_list(directory: str | None) -> None:
    """Remove the list of an earlier run."""
    if directory is not None:
        with suppress(OSError):
            os.unlink(os.path.join(directory, FILE_NAME))
