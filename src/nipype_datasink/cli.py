"""The command ``nipype-datasink``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from nipype_datasink.workflows.script import Interrupted, run_script

__all__ = ["main"]


class _Command(click.Group):
    """Ends as Python does where Ctrl-C has ended a script: by SIGINT, after all else is cleaned up.

    A shell that runs several commands goes on after one that exits with a code. Click exits.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command."""
        try:
            return super().main(*args, **kwargs)
        except Interrupted:
            sys.excepthook = lambda *_: None  # the traceback is written already
            raise KeyboardInterrupt from None


@click.group(cls=_Command)
@click.version_option(package_name="nipype-datasink")
def main() -> None:
    """Put pipeline outputs where they belong, on disk or in S3."""


@main.command()
@click.option(
    "--to",
    metavar="s3://BUCKET/PREFIX",
    help="Sink into a bucket of your own. Without it, into one that is made up on this machine.",
)
@click.option("--endpoint-url", metavar="URL", help="Address of an S3-compatible store.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the working directory and the local copy here; otherwise they are temporary.",
)
def demo(to: str | None, endpoint_url: str | None, directory: Path | None) -> None:
    """Run a real workflow on real images into S3, twice."""
    if endpoint_url and not to:
        raise click.UsageError("--endpoint-url needs --to, the bucket at that address")
    try:
        from nipype_datasink.demo.run import run_demo
    except ImportError as error:
        raise click.ClickException(
            f"{error}; install what the demonstration needs: pip install 'nipype-datasink[demo]'"
        ) from error
    run_demo(to, directory=directory, endpoint_url=endpoint_url)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--missing",
    type=click.Choice(["error", "skip"]),
    help="What sinks do where sources do not exist: fail after everything else is delivered, or "
    "only warn. What the pipeline itself sets wins. Options stand before SCRIPT.",
)
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(missing: str | None, script: str, arguments: tuple[str, ...]) -> None:
    """Run a pipeline's SCRIPT with this DataSink in the place of nipype's.

    It runs as `python SCRIPT ARGUMENTS...` would. Jobs of a batch system get the sinks of its
    nodes as they are; classes that it derives from nipype's have their own module to be imported
    there, which has to call nipype_datasink.install().
    """
    from nipype_datasink.configuration import configure

    if missing:
        configure("sink_missing", missing)
    run_script(script, arguments)
