"""Define the command that checks whether the places of a pipeline would accept its files."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from nipype_datasink.cli.examination import examine_program, json_option, report
from nipype_datasink.cli.programs import ProgramCommand, program_argument
from nipype_datasink.workflows.first_run import Report


class _CheckCommand(ProgramCommand):
    """A command whose options may also follow an address."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; after an address, they are options of this command."""
        words = list(args)
        rest = super().parse_args(ctx, args)
        address, *others = ctx.params["words"] or ("",)
        if others and _is_address(address):
            own = words[: len(words) - len(others) - 1]
            rest = super().parse_args(ctx, [*own, *others, address])
        return rest


@click.command(cls=_CheckCommand)
@click.option("--endpoint-url", metavar="URL", help="Address of an S3-compatible store.")
@click.option("--creds-path", metavar="FILE", help="File with an access key.")
@click.option("--profile", metavar="NAME", help="Profile in AWS's configuration files.")
@click.option("--region", metavar="NAME", help="AWS region.")
@click.option("--encrypt", is_flag=True, help="Ask S3 to encrypt objects (AES256).")
@click.option(
    "--write-object",
    is_flag=True,
    help="Write an object, and delete it. Otherwise an upload is begun and aborted.",
)
@json_option
@program_argument
def check(*, write_object: bool, as_json: bool, words: tuple[str, ...], **options: Any) -> None:
    """Check whether the places of a pipeline will accept its files.

    TARGET is an s3:// address, a directory (with '/' at its end if it does not exist), the path of
    a script, '-m MODULE', or the name of an
    installed Python program. A program runs with its ARGS until it runs its first workflow, and is
    stopped there. Write options of this command before TARGET.

    The options for a store are allowed with an address only, because a sink has inputs for them.
    The exit code is 1 if a sink would fail, and 2 if the command is used incorrectly.
    """
    examine = partial(_check, write_object=write_object, as_json=as_json)
    given = {name: value for name, value in options.items() if value}
    if not _is_address(words[0]):
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise click.UsageError(f"{names}: only with an address; a sink has inputs for this")
        _check_exists(words[0])
        examine_program(words, examine, as_json=as_json)
        return
    address, *others = words
    if others:
        raise click.UsageError(f"unexpected argument {others[0]!r} beside the address {address!r}")
    found = examine(address, **given)
    click.echo(found.text or f"Error: {found.error}", err=bool(found.error))
    click.get_current_context().exit(found.exit_code)


def _is_address(word: str) -> bool:
    """Return whether a target is an S3 address or a directory; a run may have to make it first."""
    return "://" in word or os.path.isdir(word) or word.endswith(os.sep)


def _check_exists(word: str) -> None:
    """Raise an error for a path of nothing: it may be meant as a script or as a directory."""
    if os.sep in word and not os.path.lexists(word):
        raise click.UsageError(
            f"{word!r} does not exist; write the path of a script, or {word + os.sep!r} for a "
            "directory that a run will create"
        )


def _check(target: Any, *, write_object: bool, as_json: bool, **options: Any) -> Report:
    from nipype_datasink.workflows.check import check

    return report(partial(check, target, write_object=write_object, **options), as_json=as_json)
