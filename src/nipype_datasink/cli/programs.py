"""Define commands whose arguments are a program and the arguments of the program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from nipype_datasink.errors import SettingsError
from nipype_datasink.workflows.program import Program, ProgramError, find_program
from nipype_datasink.workflows.script import run_program


class ProgramCommand(click.Command):
    """A command whose arguments are a program and the arguments of the program.

    Options after the name of the program are the program's. ``-m`` is not an option, but part of
    the name.
    """

    allow_interspersed_args = False
    ignore_unknown_options = True

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end with exit code 2 if there is no such program."""
        process, names = os.getpid(), _misplaced_options(ctx)
        try:
            return super().invoke(ctx)
        except ProgramError as error:
            names = []
            raise click.UsageError(str(error), ctx) from None
        finally:
            # At the end, where a long output does not hide it. The program may have forked.
            if names and os.getpid() == process:
                click.echo(
                    f"note: {', '.join(names)}: an argument of the program here; write options of "
                    f"'{ctx.command_path}' before the target",
                    err=True,
                )


def _misplaced_options(ctx: click.Context) -> list[str]:
    """Return options that the command has but did not get, and the program got."""
    not_given = [
        name
        for each in ctx.command.params
        if isinstance(each, click.Option)
        and ctx.get_parameter_source(each.name or "") is ParameterSource.DEFAULT
        for name in each.opts
    ]
    return [name for name in not_given if name in ctx.params["words"][1:]]


program_argument = click.argument(
    "words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="TARGET [ARGS]..."
)

s3_copy_option = click.option(
    "--s3-copy",
    "copies",
    multiple=True,
    metavar="DIR=s3://BUCKET/PREFIX",
    help="Also copy to S3 what sinks deliver to the directory DIR: DIR/folder/file goes to "
    "PREFIX/folder/file. Repeat it for other directories; the innermost one counts.",
)


@click.command(cls=ProgramCommand)
@click.option(
    "--missing",
    type=click.Choice(["error", "skip"]),
    help="What sinks do if sources do not exist: fail after everything else is delivered, or only "
    "log a warning. A value that the pipeline sets itself takes precedence.",
)
@s3_copy_option
@program_argument
def run(*, missing: str | None, copies: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Run a pipeline with this DataSink instead of nipype's.

    TARGET is the path of a script, '-m MODULE', or the name of an installed Python program. It
    runs with its ARGS as Python runs it. Write options of this command before TARGET.

    Jobs of a batch system also use this DataSink. But if the pipeline defines a subclass of
    nipype's DataSink, the module of the subclass must call nipype_datasink.install(), because such
    jobs import it in a new process.
    """
    from nipype_datasink.configuration import configure

    configure_copies(copies)
    program = find_program(words)
    if missing:
        configure("sink_missing", missing)
    if _has_copies():
        _run_and_warn(program)
    else:
        run_program(program)


def _has_copies() -> bool:
    """Return whether any directory is copied to S3, by the command or nipype's configuration."""
    from nipype_datasink.configuration import copied_directories
    from nipype_datasink.display import escaped

    try:
        return bool(copied_directories())
    except SettingsError as error:
        # Sinks may run hours later, and those with a base directory in S3 ignore the option.
        click.echo(escaped(f"warning: {error}"), err=True)
        return False


def _run_and_warn(program: Program) -> None:
    """Run a program; at its end, name the directories that contain no sink's base directory."""
    from nipype_datasink.display import escaped
    from nipype_datasink.workflows.unused_copies import recorded_sinks

    process = os.getpid()
    with recorded_sinks() as unused:
        has_ended = False
        try:
            run_program(program)
            has_ended = True
        finally:
            # A program that fails or exits may not have come to its sinks; it may have forked, too.
            if os.getpid() == process and (has_ended or unused.has_sinks):
                for text in unused.describe():
                    click.echo(escaped(f"warning: {text}"), err=True)


def configure_copies(copies: Sequence[str]) -> None:
    """Set the values of ``--s3-copy`` in nipype's configuration, with absolute paths.

    Raises
    ------
    UsageError
        If one of them is not valid.
    """
    from nipype_datasink.configuration import configure
    from nipype_datasink.planning.s3_copy import parse_copied_directories

    try:
        found = parse_copied_directories(
            "\n".join(copies), "--s3-copy", working_directory=os.getcwd()
        )
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if found:
        configure("s3_copy", "\n".join(map(str, found)))
