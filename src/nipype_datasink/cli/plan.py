"""Define the command that shows where a pipeline will write its outputs."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from nipype_datasink.cli.examination import examine_program, json_option, report
from nipype_datasink.cli.programs import (
    ProgramCommand,
    configure_copies,
    program_argument,
    s3_copy_option,
)
from nipype_datasink.workflows.first_run import Report


@click.command(cls=ProgramCommand)
@click.option(
    "--compare",
    is_flag=True,
    help="Also show which files are new, replaced or unchanged, and which rules match nothing. "
    "This reads what is there, on disk or in S3.",
)
@s3_copy_option
@json_option
@program_argument
def plan(*, compare: bool, as_json: bool, copies: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Show where a pipeline will write its outputs, without running it.

    TARGET is the path of a script, '-m MODULE', or the name of an installed Python program. It
    runs with its ARGS until it runs its first workflow, and is stopped there. Write options of
    this command before TARGET.

    Names in {braces} are known when the node has run. The exit code is 1 if different files would
    have the same destination or if a sink would fail, and 2 if the command is used incorrectly.
    """
    configure_copies(copies)
    examine_program(words, partial(_plan, compare=compare, as_json=as_json), as_json=as_json)


def _plan(pipeline: Any, *, compare: bool, as_json: bool) -> Report:
    from nipype_datasink.workflows.plan import plan

    return report(partial(plan, pipeline, compare=compare), as_json=as_json)
