"""Define the command that delivers what a pipeline has computed before it failed."""

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
@s3_copy_option
@json_option
@program_argument
def salvage(*, as_json: bool, copies: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Deliver what a pipeline has computed before it failed.

    TARGET is the path of a script, '-m MODULE', or the name of an installed Python program. It
    runs with its ARGS, which must be those of the failed run, until it runs its first workflow,
    and is stopped there. Write options of this command before TARGET.

    No node runs, and the working directory does not change. A later run of the pipeline delivers
    the rest. The exit code is 1 if anything could not be delivered, and 2 if the command is used
    incorrectly.
    """
    configure_copies(copies)
    examine_program(words, partial(_salvage, as_json=as_json), as_json=as_json)


def _salvage(pipeline: Any, *, as_json: bool) -> Report:
    from nipype_datasink.workflows.salvage import salvage_sinks

    return report(partial(salvage_sinks, pipeline), as_json=as_json)
