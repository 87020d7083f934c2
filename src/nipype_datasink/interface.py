"""The interface that nipype's pipelines use: traits in, ``out_file`` out."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nipype import config, logging
from nipype.interfaces import io as upstream
from nipype.interfaces.base import isdefined
from nipype.utils.misc import str2bool

from nipype_datasink.delivery import Target, Unreachable, deliver
from nipype_datasink.errors import S3Error, SettingsError
from nipype_datasink.hints import likely_input
from nipype_datasink.inputs import DataSinkInputSpec, DataSinkOutputSpec
from nipype_datasink.local import LocalTarget
from nipype_datasink.location import LocalDirectory, Location, S3Prefix, check_bucket_name, parse
from nipype_datasink.plan import Plan
from nipype_datasink.routing import Substitutions, relative_destination
from nipype_datasink.s3.arguments import check_crt, check_upload_args
from nipype_datasink.s3.reference import let_travel, usable_here
from nipype_datasink.soundness import sound_plan
from nipype_datasink.worker import batch_job, only_here, whereabouts

if TYPE_CHECKING:
    from nipype_datasink.s3.credentials import Keys

__all__ = ["DataSink"]

_logger = logging.getLogger("nipype.interface")

# What the environment may hold that must not end in nipype's reports and result files.
_SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)


def _input(name: str) -> property:
    """Return an attribute that stands for an input, as nipype's manual sets some of them."""

    def get(self: DataSink) -> Any:
        return getattr(self.inputs, name)

    def put(self: DataSink, value: Any) -> None:
        setattr(self.inputs, name, value)

    return property(get, put, doc=f"The input ``{name}``.")


class DataSink(upstream.DataSink):
    """Put a pipeline's outputs where they belong, on disk or in S3.

    A drop-in replacement of `nipype.interfaces.io.DataSink`: every input, method and folder name
    means what it means there. Whatever is assigned to an input that is not listed below, or
    connected to it, is sunk into the folder its name describes: dots separate folders, and parts
    that start with ``@`` add none.

    Parameters
    ----------
    infields : list of str, optional
        Names of such inputs, to be made now; a MapNode needs them.
    force_run : bool
        Let nodes run the sink every time, not only when its inputs have changed.
    **kwargs
        Values of inputs.

    Notes
    -----
    A destination is ``base_directory/container/parameterization/folders/name``, rewritten by
    ``substitutions`` and then by ``regexp_substitutions``. Nothing is written before all
    destinations are known and found to be sound.

    Examples
    --------
    >>> sink = DataSink(base_directory="s3://mybucket/path/to/output/dir", container="sub001")
    >>> sink.inputs.encrypt_bucket_keys = True
    >>> setattr(sink.inputs, "motion.@par", "/data/sub001/realigned.par")
    >>> sink.run()  # doctest: +SKIP
    """

    input_spec = DataSinkInputSpec
    output_spec = DataSinkOutputSpec

    def __init__(
        self,
        infields: Sequence[str] | None = None,
        force_run: bool = True,  # noqa: FBT001, FBT002 - nipype's signature
        **kwargs: Any,
    ) -> None:
        let_travel()
        super().__init__(infields=infields, force_run=force_run, **kwargs)
        for field in infields or ():
            if field in kwargs:
                setattr(self.inputs, field, kwargs[field])

    local_copy = _input("local_copy")
    creds_path = _input("creds_path")
    encrypt_bucket_keys = _input("encrypt_bucket_keys")
    bucket = _input("bucket")

    def plan(self) -> Plan:
        """Decide where everything goes; nothing is written, and S3 is not asked.

        Returns
        -------
        Plan
            Deliveries in the order of ``out_file``; ``print(sink.plan())`` shows them.

        Raises
        ------
        SettingsError
            If inputs of the sink cannot be honoured or contradict each other.
        MissingSourceError, SourceError
            Naming everything that cannot be sunk.
        CollisionError
            If different bytes would end at one destination.
        DestinationError
            If a destination cannot hold what should go there.
        """
        fields = self._fields()
        inputs = [name for name in self._known_inputs() if not name.startswith(("_", "trait_"))]
        for field in fields:
            if likely := likely_input(field, inputs):
                _logger.warning("input %r is sunk as a folder; is %r meant?", field, likely)
        locations = self._locations()
        self._check_settings(locations)
        return sound_plan(
            fields,
            locations,
            relative=self._get_dst,
            substitute=self._substitute,
            remove_dest_dir=self.inputs.remove_dest_dir,
            inputs=inputs,
        )

    def _list_outputs(self) -> dict[str, Any]:
        """Sink, and report where everything is now."""
        plan = self.plan()
        self._warn_of_places()
        try:
            deliver(plan, self._targets(self._locations()))
        except S3Error as error:
            error.args = (f"{error}\n{self._circumstances()}",)
            raise
        outputs: dict[str, Any] = self.output_spec().get()
        outputs["out_file"] = [delivery.destination for delivery in plan.deliveries]
        return outputs

    def _run_interface(self, runtime: Any) -> Any:
        for name in _SECRETS:
            runtime.environ.pop(name, None)
        return super()._run_interface(runtime)

    # What a worker on another machine may lack.

    def _warn_of_places(self) -> None:
        if job := batch_job():
            for name in ("base_directory", "local_copy"):
                path = self._value(name)
                if path and not path.lower().startswith("s3://") and (why := only_here(path)):
                    _logger.warning("%s: %s %r %s", job, name, path, why)

    def _circumstances(self) -> str:
        return f"this was {whereabouts()}, with the credentials of {self._credential_source()}"

    def _credential_source(self) -> str:
        for name in ("bucket", "creds_path", "s3_profile"):
            if (value := self._value(name)) is not None:
                return "the injected bucket" if name == "bucket" else f"{name} {value!r}"
        from nipype_datasink.s3.identity import whose

        with suppress(Exception):  # it is about another error
            return whose(self._open_bucket())
        return "nobody"

    # What the inputs hold, as plain values.

    def _known_inputs(self) -> list[str]:
        return list(self.inputs.class_trait_names())

    def _fields(self) -> dict[str, Any]:
        """Return what is to be sunk; an input that is named in `infields` is none of it."""
        known = self._known_inputs()
        return {
            field: value
            for field, value in self.inputs._outputs.items()
            if field not in known or value != getattr(self.inputs, field)
        }

    def _value(self, name: str) -> Any:
        value = getattr(self.inputs, name)
        return value if isdefined(value) else None

    def _locations(self) -> list[Location]:
        """Return the base directory and the local copy, each with its container."""
        base, copy = self._value("base_directory"), self._value("local_copy")
        locations: list[Location] = []
        if base is not None or copy is None:
            locations.append(self._base(base or "."))
        if copy is not None:
            locations.append(_on_disk(copy))
        container = self._value("container") or ""
        return list(dict.fromkeys(location.child(container) for location in locations))

    def _upload_args(self) -> dict[str, Any]:
        args = {"ServerSideEncryption": "AES256"} if self._value("encrypt_bucket_keys") else {}
        return {**args, **(self._value("s3_upload_args") or {})}

    def _base(self, base_directory: str) -> Location:
        location = parse(base_directory)
        if isinstance(location, S3Prefix) and not self._check_s3_base_dir()[0]:
            return LocalDirectory(os.path.abspath(base_directory))  # a subclass will have it so
        return _received_by(location, self._value("bucket"))

    def _check_settings(self, locations: Sequence[Location]) -> None:
        """Refuse what cannot be honoured, as far as that can be known without asking S3."""
        self._substitutions().check()
        if self._value("creds_path") and self._value("s3_profile"):
            raise SettingsError("creds_path and s3_profile both say who you are; set one of them")
        if self._value("s3_upload_args"):
            with suppress(ImportError):  # told when the bucket is opened
                check_upload_args(self._value("s3_upload_args"))
        for location in locations:
            if isinstance(location, S3Prefix):
                self._check_bucket(location)

    def _check_bucket(self, location: S3Prefix) -> None:
        injected = self._value("bucket") is not None
        if self._value("s3_transfer_client") == "crt":
            check_crt(injected=injected)
        if not injected:
            check_bucket_name(location.bucket)
            return
        for name in ("s3_endpoint_url", "s3_region", "s3_profile"):
            if self._value(name) is not None:
                _logger.warning("%s is ignored: the injected bucket has its own", name)

    # Where plans go.

    def _targets(self, locations: Sequence[Location]) -> list[Target]:
        """Return the targets in the order in which they work: S3 last, as most can go wrong."""
        local: list[Target] = [
            LocalTarget(location, link=self._hard_links())
            for location in locations
            if isinstance(location, LocalDirectory)
        ]
        remote = [self._s3_target(item) for item in locations if isinstance(item, S3Prefix)]
        return [*local, *remote]

    def _hard_links(self) -> bool:
        chosen = self._value("local_hardlink")
        if chosen is not None:
            return bool(chosen)
        return bool(str2bool(config.get("execution", "try_hard_link_datasink")))

    def _s3_target(self, location: S3Prefix) -> Target:
        try:
            from nipype_datasink.s3.target import S3Target
        except ImportError as error:
            return Unreachable(location, error)
        return S3Target(
            location,
            self._open_bucket,
            upload_args=self._upload_args(),
            concurrency=self._value("s3_max_concurrency"),
            transfer_client=self._value("s3_transfer_client") or "auto",
            hook=self._upload_to_s3 if self._overridden("_upload_to_s3") else None,
        )

    def _open_bucket(self) -> Any:
        injected = self._value("bucket")
        if injected is not None:
            return usable_here(injected)
        return self._fetch_bucket(self._check_s3_base_dir()[1])

    # What subclasses of nipype's class call and override.

    def _overridden(self, name: str) -> bool:
        return getattr(getattr(self, name), "__func__", None) is not _OWN_HOOKS[name]

    def _get_dst(self, src: str) -> str:
        """Return the part of a destination that the source's own path decides."""
        return relative_destination(
            src,
            parameterization=self.inputs.parameterization,
            strip_dir=self._value("strip_dir"),
        )

    def _substitutions(self) -> Substitutions:
        return Substitutions(
            literal=tuple(self._value("substitutions") or ()),
            regular=tuple(self._value("regexp_substitutions") or ()),
        )

    def _substitute(self, pathstr: str) -> str:
        """Rewrite a whole destination by the rules; the bucket of one in S3 stays."""
        bucket = _BUCKET.match(pathstr)
        return self._substitutions().apply(pathstr, root=bucket[0] if bucket else "")

    def _check_s3_base_dir(self) -> tuple[bool, str]:
        """Return whether ``base_directory`` is one of S3, and the name of its bucket."""
        location = parse(self._value("base_directory") or "")
        if isinstance(location, S3Prefix):
            return True, location.bucket
        return False, "<N/A>"

    def _return_aws_keys(self) -> tuple[str | None, str | None]:
        """Return access key ID and secret access key of ``creds_path`` or the environment."""
        creds_path = self._value("creds_path")
        if not creds_path:
            return os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        from nipype_datasink.s3.client import read_credentials

        keys = read_credentials(creds_path)
        return keys.access_key_id, keys.secret_access_key

    def _fetch_bucket(self, bucket_name: str) -> Any:
        """Return the boto3 bucket of that name, with the credentials of this sink."""
        from nipype_datasink.s3.client import Connection, open_bucket

        connection = Connection(
            keys=self._keys(),
            profile=self._value("s3_profile"),
            region=self._value("s3_region"),
            endpoint_url=self._value("s3_endpoint_url"),
            concurrency=self._value("s3_max_concurrency"),
        )
        return open_bucket(bucket_name, connection)

    def _keys(self) -> Keys | None:
        from nipype_datasink.s3.client import read_credentials
        from nipype_datasink.s3.credentials import Keys

        if self._overridden("_return_aws_keys"):
            access_key_id, secret = self._return_aws_keys()
            return Keys(access_key_id, secret) if access_key_id and secret else None
        creds_path = self._value("creds_path")
        return read_credentials(creds_path) if creds_path else None

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        """Send a file or directory to `dst`, a destination below ``s3://``."""
        from nipype_datasink.s3.target import S3Target

        location = _received_by(parse(dst, "dst"), bucket)
        if not isinstance(location, S3Prefix):
            raise SettingsError(f"{dst!r} is no destination in S3")
        plan = sound_plan(
            {"_upload_to_s3": src},
            [location],
            relative=lambda _: "",
            substitute=lambda _: str(location),
        )
        target = S3Target(
            location,
            lambda: bucket,
            upload_args=self._upload_args(),
            concurrency=self._value("s3_max_concurrency"),
        )
        deliver(plan, [target])


def _received_by(location: Location, bucket: Any) -> Location:
    """Return `location` in an injected bucket, which has its own name."""
    name = getattr(bucket, "name", None)
    if isinstance(location, S3Prefix) and isinstance(name, str):
        return replace(location, received_by=name)
    return location


def _on_disk(local_copy: str) -> LocalDirectory:
    location = parse(local_copy, "local_copy")
    if not isinstance(location, LocalDirectory):
        raise SettingsError(f"local_copy {local_copy!r} must be a directory on disk")
    return location


_BUCKET = re.compile("s3://[^/]+")
_OWN_HOOKS = {name: getattr(DataSink, name) for name in ("_return_aws_keys", "_upload_to_s3")}
