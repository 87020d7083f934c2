"""Define the command ``nipype-datasink``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from nipype_datasink.workflows.program import ProgramError, find_program
from nipype_datasink.workflows.script import ScriptInterrupted, run_program


class _Command(click.Group):
    """A group of commands that ends by SIGINT, as Python does, if Ctrl-C ended a script.

    Click would exit with a code instead. A shell script or loop around the command would then
    continue with its next command.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, and let a `KeyboardInterrupt` end the process."""
        try:
            return super().main(*args, **kwargs)
        except ScriptInterrupted:
            sys.excepthook = lambda *_: None  # the traceback was already printed
            raise KeyboardInterrupt from None


@click.group(cls=_Command)
@click.version_option(package_name="nipype-datasink")
def main() -> None:
    """Copy the outputs of nipype pipelines to a directory or to S3."""


@main.command()
@click.option(
    "--to",
    metavar="s3://BUCKET/PREFIX",
    help="Write to this bucket. Without it, the demo starts a temporary S3 server on this machine.",
)
@click.option("--endpoint-url", metavar="URL", help="Address of an S3-compatible store.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the working directory and the local copy here. Without it, they are temporary.",
)
def demo(to: str | None, endpoint_url: str | None, directory: Path | None) -> None:
    """Run a workflow on real images twice, and write its outputs to S3."""
    if endpoint_url and not to:
        raise click.UsageError("--endpoint-url needs --to, the bucket at this address")
    try:
        from nipype_datasink.demo.run import run_demo
    except ImportError as error:
        raise click.ClickException(
            f"{error}; install the packages of the demo: pip install 'nipype-datasink[demo]'"
        ) from error
    run_demo(to, directory=directory, endpoint_url=endpoint_url)


class _ProgramCommand(click.Command):
    """A command whose arguments are a program and the arguments of the program."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; end with exit code 2 if there is no such program."""
        try:
            return super().invoke(context)
        except ProgramError as error:
            raise click.UsageError(str(error), context) from None


# Options after the name of the program are the program's. "-m" is no option, but part of the name.
_PROGRAM_SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
_program = click.argument(
    "words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="TARGET [ARGS]..."
)


@main.command(cls=_ProgramCommand, context_settings=_PROGRAM_SETTINGS)
@click.option(
    "--missing",
    type=click.Choice(["error", "skip"]),
    help="What sinks do if sources do not exist: fail after everything else is delivered, or only "
    "log a warning. A value that the pipeline sets itself takes precedence.",
)
@_program
def run(missing: str | None, words: tuple[str, ...]) -> None:
    """Run a pipeline with this DataSink instead of nipype's.

    TARGET is the path of a script, '-m MODULE', or the name of an installed Python program. It
    runs with its ARGS as Python runs it. Write options of this command before TARGET.

    Jobs of a batch system also use this DataSink. But if the pipeline defines a subclass of
    nipype's DataSink, the module of the subclass must call nipype_datasink.install(), because such
    jobs import it in a new process.
    """
    from nipype_datasink.configuration import configure

    program = find_program(words)
    if missing:
        configure("sink_missing", missing)
    run_program(program)
