"""What the inputs of a sink ask for, as plain values; what cannot be honoured is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nipype import config, logging
from nipype.utils.misc import str2bool

from nipype_datasink.configuration import configured, explicit_value, warn_of_unknown_options
from nipype_datasink.errors import SettingsError
from nipype_datasink.inputs import EVENTS, DataSinkInputSpec
from nipype_datasink.planning.addresses import check_bucket_name, check_container, parse_location
from nipype_datasink.planning.hints import likely_input
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.routing import Substitutions
from nipype_datasink.s3.arguments import check_crt, check_upload_args
from nipype_datasink.s3.endpoint import check_endpoint, endpoint_of

__all__ = [
    "bucket_override",
    "check",
    "fields_of",
    "hard_links",
    "known_inputs",
    "locations_of",
    "substitutions_of",
    "upload_args",
    "value_of",
    "warn_of_absolute_container",
    "warn_of_relative_places",
]

_logger = logging.getLogger("nipype.interface")


def value_of(inputs: DataSinkInputSpec, name: str) -> Any:
    """Return the value of an input, or else what nipype's configuration says; None if nothing."""
    value = explicit_value(inputs, name)
    return configured(inputs, name) if value is None else value


def known_inputs(inputs: DataSinkInputSpec) -> list[str]:
    """Return the names of inputs that set something, those of subclasses too."""
    names: list[str] = inputs.class_trait_names()
    return [name for name in names if not name.startswith(("_", "trait_"))]


def fields_of(inputs: DataSinkInputSpec) -> dict[str, Any]:
    """Return what is to be sunk; an input that is named in `infields` is none of it."""
    known = inputs.class_trait_names()
    fields = {
        field: value
        for field, value in inputs._outputs.items()
        if field not in EVENTS and (field not in known or value != getattr(inputs, field))
    }
    names = known_inputs(inputs)
    for field in fields:
        if likely := likely_input(field, names):
            _logger.warning("input %r is sunk as a folder; is %r meant?", field, likely)
    return fields


def locations_of(inputs: DataSinkInputSpec, base: Location) -> list[Location]:
    """Return the base directory and the local copy, each with its container.

    Parameters
    ----------
    inputs
        Of the sink.
    base
        What ``base_directory`` means; it is left out where only ``local_copy`` is set.
    """
    copy = value_of(inputs, "local_copy")
    locations: list[Location] = []
    if copy is None or value_of(inputs, "base_directory") is not None:
        locations.append(bucket_override(base, value_of(inputs, "bucket")))
    if copy is not None:
        locations.append(_on_disk(copy))
    container = value_of(inputs, "container") or ""
    check_container(container)
    return list(dict.fromkeys(location.child(container) for location in locations))


def bucket_override(location: Location, bucket: Any) -> Location:
    """Return `location` in an injected bucket, which has its own name."""
    name = getattr(bucket, "name", None)
    if isinstance(location, S3Prefix) and isinstance(name, str):
        return replace(location, injected_bucket=name)
    return location


def _on_disk(local_copy: str) -> LocalDirectory:
    location = parse_location(local_copy, "local_copy")
    if not isinstance(location, LocalDirectory):
        raise SettingsError(f"local_copy {local_copy!r} must be a directory on disk")
    return location


def substitutions_of(inputs: DataSinkInputSpec) -> Substitutions:
    """Return the rules that rewrite destinations."""
    return Substitutions(
        literal=tuple(value_of(inputs, "substitutions") or ()),
        regular=tuple(value_of(inputs, "regexp_substitutions") or ()),
    )


def hard_links(inputs: DataSinkInputSpec) -> bool:
    """Return whether single files may become hard links."""
    chosen = value_of(inputs, "local_hardlink")
    if chosen is not None:
        return bool(chosen)
    return bool(str2bool(config.get("execution", "try_hard_link_datasink")))


def upload_args(inputs: DataSinkInputSpec) -> dict[str, Any]:
    """Return boto3's ``ExtraArgs`` for each upload."""
    args = {"ServerSideEncryption": "AES256"} if value_of(inputs, "encrypt_bucket_keys") else {}
    return {**args, **(value_of(inputs, "s3_upload_args") or {})}


def check(inputs: DataSinkInputSpec, locations: Sequence[Location]) -> None:
    """Refuse what cannot be honoured, as far as that can be known without asking S3.

    Raises
    ------
    SettingsError
        Saying which input, and what to do.
    """
    substitutions_of(inputs).check()
    warn_of_unknown_options(inputs)
    value_of(inputs, "sink_missing")  # a bad value in nipype's configuration is an error now
    if value_of(inputs, "creds_path") and explicit_value(inputs, "s3_profile"):
        raise SettingsError("creds_path and s3_profile both say who you are; set one of them")
    if args := value_of(inputs, "s3_upload_args"):
        with suppress(ImportError):  # told when the bucket is opened
            check_upload_args(args)
    for location in locations:
        if isinstance(location, S3Prefix):
            _check_bucket(inputs, location)


def _check_bucket(inputs: DataSinkInputSpec, location: S3Prefix) -> None:
    injected = value_of(inputs, "bucket") is not None
    if value_of(inputs, "s3_transfer_client") == "crt":
        check_crt(injected=injected)
    if isinstance(value_of(inputs, "bucket"), str):
        raise SettingsError(
            f"bucket {value_of(inputs, 'bucket')!r} is text; it takes a boto3 Bucket. Write a "
            "bucket's name into base_directory, as s3://bucket/prefix"
        )
    if not injected:
        check_bucket_name(location.bucket)
        if endpoint := endpoint_of(value_of(inputs, "s3_endpoint_url")):
            check_endpoint(endpoint, location.bucket)
        return
    for name in ("s3_endpoint_url", "s3_region", "s3_profile"):
        if explicit_value(inputs, name) is not None:
            _logger.warning("%s is ignored: the injected bucket has its own", name)


def warn_of_relative_places(inputs: DataSinkInputSpec) -> None:
    """Warn that a relative directory is below that of the node, which nipype may remove."""
    for name in ("base_directory", "local_copy"):
        path = value_of(inputs, name)
        if not path or os.path.isabs(os.path.expanduser(path)):
            continue
        if isinstance(location := parse_location(path, name), LocalDirectory):
            _logger.warning(
                "%s %r is relative, and a node runs in its own directory: it means %r. "
                "Give it a whole path",
                name,
                path,
                location.path,
            )


def warn_of_absolute_container(inputs: DataSinkInputSpec) -> None:
    """Warn that an absolute container does not replace a base directory in S3, as on disk."""
    container, base = value_of(inputs, "container"), value_of(inputs, "base_directory") or ""
    if container and os.path.isabs(container) and isinstance(parse_location(base), S3Prefix):
        _logger.warning(
            "container %r is a whole path, and becomes part of every key below %s; "
            "give it a relative one",
            container,
            base,
        )
