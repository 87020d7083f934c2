"""Define the command that checks whether the places of a pipeline would accept its files."""

from __future__ import annotations

import os
import re
import shutil
import sys
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
from nipype_datasink.delivery.check_report import COLUMNS, CheckReport
from nipype_datasink.workflows.first_run import Report
from nipype_datasink.workflows.program import ProgramError

# Options for a store, by the inputs of a sink that they stand for.
_OPTIONS = {
    "s3_endpoint_url": "--endpoint-url",
    "creds_path": "--creds-path",
    "s3_profile": "--profile",
    "s3_region": "--region",
    "encrypt_bucket_keys": "--encrypt",
}


class _CheckCommand(ProgramCommand):
    """A command whose options may also follow an address or a directory."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; after a place, they are options of this command."""
        words = list(args)
        rest = super().parse_args(ctx, args)
        place, *others = ctx.params["words"] or ("",)
        if others and _is_place(place):
            ctx.allow_interspersed_args = True
            rest = super().parse_args(ctx, words)
        return rest


@click.command(cls=_CheckCommand)
@click.option("--endpoint-url", "s3_endpoint_url", metavar="URL", help="Address of an S3 store.")
@click.option("--creds-path", metavar="FILE", help="File with an access key.")
@click.option("--profile", "s3_profile", metavar="NAME", help="Profile in AWS's configuration.")
@click.option("--region", "s3_region", metavar="NAME", help="AWS region.")
@click.option(
    "--encrypt", "encrypt_bucket_keys", is_flag=True, help="Ask S3 to encrypt objects (AES256)."
)
@click.option(
    "--write-object",
    is_flag=True,
    help="Write an object to S3, and delete it. Otherwise an upload is begun and aborted.",
)
@s3_copy_option
@json_option
@program_argument
def check(
    *,
    write_object: bool,
    as_json: bool,
    copies: tuple[str, ...],
    words: tuple[str, ...],
    **options: Any,
) -> None:
    """Check whether the places of a pipeline will accept its files.

    TARGET is an s3:// address, a directory (which need not exist, but write './name' then), the
    path of a script, '-m MODULE', or the name of an installed Python program. A program runs with
    its ARGS until it runs its first workflow, and is stopped there. Write options of this command
    before TARGET.

    The options for a store are allowed with an address only, because a sink has inputs for them.
    The exit code is 1 if a sink would fail, and 2 if the command is used incorrectly.
    """
    given = {name: value for name, value in options.items() if value}
    target, *others = words
    if _is_place(target):
        if copies:
            raise click.UsageError(f"--s3-copy: only with a program, and {target!r} is a place")
        _check_arguments(target, others, given, write_object=write_object)
        found = _check_place(target, given, write_object=write_object, as_json=as_json)
        click.echo(found.text or f"Error: {found.error}", err=bool(found.error))
        click.get_current_context().exit(found.exit_code)
    if given:
        raise click.UsageError(f"{_names(given)}: only with an address; a sink has inputs for this")
    configure_copies(copies)
    examine = partial(_check_pipeline, write_object=write_object, as_json=as_json)
    try:
        examine_program(words, examine, as_json=as_json)
    except ProgramError as error:
        raise ProgramError(f"{error}{_other_targets(target)}") from None


def _is_place(word: str) -> bool:
    """Return whether a target is an address or a directory, which a run may have to make first."""
    return (
        "://" in word
        or os.path.isdir(word)
        or word.endswith(os.sep)
        # Also what a shell or os.path has made of an address, such as "s3:/mybucket".
        or (os.sep in word and not os.path.exists(word) and not word.endswith(".py"))
    )


def _check_arguments(
    place: str, others: list[str], given: dict[str, Any], *, write_object: bool
) -> None:
    """Raise an error for arguments that a place does not take."""
    from nipype_datasink.workflows.check import is_directory

    directory = is_directory(place)
    if others and others[0].startswith("-"):
        raise click.UsageError(f"no such option: {others[0]}")
    if others:
        kind = "a directory" if directory else "an address"
        raise click.UsageError(f"{kind} takes no arguments: unexpected argument {others[0]!r}")
    if directory and (given or write_object):
        names = _names(given, *["--write-object"] * write_object)
        raise click.UsageError(f"{names}: only with an s3:// address, and {place!r} is a directory")


def _names(given: dict[str, Any], *others: str) -> str:
    return ", ".join([*(_OPTIONS[name] for name in given), *others])


def _other_targets(word: str) -> str:
    """Return what else the user may have meant by a word that names no program."""
    if word.startswith("-"):
        return ""
    simple = re.fullmatch(r"[\w.-]+", word)
    address, directory = (f"s3://{word}", f"./{word}") if simple else ("s3://bucket", f"{word}/")
    return f". To check a place, write an address, {address!r}, or a directory, {directory!r}"


def _check_place(
    place: str, inputs: dict[str, Any], *, write_object: bool, as_json: bool
) -> Report:
    from nipype_datasink.workflows.check import check_place

    find = partial(check_place, place, inputs, write_object=write_object, names=_OPTIONS)
    return report(find, as_json=as_json, show=_show)


def _check_pipeline(pipeline: Any, *, write_object: bool, as_json: bool) -> Report:
    from nipype_datasink.workflows.check import check

    find = partial(check, pipeline, write_object=write_object)
    return report(find, as_json=as_json, show=_show)


def _show(findings: CheckReport) -> str:
    """Return the text of a report, which is wider than 80 columns if the terminal is."""
    terminal = shutil.get_terminal_size().columns if sys.stdout.isatty() else COLUMNS
    return findings.as_text(max(COLUMNS, terminal))
