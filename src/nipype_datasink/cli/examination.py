"""Examine a program's first workflow, and print what was found."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TextIO

import click

from nipype_datasink.errors import DataSinkError
from nipype_datasink.workflows.first_run import (
    Examine,
    FirstRun,
    Report,
    examine_first_run,
    failure,
)
from nipype_datasink.workflows.program import find_program

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document. What the pipeline prints goes to standard error.",
)


class _NothingRunError(click.ClickException):
    """The program ran no workflow and no sink."""

    exit_code = 2


class Findings(Protocol):
    """What is found out about a workflow; `str` shows it."""

    @property
    def ok(self) -> bool:
        """Whether nothing would fail."""

    def as_json(self) -> dict[str, Any]:
        """Return the findings as values for `json.dumps`."""


def report(
    find: Callable[[], Findings], *, as_json: bool, show: Callable[[Any], str] = str
) -> Report:
    """Return what `find` returns as text by `show`, and the exit code of the command."""
    try:
        findings = find()
    except DataSinkError as error:
        return Report(error=str(error), exit_code=1)
    except Exception as error:  # noqa: BLE001 - of nipype, or of the functions of the pipeline
        return failure(error)
    text = json.dumps(findings.as_json(), indent=2) if as_json else show(findings)
    return Report(text=text, exit_code=0 if findings.ok else 1)


def examine_program(words: Sequence[str], examine: Examine, *, as_json: bool) -> None:
    """Examine the first workflow or sink that a program runs; print the report, and exit.

    Parameters
    ----------
    words
        The program and its arguments.
    examine
        See `examine_first_run`.
    as_json
        Whether standard output is to contain the report only. Everything else goes to standard
        error then.
    """
    program = find_program(words)
    output = _separate_standard_output() if as_json else sys.stdout
    first = examine_first_run(
        program, examine, partial(_print, output=output, notes=sys.stderr if as_json else output)
    )
    if first is None:
        raise _NothingRunError(
            f"{shlex.join(words)} ended, but did not run a workflow or a sink; does it need other "
            "arguments?"
        )
    sys.exit(first.report.exit_code)


def _print(first: FirstRun, *, output: TextIO, notes: TextIO) -> None:
    report = first.report
    if report.error:
        _echo(f"Error: {report.error}", sys.stderr)
    if report.text:
        _echo(report.text, output)
    _echo(f"stopped at {first.place}; workflows after it were not seen", notes)


def _echo(text: str, stream: TextIO) -> None:
    """Write a line; nothing from now on if the reader of the stream, such as ``head``, has ended.

    Otherwise the program would see the error, and so would Python when it flushes at its end.
    """
    try:
        click.echo(text, file=stream)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _separate_standard_output() -> TextIO:
    """Return standard output; what is printed from now on goes to standard error.

    Programs that the pipeline starts inherit the descriptor, so it is redirected, and not only
    `sys.stdout`. It is not restored, because functions of `atexit` print later.
    """
    sys.stdout.flush()
    encoding = sys.stdout.encoding
    output = open(os.dup(1), "w", encoding=encoding, errors="backslashreplace")  # noqa: SIM115
    os.dup2(2, 1)
    return output
