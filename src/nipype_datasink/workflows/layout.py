"""Lay out the plan of a workflow as text."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from nipype_datasink.display import escaped
from nipype_datasink.workflows.prediction import Prediction, SinkPlan

_WIDTH = 80  # columns
_MAX_SOURCE_WIDTH = 24  # columns; the destination of a longer source gets a line of its own


def lay_out(sinks: Sequence[SinkPlan]) -> Iterator[str]:
    """Yield the lines of all sinks; the runs of one sink are together."""
    for (name, bases), runs in groupby(sinks, key=lambda sink: (sink.run.name, sink.bases)):
        yield from _sink(name, bases, list(runs))


def _sink(name: str, bases: Sequence[str], runs: Sequence[SinkPlan]) -> Iterator[str]:
    base, *copies = bases or ("(not known)",)
    head = "".join([f"{name} -> {base}", *(f", copy in {copy}" for copy in copies)])
    count = f"{len(runs)} runs" if len(runs) > 1 else ""
    gap = max(2, _WIDTH - len(head) - len(count)) if count else 0
    yield escaped(f"{head}{' ' * gap}{count}")
    rows = [row for run in runs for row in run.predictions]
    layout = _Columns(rows)
    for run in runs:
        indent = "  "
        if run.run.label:
            yield escaped(f"{indent}{run.run.label}")
            indent *= 2
        for row in run.predictions:
            yield from layout.lines(row, indent)
        for text in run.ignored:
            yield escaped(f"{indent}ignored: {text} is not the name of a file")
        if not (run.predictions or run.ignored or run.error):
            yield f"{indent}nothing is set or connected"
    yield from _remarks(runs)


def _remarks(runs: Sequence[SinkPlan]) -> Iterator[str]:
    """Yield what is known of a sink as a whole."""
    if any(run.removes_others for run in runs):
        yield "  removes what else is in the folders that it delivers (remove_dest_dir)"
    if manifests := list(dict.fromkeys(filter(None, (run.manifest_directory for run in runs)))):
        yield escaped(f"  manifest in {_first_of(manifests)} (sink_manifest_dir)")
    if any(run.renames_unknown for run in runs):
        yield "  the substitutions will also apply to the names in braces"
    if any(row.hides_folders for run in runs for row in run.predictions):
        yield "  the substitutions may also change folders, which are part of the braces then"


def _first_of(directories: Sequence[str]) -> str:
    """Return the first; each run has its own if the input is relative to the node's directory."""
    first, *others = directories
    return f"{first} and {len(others):,} more" if others else first


class _Columns:
    """Width of the columns of one sink."""

    def __init__(self, rows: Iterable[Prediction]) -> None:
        rows = list(rows)
        self._field = max((len(row.field) for row in rows), default=0)
        sources = [len(_source(row)) for row in rows]
        self._source = max((size for size in sources if size <= _MAX_SOURCE_WIDTH), default=0)
        self._max_width = _max_width()

    def lines(self, row: Prediction, indent: str) -> Iterator[str]:
        """Yield the line of a prediction; a long source or destination has a line of its own."""
        width = len(indent) + self._field + self._source + 9
        note = f"  ({row.note})" if row.note else ""
        begin = f"{indent}{row.field:{self._field}}  <- {_source(row)}"
        if row.is_copy:
            begin = ""
        elif len(_source(row)) > self._source:
            yield escaped(begin)
            begin = ""
        destination = escaped(f"{row.destination}{note}")
        if width + len(destination) <= self._max_width:
            yield f"{escaped(begin):{width}}{destination}"
            return
        if begin:
            yield escaped(begin)
        yield f"{indent}    {destination}"


def _max_width() -> float:
    """Return the columns of the terminal; a longer line would break in the middle of a path."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return max(_WIDTH, shutil.get_terminal_size().columns) if is_terminal else math.inf


def _source(row: Prediction) -> str:
    return row.output or row.source
