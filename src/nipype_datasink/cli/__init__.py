"""Define the command ``nipype-datasink``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from nipype_datasink.cli.check import check
from nipype_datasink.cli.plan import plan
from nipype_datasink.cli.programs import run
from nipype_datasink.cli.salvage import salvage
from nipype_datasink.cli.verify import verify
from nipype_datasink.workflows.script import Interrupted


class _Command(click.Group):
    """A group of commands that ends by SIGINT, as Python does, after Ctrl-C.

    Click would exit with code 1 instead, which has another meaning here, and a shell script or loop
    around the command would continue with its next command.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; let no `KeyboardInterrupt` reach click."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            if not interrupt.args:  # else how far it came was logged
                click.echo("interrupted", err=True)
            raise Interrupted from None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, and let a `KeyboardInterrupt` end the process."""
        try:
            return super().main(*args, **kwargs)
        except Interrupted:
            sys.excepthook = lambda *_: None  # what there is to say was already printed
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


for _command in (run, plan, check, salvage, verify):
    main.add_command(_command)
