"""Turn the inputs of a sink into plain values, and check them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nipype import logging

from nipype_datasink.configuration import explicit_value, hard_links_enabled, read_options
from nipype_datasink.display import escaped
from nipype_datasink.errors import SettingsError
from nipype_datasink.inputs import DataSinkInputSpec
from nipype_datasink.planning.addresses import check_bucket_name, check_container, parse_location
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.routing import Substitutions
from nipype_datasink.s3.access import AccessSettings
from nipype_datasink.s3.arguments import check_upload_args
from nipype_datasink.s3.endpoint import check_endpoint, configured_endpoint
from nipype_datasink.worker import batch_job, why_node_local

_logger = logging.getLogger("nipype.interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The inputs of a sink as plain values, completed from nipype's configuration.

    Each field has the name of its input. No setting is Undefined: None, empty
    text or an empty collection stands for an input that is not set.
    """

    base_directory: str | None = None
    """Directory or ``s3://`` address, as the user wrote it."""

    container: str = ""
    """Folder below the base directory."""

    local_copy: str | None = None
    """Directory on disk that gets a copy of everything."""

    substitutions: Substitutions = field(default_factory=Substitutions)
    """`substitutions` and `regexp_substitutions`."""

    remove_dest_dir: bool = False
    """Whether the destination folder of a directory keeps no other files."""

    sink_missing: str = "error"
    """``error`` or ``skip``: what to do if a source does not exist."""

    sink_manifest_dir: str | None = None
    """Directory or ``s3://`` address of the manifest, as the user wrote it."""

    local_hardlink: bool | None = None
    """Whether single files may become hard links; None leaves it to nipype's own option."""

    bucket: Any = None
    """Bucket that the user has injected."""

    creds_path: str | None = None
    """File with an access key."""

    encrypt_bucket_keys: bool = False
    """Whether S3 encrypts the objects with its own keys (AES256)."""

    s3_endpoint_url: str | None = None
    """Address of an S3-compatible store."""

    s3_region: str | None = None
    """AWS region of the bucket."""

    s3_profile: str | None = None
    """Profile in AWS's configuration files."""

    s3_upload_args: Mapping[str, Any] = field(default_factory=dict)
    """boto3's ``ExtraArgs`` as the user set them."""

    s3_max_concurrency: int | None = None
    """Maximum number of concurrent requests to S3; None adapts it to the work."""

    s3_transfer_client: str = "auto"
    """``auto``, ``classic`` or ``crt``."""

    @classmethod
    def from_inputs(cls, inputs: DataSinkInputSpec, options: Collection[str]) -> Settings:
        """Read the inputs of a sink, and nipype's configuration for inputs that are not set.

        Parameters
        ----------
        inputs
            Inputs of the sink. Values that are set here take precedence over the configuration.
        options
            Names of the inputs to look up there.

        Raises
        ------
        SettingsError
            If one of these options is not valid.
        """
        names = [each.name for each in fields(cls)]
        values = {name: explicit_value(inputs, name) for name in names}
        given = {name: value for name, value in values.items() if value is not None}
        given["substitutions"] = substitutions_of(inputs)
        return cls(**{**read_options(inputs, options), **given})

    @property
    def hard_links(self) -> bool:
        """Whether single files may become hard links."""
        return hard_links_enabled() if self.local_hardlink is None else self.local_hardlink

    @property
    def upload_args(self) -> dict[str, Any]:
        """boto3's ``ExtraArgs`` for each upload; encryption that the user chose there wins."""
        encryption = {"ServerSideEncryption": "AES256"} if self.encrypt_bucket_keys else {}
        return {**encryption, **self.s3_upload_args}

    def access(self, inputs: DataSinkInputSpec) -> AccessSettings:
        """Return how the bucket is reached.

        Parameters
        ----------
        inputs
            Inputs that these settings were read from.
        """
        endpoint = None
        if self.bucket is not None:
            endpoint = "the injected bucket"
        elif explicit_value(inputs, "s3_endpoint_url"):
            endpoint = "s3_endpoint_url"
        elif self.s3_endpoint_url:
            endpoint = "nipype's configuration"
        return AccessSettings(endpoint_source=endpoint, credential_source=self._credential_source)

    @property
    def _credential_source(self) -> str | None:
        """The input that the credentials come from; None leaves it to boto3."""
        if self.bucket is not None:
            return "the injected bucket"
        if self.creds_path:
            return f"creds_path {escaped(self.creds_path)}"
        return f"s3_profile {escaped(self.s3_profile)}" if self.s3_profile else None

    def bases(self, base: Location) -> list[Location]:
        """Return the base directory and the local copy, without the container.

        Parameters
        ----------
        base
            Parsed ``base_directory``. It is left out where only ``local_copy`` is set, as nipype
            does.
        """
        bases: list[Location] = []
        if self.local_copy is None or self.base_directory is not None:
            bases.append(in_bucket(base, self.bucket))
        if self.local_copy is not None:
            copy = parse_location(self.local_copy, "local_copy")
            if not isinstance(copy, LocalDirectory):
                raise SettingsError(f"local_copy {self.local_copy!r} is not a directory on disk")
            bases.append(copy)
        return bases

    def manifest_location(self, base: Location) -> Location | None:
        """Return the directory of the manifest; None if no manifest is asked for.

        Parameters
        ----------
        base
            Parsed ``base_directory``. An injected bucket also holds the manifest if the address
            names either of them.
        """
        if self.sink_manifest_dir is None:
            return None
        location = parse_location(self.sink_manifest_dir, "sink_manifest_dir")
        if isinstance(location, S3Prefix):
            check_bucket_name(location.bucket)
            injected = in_bucket(location, self.bucket)
            own = [base.bucket] if isinstance(base, S3Prefix) else []
            if location.bucket in [*own, getattr(self.bucket, "name", None)]:
                return injected
        return location

    def locations(self, base: Location) -> tuple[Location, ...]:
        """Return each of `bases` with the container."""
        bases = self.bases(base)
        check_container(self.container)
        return tuple(dict.fromkeys(location.child(self.container) for location in bases))

    def check(self, locations: Sequence[Location]) -> None:
        """Raise an error for settings that cannot work, as far as S3 need not be asked.

        Raises
        ------
        SettingsError
            Naming the input, and what to do.
        """
        self.substitutions.check()
        if self.creds_path and self.s3_profile:
            raise SettingsError("set either creds_path or s3_profile, not both")
        if self.s3_upload_args:
            check_upload_args(self.s3_upload_args)
        for location in locations:
            if isinstance(location, S3Prefix):
                self._check_bucket(location)

    def _check_bucket(self, location: S3Prefix) -> None:
        injected = self.bucket is not None
        if self.s3_transfer_client == "crt":
            from nipype_datasink.s3.choice import check_crt  # here, because it imports boto3

            check_crt(injected=injected)
        if isinstance(self.bucket, str):
            raise SettingsError(
                f"bucket {self.bucket!r} is text; set it to a boto3 Bucket, or write the name of "
                "the bucket into base_directory, as s3://bucket/prefix"
            )
        if not injected:
            check_bucket_name(location.bucket)
            if endpoint := configured_endpoint(self.s3_endpoint_url):
                check_endpoint(endpoint, location.bucket)
            return
        for name in ("s3_endpoint_url", "s3_region", "s3_profile"):
            if getattr(self, name) is not None:
                _logger.warning("%s is ignored, because bucket is set and has its own", name)


def substitutions_of(inputs: DataSinkInputSpec) -> Substitutions:
    """Return the substitutions of a sink."""
    return Substitutions(
        literal=tuple(explicit_value(inputs, "substitutions") or ()),
        regular=tuple(explicit_value(inputs, "regexp_substitutions") or ()),
    )


def in_bucket(location: Location, bucket: Any) -> Location:
    """Return `location` in an injected bucket, which may have another name."""
    name = getattr(bucket, "name", None)
    if isinstance(location, S3Prefix) and isinstance(name, str):
        return replace(location, injected_bucket=name)
    return location


def warn_about_directories(settings: Settings, *, in_node: bool) -> None:
    """Log a warning for each directory that is probably not the one that the user meant.

    Parameters
    ----------
    settings
        Settings of the sink.
    in_node
        Whether a node runs the sink. Its working directory is its own, and nipype may remove it.
    """
    for name in ("base_directory", "local_copy", "sink_manifest_dir"):
        path = getattr(settings, name)
        if path and isinstance(location := parse_location(path, name), LocalDirectory):
            if in_node and not os.path.isabs(os.path.expanduser(path)):
                _logger.warning(
                    "%s %r is relative, and a node runs in its own directory: it means %r. "
                    "Write an absolute path",
                    name,
                    path,
                    location.path,
                )
            if (job := batch_job()) and (why := why_node_local(path)):
                _logger.warning("%s: %s %r %s", job, name, path, why)
    base, container = settings.base_directory or "", settings.container
    if os.path.isabs(container) and isinstance(parse_location(base), S3Prefix):
        # On disk, as with nipype, an absolute container replaces the base directory.
        _logger.warning(
            "container %r is an absolute path, and becomes part of every key below %s; "
            "set it to a relative path",
            container,
            base,
        )
