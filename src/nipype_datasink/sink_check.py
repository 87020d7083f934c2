"""Check the places that sinks deliver to: each different place and identity once."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from nipype_datasink.configuration import explicit_value, read_options
from nipype_datasink.delivery.check_report import (
    CheckOptions,
    CheckReport,
    CheckStep,
    PlaceReport,
    StepVerdict,
)
from nipype_datasink.delivery.setting_names import rename_settings
from nipype_datasink.errors import DataSinkError
from nipype_datasink.manifests import manifest_target
from nipype_datasink.planning.location import Location, S3Prefix
from nipype_datasink.s3.access import AccessSettings
from nipype_datasink.s3.endpoint import (
    EndpointError,
    configured_endpoint,
    endpoint_variable,
    without_password,
)
from nipype_datasink.settings import Settings
from nipype_datasink.targets import local_targets

if TYPE_CHECKING:
    from nipype_datasink.delivery.local import LocalTarget
    from nipype_datasink.interface import DataSink
    from nipype_datasink.s3.target import S3Target

# Settings that decide how a store is reached, and what an upload asks for.
_IDENTITY = ("creds_path", "s3_endpoint_url", "s3_region", "s3_profile", "upload_args")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCheck:
    """A place that a sink delivers to, and how to check it."""

    key: Hashable
    """Equal for places that need one check: below one base directory, with one identity."""

    place: str
    """Base directory and container."""

    base: str
    """Base directory alone."""

    check: Callable[[], PlaceReport]
    """Checks the place."""

    sink: str = ""
    """Name of the sink."""

    not_known: tuple[str, ...] = ()
    """What a check of the place does not find out, because of the settings of the sink."""


def check_places(checks: Iterable[PlaceCheck]) -> CheckReport:
    """Check each different place and identity once.

    Of places in S3 that differ only in the container, the first is checked.
    """
    groups: dict[Hashable, list[PlaceCheck]] = {}
    for each in checks:
        groups.setdefault(each.key, []).append(each)
    return CheckReport(tuple(map(_check_group, groups.values())))


def _check_group(checks: list[PlaceCheck]) -> PlaceReport:
    first = checks[0]
    count = len({each.place for each in checks})
    report = _check_containers(checks)
    unknown = dict.fromkeys(item for each in checks for item in each.not_known)
    return replace(
        report,
        place=first.base if count > 1 else first.place,
        steps=_with_containers(report.steps, count),
        not_known=(*report.not_known, *unknown),
        sinks=tuple(dict.fromkeys(each.sink for each in checks if each.sink)),
    )


def _check_containers(checks: Sequence[PlaceCheck]) -> PlaceReport:
    """Check the first place; on disk also the others, which needs no request."""
    first = checks[0].check()
    if checks[0].base.startswith("s3://"):
        return first
    others = {each.place: each for each in checks if each.place != checks[0].place}
    reports = (first, *(each.check() for each in others.values()))
    return next((report for report in reports if not report.ok), first)


def _with_containers(steps: tuple[CheckStep, ...], count: int) -> tuple[CheckStep, ...]:
    """Say in the step that names a container that it stands for others."""
    if count == 1:
        return steps
    return tuple(
        replace(step, text=f"{step.text}, one of {count} containers")
        if step.name == "list"
        else step
        for step in steps
    )


def place_checks(
    sink: DataSink,
    *,
    directory: str,
    write_object: bool,
    name: str = "",
    setting_names: Mapping[str, str] | None = None,
) -> list[PlaceCheck]:
    """Return the places that a sink delivers to.

    Parameters
    ----------
    sink
        The sink; nothing is opened or sent yet.
    directory
        Working directory of the sink; relative paths are below it.
    write_object
        Whether the check of a bucket writes an object, and deletes it.
    name
        Name of the sink in a workflow.
    setting_names
        Names that the reports have in place of those of the sink's inputs; see `rename_settings`.
    """
    names = setting_names or {}
    try:
        settings, base = sink._read_settings()
        locations = settings.locations(base)
        settings.check(locations)
        manifest = settings.manifest_location(base)
    except EndpointError as error:
        access = settings.access(sink.inputs)
        names = {**names, **access.setting_names(None)}
        text = _endpoint(settings, access)
        return [_failed(sink, error, name, names, step="endpoint", text=text)]
    except DataSinkError as error:
        return [_failed(sink, error, name, names)]
    bases = replace(settings, container="").locations(base)
    options = CheckOptions(
        working_directory=directory,
        write_object=write_object,
        setting_names=names,
    )
    targets: list[LocalTarget | S3Target] = [
        *local_targets(settings, locations),
        *sink._s3_targets(settings, locations),
    ]
    checks = [
        PlaceCheck(
            key=(_base_of(target.location, bases), *_identity(sink, settings, target.location)),
            place=target.location.label,
            base=_base_of(target.location, bases).label,
            check=partial(target.check, options),
            sink=name,
            not_known=_not_known(sink, settings, target.location),
        )
        for target in targets
    ]
    if manifest:
        target = manifest_target(sink, manifest, settings.bases(base))
        user = f"manifest of {name or 'this sink'}"
        checks.append(
            PlaceCheck(
                key=(manifest, *_identity(sink, settings, manifest), "manifest"),
                place=manifest.label,
                base=manifest.label,
                check=partial(target.check, options),
                sink=user,
            )
        )
    return checks


def _base_of(location: Location, bases: Sequence[Location]) -> Location:
    """Return the base directory of a place; an absolute container has none but itself."""
    return next(
        (base for base in bases if f"{location}/".startswith(f"{str(base).rstrip('/')}/")), location
    )


def _failed(
    sink: DataSink,
    error: DataSinkError,
    name: str,
    names: Mapping[str, str],
    *,
    step: str = "settings",
    text: str = "of the sink",
) -> PlaceCheck:
    place = explicit_value(sink.inputs, "base_directory") or name or type(sink).__name__
    failed = CheckStep(name=step, text=text, verdict=StepVerdict.FAILED, advice=str(error))
    report = rename_settings(PlaceReport(place=place, steps=(failed,)), names)
    return PlaceCheck(
        key=(place, str(error)), place=place, base=place, check=lambda: report, sink=name
    )


def _identity(sink: DataSink, settings: Settings, location: Location) -> tuple[Hashable, ...]:
    if not isinstance(location, S3Prefix):
        return (settings.hard_links,)
    values = [repr(getattr(settings, name)) for name in _IDENTITY]
    return (type(sink), id(settings.bucket), *values)


def _not_known(sink: DataSink, settings: Settings, location: Location) -> tuple[str, ...]:
    if not isinstance(location, S3Prefix):
        return ()
    deletes = ("s3:DeleteObject (remove_dest_dir)",) if settings.remove_dest_dir else ()
    own = f"_upload_to_s3 of {type(sink).__name__}"
    return (*deletes, own) if sink._is_overridden("_upload_to_s3") else deletes


def _endpoint(settings: Settings, access: AccessSettings) -> str:
    """Return the endpoint that the settings or the environment name, and where it is set."""
    endpoint = without_password(configured_endpoint(settings.s3_endpoint_url) or "")
    return f"{endpoint} ({access.endpoint_source or endpoint_variable()})"


def set_absolute_paths(sink: DataSink, directory: str) -> None:
    """Replace relative paths in the inputs of a sink, as a node in `directory` will read them.

    Without a base directory, the node delivers to its own directory.
    """
    if not any(explicit_value(sink.inputs, name) for name in ("base_directory", "local_copy")):
        sink.inputs.base_directory = directory
    names = ("base_directory", "local_copy", "creds_path", "sink_manifest_dir")
    values = {name: explicit_value(sink.inputs, name) for name in names}
    for name, path in {**values, **read_options(sink.inputs, ["sink_manifest_dir"])}.items():
        if path and "://" not in path and not path.startswith("~"):
            setattr(sink.inputs, name, os.path.join(directory, path))
