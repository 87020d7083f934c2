"""Check whether a prefix in a bucket would accept files, by at most five requests.

One key is listed. Then an upload in parts is begun as a delivery would begin it, and aborted: that
needs the permission to write, and leaves no object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nipype_datasink.delivery.check_report import CheckOptions, CheckStep, PlaceReport, StepVerdict
from nipype_datasink.delivery.setting_names import rename_settings
from nipype_datasink.display import escaped
from nipype_datasink.planning.location import S3Prefix
from nipype_datasink.s3.access import AccessSettings
from nipype_datasink.s3.boto3_bucket import (
    access_key_of,
    has_swapped_keys,
    is_boto3_resource,
    is_signed,
    secrets_of,
)
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.errors import DENIED, code_of
from nipype_datasink.s3.findings import Finding, StepName, find_cause
from nipype_datasink.s3.probe import ERRORS, Probe
from nipype_datasink.s3.write_check import WriteCheck

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

_EXPECTED = (StepName.ENDPOINT, StepName.IDENTITY, StepName.LIST, StepName.WRITE)
_NOT_KNOWN = ("kms:Decrypt", "quota", "Object Lock")
_ANONYMOUS = "set creds_path, s3_profile or AWS_ACCESS_KEY_ID, unless everybody may write here"

_SWAPPED = (
    "the access key ID looks like a secret access key; the two seem to be swapped where they are "
    "set, so exchange them"
)

_NO_LISTING = (
    "the identity is not allowed to list (s3:ListBucket), so every run will send everything"
)


def check_prefix(
    location: S3Prefix,
    open_bucket: Callable[[], Any],
    upload_args: Mapping[str, Any],
    access: AccessSettings,
    options: CheckOptions,
) -> PlaceReport:
    """Find out whether a prefix would accept files.

    Parameters
    ----------
    location
        Bucket and prefix.
    open_bucket
        Returns the bucket.
    upload_args
        boto3's ``ExtraArgs``.
    access
        Where endpoint and credentials come from.
    options
        Names of settings for the user, and whether to write an object.
    """
    try:
        bucket = open_bucket()
    except Exception as error:  # noqa: BLE001 - subclasses open buckets in their own way
        report = _report_unopened(location, error, access)
        return rename_settings(report, {**options.setting_names, **access.setting_names(None)})
    if not is_boto3_resource(bucket):
        step = CheckStep(
            name=StepName.BUCKET.value,
            text=f"a {type(bucket).__name__} object, which is not checked",
            verdict=StepVerdict.UNKNOWN,
        )
        return PlaceReport(place=location.label, steps=(step,))
    client = BucketClient(
        client=bucket.meta.client, name=location.actual_bucket, upload_args=upload_args
    )
    hidden = (*secrets_of(bucket), access_key_of(bucket))
    probe = Probe(client, location.prefix, secrets=hidden)
    check = _PrefixCheck(location, bucket, probe, access, options)
    try:
        check.run(WriteCheck(client, probe, location))
    finally:
        probe.close()
    names = {**options.setting_names, **access.setting_names(bucket)}
    return rename_settings(check.report(), names)


def _report_unopened(location: S3Prefix, error: Exception, access: AccessSettings) -> PlaceReport:
    if isinstance(error, ERRORS):
        finding = find_cause(error, StepName.ENDPOINT, endpoint_url="", date=None)
    else:
        finding = Finding(StepName.BUCKET, f"{type(error).__name__}: {error}")
    sources = {
        StepName.BUCKET: location.actual_bucket,
        StepName.IDENTITY: access.credential_source,
        StepName.ENDPOINT: access.endpoint_source,
        StepName.REGION: "of s3_region, or of boto3's configuration",
    }
    step = CheckStep(
        name=finding.step.value,
        text=sources.get(finding.step) or "of boto3's configuration",
        verdict=StepVerdict.FAILED,
        advice=escaped(finding.advice),
    )
    others = tuple(name.value for name in _EXPECTED if name != finding.step)
    return PlaceReport(place=location.label, steps=(step,), not_tried=others)


class _PrefixCheck:
    """Takes the steps of a check one after the other."""

    def __init__(
        self,
        location: S3Prefix,
        bucket: Bucket,
        probe: Probe,
        access: AccessSettings,
        options: CheckOptions,
    ) -> None:
        self._location = location
        self._bucket = bucket
        self._probe = probe
        self._access = access
        self._options = options
        self._steps: dict[StepName, CheckStep] = {}
        self._signed = is_signed(bucket)
        self._swapped = has_swapped_keys(bucket)

    def run(self, write: WriteCheck) -> None:
        """Take all steps, up to the first that fails."""
        self._add(StepName.ENDPOINT)
        self._add(StepName.IDENTITY)
        if not self._signed:
            self._add(StepName.IDENTITY, StepVerdict.WARNING, _ANONYMOUS)
        if self._swapped:
            self._add(StepName.IDENTITY, StepVerdict.WARNING, _SWAPPED)
        self._list()
        if not self._has_failed():
            self._write(write)
        region = self._probe.bucket_region
        if region and region != self._bucket.meta.client.meta.region_name:
            self._add_region(region)

    def report(self) -> PlaceReport:
        """Return the results in the order of `StepName`."""
        return PlaceReport(
            place=self._location.label,
            steps=tuple(self._steps[name] for name in StepName if name in self._steps),
            not_tried=tuple(name.value for name in _EXPECTED if name not in self._steps),
            not_known=_NOT_KNOWN,
        )

    def _list(self) -> None:
        try:
            self._probe.list_folder()
        except ERRORS as error:
            finding = self._find_cause(error, StepName.LIST)
            if finding.step == StepName.LIST and code_of(error) in DENIED:
                self._add(StepName.LIST, StepVerdict.WARNING, _NO_LISTING)
            else:
                self._fail(finding)
        else:
            self._add(StepName.LIST)

    def _write(self, write: WriteCheck) -> None:
        try:
            result = write.write_object() if self._options.write_object else write.begin_upload()
        except ERRORS as error:
            finding = self._find_cause(error, StepName.WRITE)
            if finding.step == StepName.WRITE and code_of(error) in DENIED:
                finding = write.explain_denied(error, signed=self._signed)
            self._fail(finding)
        else:
            self._add(StepName.WRITE, result.verdict, result.advice, result.text)

    def _find_cause(self, error: Exception, request: StepName) -> Finding:
        endpoint_url = self._bucket.meta.client.meta.endpoint_url
        return find_cause(error, request, endpoint_url=endpoint_url, date=self._probe.date)

    def _has_failed(self) -> bool:
        return any(step.verdict is StepVerdict.FAILED for step in self._steps.values())

    def _fail(self, finding: Finding) -> None:
        advice = escaped(finding.advice)
        if finding.step == StepName.ENDPOINT and self._signed and not self._swapped:
            self._add(StepName.IDENTITY, StepVerdict.UNKNOWN)  # nobody has looked at it
        if finding.step == StepName.IDENTITY and self._swapped:
            advice = f"{advice}\n{_SWAPPED}"
        self._add(finding.step, StepVerdict.FAILED, advice)

    def _add_region(self, region: str) -> None:
        """Name the region of the bucket. boto3 has found it by a second request, if at all."""
        failed = StepName.REGION in self._steps
        verdict = StepVerdict.FAILED if failed else StepVerdict.WARNING
        advice = f"the bucket is in {region}; set s3_region to {region!r}"
        self._add(StepName.REGION, verdict, advice if failed else f"{advice} to save requests")

    def _add(
        self,
        name: StepName,
        verdict: StepVerdict = StepVerdict.OK,
        advice: str = "",
        text: str | None = None,
    ) -> None:
        shown = self._text_of(name) if text is None else text
        self._steps[name] = CheckStep(name=name.value, text=shown, verdict=verdict, advice=advice)

    def _text_of(self, name: StepName) -> str:
        """Return what a step examines."""
        meta = self._bucket.meta.client.meta
        if name == StepName.ENDPOINT:
            return self._access.describe_endpoint(self._bucket)
        if name == StepName.IDENTITY:
            return self._access.describe_credentials(self._bucket)
        if name == StepName.LIST:
            return f"below {self._location.prefix}/" if self._location.prefix else "the bucket"
        return {
            StepName.CLOCK: "of this machine",
            StepName.REGION: f"{meta.region_name}",
            StepName.BUCKET: self._location.actual_bucket,
            StepName.WRITE: "object" if self._options.write_object else "upload in parts",
        }.get(name, "")
