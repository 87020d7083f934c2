"""Define the command that verifies what manifests list."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from nipype_datasink.delivery.manifest import ManifestRow, checksum_lines, newest_rows
from nipype_datasink.errors import DataSinkError, ManifestError


@click.command()
@click.option("--endpoint-url", "s3_endpoint_url", metavar="URL", help="Address of an S3 store.")
@click.option("--creds-path", metavar="FILE", help="File with an access key.")
@click.option("--profile", "s3_profile", metavar="NAME", help="Profile in AWS's configuration.")
@click.option("--region", "s3_region", metavar="NAME", help="AWS region.")
@click.option(
    "--download",
    is_flag=True,
    help="Read the objects in S3 and compare their SHA-256, not only their sizes and ETags.",
)
@click.option(
    "--sums",
    is_flag=True,
    help="Verify nothing, but print lines for 'sha256sum --check', relative to the base directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def verify(
    *, download: bool, sums: bool, as_json: bool, paths: tuple[str, ...], **options: str | None
) -> None:
    """Find out whether delivered files are still there and unchanged.

    PATH is a manifest or a directory of manifests (the sink's input sink_manifest_dir), on disk or
    in S3. Files on disk are compared by size and SHA-256, objects in S3 by size and ETag.

    The exit code is 1 if a file is changed, missing or not readable, and 2 if the command is used
    incorrectly.
    """
    if sums and (download or as_json):
        raise click.UsageError("--sums verifies nothing: use it without --download and --json")
    from nipype_datasink.manifest_verification import read_manifests, verify_manifests

    _log_to_standard_error()
    inputs: dict[str, Any] = {name: value for name, value in options.items() if value}
    try:
        manifests = read_manifests(paths, inputs)
        if sums:
            _print_sums(manifests)
            return
        report = verify_manifests(manifests, inputs, download=download)
    except ManifestError as error:
        raise click.UsageError(str(error)) from error
    except DataSinkError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else str(report))
    click.get_current_context().exit(0 if report.ok else 1)


def _print_sums(manifests: Sequence[Sequence[ManifestRow]]) -> None:
    """Print a line for each file below the base directory that the manifests share.

    Raises
    ------
    ManifestError
        If they have different base directories.
    """
    bases = sorted({rows[0].base for rows in manifests if rows})
    if len(bases) > 1:
        raise ManifestError(
            f"these manifests have different base directories ({', '.join(bases)}), and paths are "
            "relative to one; name the manifests of one base directory"
        )
    for line in checksum_lines(newest_rows(manifests)):
        click.echo(line.encode("utf-8", "surrogateescape"), nl=False)


def _log_to_standard_error() -> None:
    """Let no log line get into the output; nipype logs to standard output."""
    for handler in logging.getLogger("nipype").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
