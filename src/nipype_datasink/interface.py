"""The interface that nipype's pipelines use: traits in, ``out_file`` out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nipype import logging
from nipype.interfaces import io as upstream

from nipype_datasink.attributes import add_input_attributes
from nipype_datasink.configuration import calling_node
from nipype_datasink.delivery.execution import Target, Unreachable, deliver, describe_missing
from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.errors import S3Error, SettingsError
from nipype_datasink.inputs import DataSinkInputSpec, DataSinkOutputSpec
from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import Plan
from nipype_datasink.planning.routing import Rules, log_changes, relative_destination
from nipype_datasink.planning.validation import make_valid_plan
from nipype_datasink.s3.mocking import warn_if_mocked_in_worker
from nipype_datasink.s3.pickling import enable_pickling
from nipype_datasink.s3.resolution import resolve_bucket
from nipype_datasink.settings import (
    bucket_override,
    check,
    fields_of,
    hard_links,
    known_inputs,
    locations_of,
    substitutions_of,
    upload_args,
    value_of,
    warn_of_absolute_container,
    warn_of_relative_places,
)
from nipype_datasink.worker import batch_job, describe_process, why_node_local

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


class DataSink(upstream.DataSink):  # type: ignore[misc]
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
    A destination is ``base_directory/container/folders/parameterization/name``, rewritten by
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
        enable_pickling()
        infields = _names(infields)
        super().__init__(infields=infields, force_run=force_run, **kwargs)
        for field in infields or ():
            if field in kwargs:
                setattr(self.inputs, field, kwargs[field])

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        add_input_attributes(cls)

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
        SourceError
            Naming everything that cannot be sunk. Sources that do not exist are no error yet:
            ``plan.missing`` names them.
        CollisionError
            If different bytes would end at one destination.
        DestinationError
            If a destination cannot hold what should go there.
        """
        return self._plan(self._substitute)

    def _plan(self, substitute: Callable[[str], str]) -> Plan:
        fields = fields_of(self.inputs)
        locations = self._locations()
        check(self.inputs, locations)
        rules = Rules(
            locations=tuple(locations),
            relative=self._get_dst,
            substitute=substitute,
            remove_dest_dir=self.inputs.remove_dest_dir,
        )
        return make_valid_plan(fields, rules, inputs=known_inputs(self.inputs))

    def _list_outputs(self) -> dict[str, Any]:
        """Sink, and report where everything is now."""
        plan = self._without_optional(self._plan(log_changes(self._substitute)))
        self._warn_of_places()
        try:
            deliver(plan, self._targets(self._locations()))
        except S3Error as error:
            error.args = (f"{error}\n{self._error_context()}",)
            raise
        return {"out_file": [delivery.destination for delivery in plan.deliveries]}

    def _without_optional(self, plan: Plan) -> Plan:
        """Warn of what is left out; return the plan with only those missing sources that matter."""
        if plan.left_out:
            names = "; ".join(map(str, plan.left_out))
            _logger.warning("left out of what is sunk: %s", names)
        if plan.missing and self._value("sink_missing") == "skip":
            _logger.warning("%s", describe_missing(plan.missing))
            return replace(plan, missing=())
        return plan

    def run(self, cwd: Any = None, ignore_exception: Any = None, **inputs: Any) -> Any:
        """Sink, and return nipype's result, which has ``outputs.out_file``."""
        with self.inputs.bucket_as_text():
            return super().run(cwd=cwd, ignore_exception=ignore_exception, **inputs)

    def _run_interface(self, runtime: Any) -> Any:
        for name, value in list(runtime.environ.items()):
            if name in _SECRETS or (name.lower().endswith("_proxy") and "@" in value):
                del runtime.environ[name]
        return super()._run_interface(runtime)

    def _value(self, name: str) -> Any:
        return value_of(self.inputs, name)

    # What a worker on another machine may lack.

    def _warn_of_places(self) -> None:
        if calling_node(self.inputs):
            warn_of_relative_places(self.inputs)
        warn_of_absolute_container(self.inputs)
        if job := batch_job():
            for name in ("base_directory", "local_copy"):
                path = self._value(name)
                if path and not path.lower().startswith("s3://") and (why := why_node_local(path)):
                    _logger.warning("%s: %s %r %s", job, name, path, why)

    def _error_context(self) -> str:
        source = self._credential_source()
        return f"this was {describe_process()}" + (f"; credentials: {source}" if source else "")

    def _credential_source(self) -> str | None:
        """Return whose credentials were used; None where no client could be made."""
        for name in ("bucket", "creds_path", "s3_profile"):
            if (value := self._value(name)) is not None:
                return "the injected bucket" if name == "bucket" else f"{name} {value!r}"
        with suppress(Exception):  # the error is about something else, and must not be replaced
            from nipype_datasink.s3.boto3_bucket import credential_source

            return credential_source(self._open_bucket())
        return None

    # Where plans go.

    def _locations(self) -> list[Location]:
        base_directory = self._value("base_directory") or "."
        base = parse_location(base_directory)
        if isinstance(base, S3Prefix) and not self._check_s3_base_dir()[0]:
            base = LocalDirectory(os.path.abspath(base_directory))  # a subclass will have it so
        return locations_of(self.inputs, base)

    def _targets(self, locations: Sequence[Location]) -> list[Target]:
        """Return the targets in the order in which they work: S3 last, as most can go wrong."""
        local: list[Target] = [
            LocalTarget(location, link=hard_links(self.inputs))
            for location in locations
            if isinstance(location, LocalDirectory)
        ]
        remote = [self._s3_target(item) for item in locations if isinstance(item, S3Prefix)]
        return [*local, *remote]

    def _s3_target(self, location: S3Prefix) -> Target:
        try:
            from nipype_datasink.s3.target import S3Target
        except ImportError as error:
            return Unreachable(location, error)
        return S3Target(
            location,
            self._open_bucket,
            upload_args=upload_args(self.inputs),
            concurrency=self._value("s3_max_concurrency"),
            transfer_client=self._value("s3_transfer_client") or "auto",
            hook=self._upload_to_s3 if self._overridden("_upload_to_s3") else None,
        )

    def _open_bucket(self) -> Any:
        injected = self._value("bucket")
        if injected is not None:
            return resolve_bucket(injected)
        warn_if_mocked_in_worker()
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

    def _substitute(self, pathstr: str) -> str:
        """Rewrite a whole destination by the rules; the bucket of one in S3 stays."""
        bucket = _BUCKET.match(pathstr)
        return substitutions_of(self.inputs).apply(pathstr, root=bucket[0] if bucket else "")

    def _check_s3_base_dir(self) -> tuple[bool, str]:
        """Return whether ``base_directory`` is one of S3, and the name of its bucket."""
        location = parse_location(self._value("base_directory") or "")
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
        from nipype_datasink.s3.client import ClientOptions, open_bucket

        connection = ClientOptions(
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

        location = bucket_override(parse_location(dst, "dst"), bucket)
        if not isinstance(location, S3Prefix):
            raise SettingsError(f"{dst!r} is no destination in S3")
        rules = Rules(
            locations=(location,), relative=lambda _: "", substitute=lambda _: str(location)
        )
        plan = make_valid_plan({"_upload_to_s3": src}, rules)
        target = S3Target(
            location,
            lambda: bucket,
            upload_args=upload_args(self.inputs),
            concurrency=self._value("s3_max_concurrency"),
            transfer_client=self._value("s3_transfer_client") or "auto",
        )
        deliver(plan, [target])


add_input_attributes(DataSink)


def _names(infields: Sequence[str] | None) -> list[str] | None:
    """Return `infields` as a list; each letter of a text would become an input."""
    if infields and isinstance(infields, (str, bytes, os.PathLike)):
        raise SettingsError(
            f"the first argument of DataSink is infields, a list of names, and not {infields!r}; "
            f"write DataSink(base_directory={os.fsdecode(infields)!r}) if that is meant, or "
            f"DataSink(infields=[{os.fsdecode(infields)!r}])"
        )
    return None if infields is None else list(infields)


_BUCKET = re.compile("s3://[^/]+")
_OWN_HOOKS = {name: getattr(DataSink, name) for name in ("_return_aws_keys", "_upload_to_s3")}
