"""Turn the inputs of a sink into plain values, and check them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from nipype import logging

from nipype_datasink.configuration import (
    S3_COPY,
    S3_INPUTS,
    SINK_INPUTS,
    explicit_value,
    hard_links_enabled,
    read_options,
)
from nipype_datasink.display import escaped
from nipype_datasink.errors import SettingsError
from nipype_datasink.inputs import DataSinkInputSpec
from nipype_datasink.planning.addresses import check_bucket_name, check_container, parse_location
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.routing import Substitutions
from nipype_datasink.planning.s3_copy import CopiedDirectory, S3Copy, make_s3_copy
from nipype_datasink.s3.access import AccessSettings
from nipype_datasink.s3.arguments import check_upload_args
from nipype_datasink.s3.endpoint import check_endpoint, configured_endpoint

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

    s3_copy: str | Sequence[CopiedDirectory] | None = None
    """``s3://`` address of a copy, as the user wrote it; or, from nipype's configuration, the
    directories that are copied."""

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

    @classmethod
    def with_options(cls, inputs: DataSinkInputSpec, base: Location) -> Settings:
        """Read the inputs of a sink with this base directory, and the options that it uses.

        A wrong value in a shared configuration does not stop sinks that do not use it.
        """
        is_local = isinstance(base, LocalDirectory)
        options = [*SINK_INPUTS, *([S3_COPY] if is_local else S3_INPUTS)]
        settings = cls.from_inputs(inputs, options)
        if is_local and settings.s3_copy_of(base):
            return cls.from_inputs(inputs, [*options, *S3_INPUTS])
        return settings

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
        return AccessSettings(
            endpoint_source=endpoint,
            credential_source=self._credential_source,
            address_input=self._address_input,
        )

    @property
    def _address_input(self) -> str:
        return "s3_copy" if self.s3_copy else "base_directory"

    @property
    def _credential_source(self) -> str | None:
        """The input that the credentials come from; None leaves it to boto3."""
        if self.bucket is not None:
            return "the injected bucket"
        if self.creds_path:
            return f"creds_path {escaped(self.creds_path)}"
        return f"s3_profile {escaped(self.s3_profile)}" if self.s3_profile else None

    def bases(self, base: Location) -> list[Location]:
        """Return the base directory and the copies, without the container.

        Parameters
        ----------
        base
            Parsed ``base_directory``. It is left out where only ``local_copy`` is set, as nipype
            does.
        """
        copy = self.s3_copy_of(base)
        return [*self._bases_without_s3_copy(base), *([copy.base] if copy else [])]

    def s3_copy_of(self, base: Location) -> S3Copy | None:
        """Return the S3 copy of the base directory, or of the local copy if there is only that.

        Raises
        ------
        SettingsError
            If the base directory is in S3 itself.
        """
        if self.s3_copy is None:
            return None
        copied = self._bases_without_s3_copy(base)[0]
        if not isinstance(copied, LocalDirectory):
            raise SettingsError(
                "s3_copy is the copy of a base directory on disk, but base_directory "
                f"{self.base_directory!r} is in S3 itself; unset s3_copy"
            )
        check_container(self.container)
        copy = make_s3_copy(self.s3_copy, copied, self.container)
        return copy and copy.in_bucket(self.bucket)

    def _bases_without_s3_copy(self, base: Location) -> list[Location]:
        bases: list[Location] = []
        if self.local_copy is None or self.base_directory is not None:
            bases.append(base.in_bucket(self.bucket))
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
            injected = location.in_bucket(self.bucket)
            own = [each.bucket for each in self.bases(base) if isinstance(each, S3Prefix)]
            if location.bucket in [*own, getattr(self.bucket, "name", None)]:
                return injected
        return location

    def locations(self, base: Location) -> tuple[Location, ...]:
        """Return each of `bases` with the container."""
        bases = self._bases_without_s3_copy(base)
        check_container(self.container)
        copy = self.s3_copy_of(base)
        places = [location.child(self.container) for location in bases]
        return tuple(dict.fromkeys([*places, *([copy.location] if copy else [])]))

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
                f"the bucket into {self._address_input}, as s3://bucket/prefix"
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
