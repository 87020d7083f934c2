"""Define the interface that pipelines use: its inputs are traits, its output is ``out_file``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nipype.interfaces import io as upstream

from nipype_datasink.attributes import OutcomesAttribute, add_input_attributes, set_outcomes
from nipype_datasink.configuration import (
    S3_INPUTS,
    attributes_of_item,
    check_options,
    explicit_value,
)
from nipype_datasink.delivery.progress import shown_progress
from nipype_datasink.errors import DataSinkError
from nipype_datasink.inputs import (
    DataSinkInputSpec,
    DataSinkOutputSpec,
    fields_of,
    known_inputs,
    list_of_infields,
)
from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import Plan
from nipype_datasink.planning.routing import (
    Rules,
    bucket_root,
    log_changes,
    relative_destination,
    route,
)
from nipype_datasink.planning.validation import make_valid_plan
from nipype_datasink.s3.mocking import warn_if_mocked_in_worker
from nipype_datasink.s3.pickling import enable_pickling
from nipype_datasink.s3.resolution import resolve_bucket
from nipype_datasink.settings import Settings, substitutions_of
from nipype_datasink.signals import graceful_shutdown
from nipype_datasink.sink_check import check_places, place_checks
from nipype_datasink.sink_delivery import deliver_plan
from nipype_datasink.targets import access_key_of, open_bucket, s3_targets, send_to_bucket
from nipype_datasink.worker import secret_variables

if TYPE_CHECKING:
    from nipype_datasink.delivery.check_report import CheckReport
    from nipype_datasink.s3.target import S3Target


class DataSink(upstream.DataSink):  # type: ignore[misc]
    """Copy a pipeline's outputs to a directory on disk or to S3.

    This class is a drop-in replacement of `nipype.interfaces.io.DataSink`: inputs, methods and
    folder names have the same meaning. Any other input that is assigned or connected is sunk into
    the folder that its name describes: dots separate folders, and parts that start with ``@`` add
    no folder.

    Parameters
    ----------
    infields : list of str, optional
        Names of such inputs, to create them now; a MapNode needs them.
    force_run : bool
        Whether nodes run the sink every time, not only if its inputs have changed.
    **kwargs
        Values of inputs.

    Notes
    -----
    A destination is ``base_directory/container/folders/parameterization/name``, changed by
    ``substitutions`` and then by ``regexp_substitutions``. Nothing is written until all
    destinations are known and checked.

    Examples
    --------
    >>> sink = DataSink(base_directory="s3://mybucket/path/to/output/dir", container="sub001")
    >>> sink.inputs.encrypt_bucket_keys = True
    >>> setattr(sink.inputs, "motion.@par", "/data/sub001/realigned.par")
    >>> sink.run()  # doctest: +SKIP
    """

    input_spec = DataSinkInputSpec
    output_spec = DataSinkOutputSpec

    outcomes = OutcomesAttribute()

    def __init__(
        self,
        infields: Sequence[str] | None = None,
        force_run: bool = True,  # noqa: FBT001, FBT002 - nipype's signature
        **kwargs: Any,
    ) -> None:
        enable_pickling()
        infields = list_of_infields(infields)
        super().__init__(infields=infields, force_run=force_run, **kwargs)
        for field in infields or ():
            if field in kwargs:
                setattr(self.inputs, field, kwargs[field])

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        add_input_attributes(cls)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy of this sink has, and what the copy for an item of a MapNode needs."""
        return {**vars(self), **attributes_of_item()}

    def plan(self) -> Plan:
        """Decide where everything goes. Nothing is written, and no request is sent to S3.

        Returns
        -------
        Plan
            Deliveries in the order of ``out_file``; ``print(sink.plan())`` shows them.

        Raises
        ------
        SettingsError
            If inputs of the sink are not valid or contradict each other.
        SourceError
            Naming everything that cannot be delivered. Sources that do not exist are not an error
            here: ``plan.missing`` names them.
        CollisionError
            If different bytes would get the same destination.
        DestinationError
            If a destination cannot hold its file or directory.
        """
        return self._make_plan(self._make_rules(self._substitute))

    def destination(self, path: str | os.PathLike[str], field: str) -> str:
        """Return the destination, as in ``out_file``, of a file that need not exist.

        Parameters
        ----------
        path
            Path of the file or directory; folders that start with ``_`` count, as in a run.
        field
            Name of the sink's input, such as ``"motion.@par"``.

        Raises
        ------
        SettingsError
            If inputs of the sink are not valid or contradict each other.
        DestinationError
            If no file can have that name.
        """
        rules = self._make_rules(self._substitute)
        source = os.path.abspath(path)
        return rules.locations[0].resolve(route(source, field, rules.locations[0], rules))

    def check(self, *, write_object: bool = False) -> CheckReport:
        """Find out whether the places of this sink would accept files; no file remains there.

        Parameters
        ----------
        write_object
            Whether to write an object to S3, and to delete it. Otherwise an upload in parts is
            begun and aborted.

        Returns
        -------
        CheckReport
            `print` shows it; ``ok`` tells whether a delivery would work.
        """
        return check_places(place_checks(self, directory=os.getcwd(), write_object=write_object))

    def _read_settings(self) -> tuple[Settings, Location]:
        """Return the settings and the parsed base directory, as the inputs are now."""
        directory = explicit_value(self.inputs, "base_directory") or "."
        base = parse_location(directory)
        # First, because an override may set inputs, as nipype's own method does.
        if isinstance(base, S3Prefix) and not self._check_s3_base_dir()[0]:
            base = LocalDirectory(os.path.abspath(directory))
        return Settings.with_options(self.inputs, base), base

    def _make_rules(self, substitute: Callable[[str], str]) -> Rules:
        """Return everything that decides where sources go; check the inputs."""
        check_options(self.inputs)
        settings, base = self._read_settings()
        locations = settings.locations(base)
        settings.check(locations)
        return Rules(
            locations=locations,
            s3_copy=settings.s3_copy_of(base),
            relative=self._get_dst,
            substitute=substitute,
            remove_dest_dir=settings.remove_dest_dir,
            manifest_directory=settings.manifest_location(base),
        )

    def _make_plan(self, rules: Rules, on_progress: Callable[[], object] = lambda: None) -> Plan:
        names = known_inputs(self.inputs)
        return make_valid_plan(fields_of(self.inputs), rules, inputs=names, on_progress=on_progress)

    def _list_outputs(self) -> dict[str, Any]:
        """Deliver everything, and return where it is now."""
        set_outcomes(self, None)
        with graceful_shutdown(), shown_progress() as progress:
            rules = self._make_rules(log_changes(self._substitute, before=progress.hide))
            progress.begin_planning(rules.locations[0].label)
            plan = self._make_plan(rules, progress.show)
            try:
                set_outcomes(self, deliver_plan(self, plan, rules, progress))
            except DataSinkError as error:
                set_outcomes(self, error.outcomes or None)
                raise
        copy = rules.s3_copy and rules.s3_copy.location
        return {"out_file": [each.destination for each in plan.deliveries if each.location != copy]}

    def _s3_targets(
        self,
        settings: Settings,
        locations: Sequence[Location],
        before_removal: Callable[[], object] = lambda: None,
    ) -> list[S3Target]:
        hook = self._upload_to_s3 if self._is_overridden("_upload_to_s3") else None
        access = settings.access(self.inputs)
        return s3_targets(settings, locations, access, self._open_bucket, hook, before_removal)

    def _open_bucket(self) -> Any:
        injected = explicit_value(self.inputs, "bucket")
        if injected is not None:
            return resolve_bucket(injected)
        warn_if_mocked_in_worker()
        settings, base = self._read_settings()
        copy = settings.s3_copy_of(base)
        return self._fetch_bucket(copy.base.bucket if copy else self._check_s3_base_dir()[1])

    def run(self, cwd: Any = None, ignore_exception: Any = None, **inputs: Any) -> Any:
        """Sink, and return nipype's result, which has ``outputs.out_file``.

        The result of each file is in `outcomes` then, also after an error.
        """
        with self.inputs.bucket_as_text():
            return super().run(cwd=cwd, ignore_exception=ignore_exception, **inputs)

    def _run_interface(self, runtime: Any) -> Any:
        for name in secret_variables(runtime.environ):
            del runtime.environ[name]  # nipype writes them into its report and result file
        return super()._run_interface(runtime)

    # The methods below are nipype's. Subclasses override them, and some packages call them without
    # `run`, so each reads the inputs at the time of the call.

    def _is_overridden(self, name: str) -> bool:
        return getattr(getattr(self, name), "__func__", None) is not _OWN_METHODS[name]

    def _get_dst(self, src: str) -> str:
        """Return the part of a destination that depends only on the path of the source."""
        return relative_destination(
            src,
            parameterization=self.inputs.parameterization,
            strip_dir=explicit_value(self.inputs, "strip_dir"),
        )

    def _substitute(self, pathstr: str) -> str:
        """Apply all substitutions to a destination; the bucket in an ``s3://`` address stays."""
        return substitutions_of(self.inputs).apply(pathstr, root=bucket_root(pathstr))

    def _check_s3_base_dir(self) -> tuple[bool, str]:
        """Return whether ``base_directory`` is in S3, and the name of its bucket."""
        location = parse_location(explicit_value(self.inputs, "base_directory") or "")
        if isinstance(location, S3Prefix):
            return True, location.bucket
        return False, "<N/A>"

    def _return_aws_keys(self) -> tuple[str | None, str | None]:
        """Return access key ID and secret access key from ``creds_path`` or the environment."""
        creds_path = explicit_value(self.inputs, "creds_path")
        if not creds_path:
            return os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        from nipype_datasink.s3.credentials import read_credentials

        keys = read_credentials(creds_path)
        return keys.access_key_id, keys.secret_access_key

    def _fetch_bucket(self, bucket_name: str) -> Any:
        """Return the boto3 bucket of that name, opened with the credentials of this sink."""
        settings = Settings.from_inputs(self.inputs, S3_INPUTS)
        keys = self._return_aws_keys if self._is_overridden("_return_aws_keys") else None
        return open_bucket(bucket_name, settings, access_key_of(settings, keys))

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        """Send a file or directory to `dst`, an ``s3://`` address."""
        settings = Settings.from_inputs(self.inputs, S3_INPUTS)
        send_to_bucket(src, dst, bucket, settings, settings.access(self.inputs))


add_input_attributes(DataSink)


_OVERRIDABLE = ("_return_aws_keys", "_substitute", "_upload_to_s3")
_OWN_METHODS = {name: getattr(DataSink, name) for name in _OVERRIDABLE}
