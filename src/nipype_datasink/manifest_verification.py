"""Find out whether the files that manifests list are still there and unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from nipype_datasink.configuration import S3_INPUTS
from nipype_datasink.delivery.manifest import ManifestRow, from_text, is_manifest_name, newest_rows
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.delivery.progress_display import choose_bar
from nipype_datasink.delivery.recorded_files import compare_files
from nipype_datasink.delivery.verify_report import Finding, VerifyReport
from nipype_datasink.errors import ManifestError, with_original
from nipype_datasink.inputs import DataSinkInputSpec
from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import S3Prefix
from nipype_datasink.settings import Settings
from nipype_datasink.targets import access_key_of, open_bucket, s3_targets

_Result = TypeVar("_Result")


def verify(
    *paths: str | os.PathLike[str],
    download: bool = False,
    endpoint_url: str | None = None,
    creds_path: str | None = None,
    profile: str | None = None,
    region: str | None = None,
) -> VerifyReport:
    """Find out whether delivered files are still there and unchanged.

    Files on disk are compared by size and SHA-256, objects in S3 by size and ETag, which takes one
    listing. If several sinks have delivered to one destination, the last one counts. Nothing is
    written.

    Parameters
    ----------
    *paths
        Manifests, or directories of manifests; paths or ``s3://`` addresses.
    download
        Read the objects in S3 and compare their SHA-256 instead of their ETags.
    endpoint_url
        Address of an S3-compatible store. This and the following three apply to all of S3.
    creds_path
        File with an access key.
    profile
        Profile in AWS's configuration files.
    region
        AWS region.

    Returns
    -------
    VerifyReport
        `print` shows it; ``ok`` tells whether everything is as it was delivered.

    Raises
    ------
    ManifestError
        If a path is no manifest, or a directory without manifests.
    S3Error
        If a bucket cannot be reached or listed.
    """
    options = {
        "s3_endpoint_url": endpoint_url,
        "creds_path": creds_path,
        "s3_profile": profile,
        "s3_region": region,
    }
    given = {name: value for name, value in options.items() if value is not None}
    manifests = read_manifests([os.fspath(path) for path in paths], given)
    return verify_manifests(manifests, given, download=download)


def read_manifests(paths: Sequence[str], inputs: dict[str, Any]) -> list[list[ManifestRow]]:
    """Return the rows of each manifest, in the order of their paths and names.

    Parameters
    ----------
    paths
        Manifests, or directories of manifests.
    inputs
        Inputs of a sink that decide how a store is reached.
    """
    manifests: list[list[ManifestRow]] = []
    for path in paths:
        location = parse_location(path, "the path of a manifest")
        if isinstance(location, S3Prefix):
            contents = _read_objects(location, inputs)
        else:
            contents = _read_files(location.path)
        if not contents:
            raise ManifestError(f"{path} holds no manifest; give the value of sink_manifest_dir")
        manifests += [_rows(name, content) for name, content in contents]
    return manifests


def _rows(name: str, content: bytes) -> list[ManifestRow]:
    try:
        return from_text(content.decode("utf-8", "surrogateescape"))
    except ManifestError as error:
        raise ManifestError(f"{name}: {error}") from None


def verify_manifests(
    manifests: Sequence[Sequence[ManifestRow]], inputs: dict[str, Any], *, download: bool
) -> VerifyReport:
    """Compare the destinations of all rows with what was delivered; see `verify`."""
    by_bucket: dict[str, list[ManifestRow]] = {}  # empty text for those on disk
    for row in newest_rows(manifests):
        bucket = row.destination.split("/")[2] if row.destination.startswith("s3://") else ""
        by_bucket.setdefault(bucket, []).append(row)
    # Not `shown_progress`: no log line may get between the lines that the command prints.
    with closing(Progress(choose=choose_bar)) as progress:
        progress.begin_place("disk", ())
        findings = compare_files(by_bucket.pop("", []), progress)
        for bucket, recorded in by_bucket.items():
            progress.begin_place(f"s3://{bucket}", ())
            findings += _compare_objects(bucket, recorded, inputs, progress, download=download)
    return VerifyReport.from_findings(findings)


def _read_files(path: str) -> list[tuple[str, bytes]]:
    """Return path and bytes of each manifest at a path."""
    try:
        paths = [path] if os.path.isfile(path) else _manifests_in(path)
        return [(each, Path(each).read_bytes()) for each in paths]
    except OSError as error:
        name = error.filename or path
        message = f"{name} cannot be read: {error.strerror}"
        raise with_original(ManifestError(message), error) from None


def _manifests_in(directory: str) -> list[str]:
    names = filter(is_manifest_name, sorted(os.listdir(directory)))
    return [os.path.join(directory, name) for name in names]


def _read_objects(location: S3Prefix, inputs: dict[str, Any]) -> list[tuple[str, bytes]]:
    from nipype_datasink.s3.recorded_objects import manifest_keys, read_objects

    def read(bucket: Any) -> list[tuple[str, bytes]]:
        keys = manifest_keys(bucket, location.prefix)
        addresses = [f"{location.root}/{key}" for key in keys]
        return list(zip(addresses, read_objects(bucket, keys), strict=True))

    return _read_bucket(location.bucket, inputs, read, "its manifests cannot be read")


def _compare_objects(
    bucket_name: str,
    rows: Sequence[ManifestRow],
    inputs: dict[str, Any],
    progress: Progress,
    *,
    download: bool,
) -> list[Finding]:
    from nipype_datasink.s3.recorded_objects import compare_objects

    def compare(bucket: Any) -> list[Finding]:
        return compare_objects(bucket, rows, progress, download=download)

    return _read_bucket(bucket_name, inputs, compare, "its objects cannot be verified")


def _read_bucket(
    name: str, inputs: dict[str, Any], read: Callable[[Any], _Result], message: str
) -> _Result:
    """Return what `read` finds out about a bucket, which is opened with these inputs."""
    from nipype_datasink.s3.bucket_client import BucketClient

    location = S3Prefix(name)
    given = DataSinkInputSpec(**inputs)
    settings = Settings.from_inputs(given, S3_INPUTS)
    settings.check([location])
    key = access_key_of(settings)
    access = settings.access(given)
    (target,) = s3_targets(settings, [location], access, lambda: open_bucket(name, settings, key))

    def read_opened(bucket: Any) -> _Result:
        client = bucket.meta.client
        return read(BucketClient(client=client, name=name, upload_args=settings.upload_args))

    return target.read(read_opened, message)
