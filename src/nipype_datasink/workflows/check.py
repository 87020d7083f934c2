"""Check whether the places that a workflow delivers to would accept its files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nipype_datasink.delivery.check_report import CheckReport, CheckStep, PlaceReport, StepVerdict
from nipype_datasink.delivery.setting_names import rename_settings
from nipype_datasink.display import escaped
from nipype_datasink.errors import DataSinkError, SettingsError
from nipype_datasink.interface import DataSink
from nipype_datasink.planning.addresses import parse_location, remove_passwords
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.sink_check import (
    PlaceCheck,
    check_places,
    place_checks,
    set_absolute_paths,
)
from nipype_datasink.workflows.graph import sink_runs
from nipype_datasink.workflows.sink_run import SinkRun
from nipype_datasink.workflows.unused_copies import describe_unused_copies

# Inputs without which a place, or the identity that is used there, is not known.
_NEEDED = (
    "base_directory",
    "bucket",
    "creds_path",
    "s3_endpoint_url",
    "s3_profile",
    "s3_region",
    "s3_upload_args",
    "encrypt_bucket_keys",
)

# What a report names in place of the inputs of a sink, where an address is checked.
_ARGUMENTS = {
    "s3_endpoint_url": "endpoint_url",
    "s3_profile": "profile",
    "s3_region": "region",
    "encrypt_bucket_keys": "encrypt",
}
_WITHOUT_SINK = {
    "base_directory": "the target",
    "of the sink": "address and options",
    "this sink": "this check",
}

# Without these, the place that is checked may be another one, or another is not checked.
_NOT_NEEDED = ("container", "local_copy", "s3_copy", "sink_manifest_dir")


def check(  # noqa: PLR0913 - the options of a store
    target: Any,
    *,
    endpoint_url: str | None = None,
    creds_path: str | None = None,
    profile: str | None = None,
    region: str | None = None,
    encrypt: bool = False,
    write_object: bool = False,
) -> CheckReport:
    """Find out whether the places that sinks deliver to would accept files.

    Nothing is run. No file is written to disk. S3 gets at most five requests for each different
    place and identity; they leave no object.

    Parameters
    ----------
    target
        A nipype workflow, a node, a sink; or a directory, which need not exist, or an ``s3://``
        address.
    endpoint_url
        Address of an S3-compatible store. This and the following four apply to an ``s3://`` address
        only; a sink has inputs for them.
    creds_path
        File with an access key.
    profile
        Profile in AWS's configuration files.
    region
        AWS region.
    encrypt
        Whether objects are to be encrypted by S3 (AES256).
    write_object
        Whether to write an object to S3, and to delete it. Otherwise an upload in parts is begun
        and aborted. Not with a directory.

    Returns
    -------
    CheckReport
        `print` shows it; ``ok`` tells whether a delivery would work.

    Raises
    ------
    TypeError
        If `target` is something else, or if options are given that it does not take: sinks have
        inputs of their own for them, and a directory needs none.
    """
    inputs = {
        "s3_endpoint_url": endpoint_url,
        "creds_path": creds_path,
        "s3_profile": profile,
        "s3_region": region,
        "encrypt_bucket_keys": encrypt or None,
    }
    given = {name: value for name, value in inputs.items() if value is not None}
    if isinstance(target, (str, os.PathLike)):
        return check_place(os.fspath(target), given, write_object=write_object, names=_ARGUMENTS)
    if given:
        raise TypeError(f"set {', '.join(given)} of the sinks; options go with an address only")
    runs = list(sink_runs(target))
    warnings = describe_unused_copies(runs)  # first, because a check makes directories absolute
    checks = (each for run in runs for each in _checks_of(run, write_object=write_object))
    return replace(check_places(checks), warnings=warnings)


def check_place(
    place: str, inputs: Mapping[str, Any], *, write_object: bool, names: Mapping[str, str]
) -> CheckReport:
    """Check an address or a directory without a sink.

    Parameters
    ----------
    place
        An ``s3://`` address, or a directory, which need not exist.
    inputs
        Inputs of a sink, which decide how the store is reached.
    write_object
        Whether to write an object to S3, and to delete it.
    names
        Names of these inputs for the user.

    Raises
    ------
    TypeError
        If the place is a directory, and options are given that only S3 has.
    """
    options = [*(names.get(name, name) for name in inputs), *["write_object"] * write_object]
    if options and is_directory(place):
        raise TypeError(f"{', '.join(options)}: only with an s3:// address, not with a directory")
    names = {**names, **_WITHOUT_SINK}
    try:
        sink = DataSink(base_directory=place, **inputs)
    except SettingsError as error:
        step = CheckStep(
            name="settings", text="of the sink", verdict=StepVerdict.FAILED, advice=str(error)
        )
        report = PlaceReport(place=remove_passwords(place), steps=(step,))
        return CheckReport((rename_settings(report, names),))
    return check_places(
        place_checks(sink, directory=os.getcwd(), write_object=write_object, setting_names=names)
    )


def is_directory(place: str) -> bool:
    """Return whether a place is a directory on disk; not if it is an address that is not valid."""
    try:
        return isinstance(parse_location(place), LocalDirectory)
    except DataSinkError:
        return False


def _checks_of(run: SinkRun, *, write_object: bool) -> Iterator[PlaceCheck]:
    if run.error:
        yield _failed(run)
    missing = [name for name in _NEEDED if name in run.unknown]
    if missing:
        yield _unknown(run, missing)
        return
    set_absolute_paths(run.interface, run.directory)
    unknown = [_origin(run, name) for name in _NOT_NEEDED if name in run.unknown]
    for each in place_checks(
        run.interface, directory=run.directory, write_object=write_object, name=run.name
    ):
        yield replace(each, not_known=(*each.not_known, *unknown))


def _failed(run: SinkRun) -> PlaceCheck:
    """Return what stands for inputs that cannot be set."""
    step = CheckStep(
        name="inputs", text=f"of {run}", verdict=StepVerdict.FAILED, advice=escaped(run.error)
    )
    return _without_requests(run, step, run.error)


def _unknown(run: SinkRun, inputs: list[str]) -> PlaceCheck:
    """Return what stands for a place that is known only when another node has run."""
    nodes = [_origin(run, name) for name in inputs]
    step = CheckStep(
        name="not checked",
        text=f"known when the workflow runs: {', '.join(nodes)}",
        verdict=StepVerdict.UNKNOWN,
    )
    return _without_requests(run, step, *nodes)


def _without_requests(run: SinkRun, step: CheckStep, *key: str) -> PlaceCheck:
    report = PlaceReport(place=run.name, steps=(step,))
    return PlaceCheck(
        key=(run.name, *key), place=run.name, base=run.name, check=lambda: report, sink=run.name
    )


def _origin(run: SinkRun, name: str) -> str:
    """Return an input and the outputs of nodes that it comes from."""
    return f"{name} ({' and '.join(each.name for each in run.unknown[name])})"
