"""The main job from end to end: a nipype workflow over real image series, sunk into S3 twice.

The functions that become nodes import what they need themselves and are annotated with builtins
only: nipype runs their source text in an empty namespace (``nipype/utils/functions.py``).
"""

# mypy: untyped-calls-exclude="nibabel"

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

import click
from nipype import Function, IdentityInterface, Node, Workflow
from nipype.algorithms.confounds import TSNR, ComputeDVARS, FramewiseDisplacement
from nipype.pipeline.engine.nodes import NodeExecutionError

from nipype_datasink import DataSink
from nipype_datasink.location import S3Prefix, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from types_boto3_s3 import S3Client

__all__ = ["build_workflow", "real_series", "run_demo"]

_SERIES = (
    ("nibabel", "tests/data/functional.nii"),
    ("nibabel", "tests/data/phantom_EPI_asc_CLEAR_2_1.PAR"),
    ("nipype", "testing/data/ds003_sub-01_mc.nii.gz"),
    ("nitime", "data/fmri1.nii.gz"),
    ("nitime", "data/fmri2.nii.gz"),
)

# What boto3 sees while the demo's own server runs: no profile, proxy or role of the user's.
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}

_WRITES = frozenset({"PUT", "POST", "DELETE"})


def real_series() -> dict[str, Path]:
    """Find the image series that nibabel, nipype and nitime bring along.

    Returns
    -------
    dict[str, Path]
        Subject, ``sub001`` first, to image. What is not installed is left out.
    """
    images = [path for package, name in _SERIES if (path := _packaged(package, name))]
    return {f"sub{number:03}": path for number, path in enumerate(images, start=1)}


def _packaged(package: str, name: str) -> Path | None:
    # Not importlib.resources: that imports the package, and nitime takes a second.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None


def convert(subject_id: str, series: dict[str, str]) -> str:
    """Save a subject's series, NIfTI or PAR/REC, as NIfTI of float32."""
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    source: Any = nb.load(series[subject_id])
    image = nb.Nifti1Image.from_image(source)
    image.set_data_dtype(np.float32)
    out_file = Path(f"{subject_id}_bold.nii.gz").resolve()
    image.to_filename(out_file)
    if series[subject_id].endswith(".PAR"):
        source.dataobj.file_like.close()  # nibabel leaves the .REC open
    return str(out_file)


def estimate_motion(in_file: str) -> str:
    """Estimate rigid motion against the mean volume; SPM's columns: x y z in mm, angles in rad.

    One Gauss-Newton step of a least-squares registration with a free intensity scale, which is
    enough for motion well below the size of a voxel.
    """
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    image = nb.Nifti1Image.from_filename(in_file)
    volumes = image.get_fdata()
    mean = volumes.mean(axis=3)
    voxels = np.indices(mean.shape).reshape(3, -1).T
    positions = nb.affines.apply_affine(image.affine, voxels)
    slopes = np.stack(np.gradient(mean), axis=-1).reshape(-1, 3)
    slopes = slopes @ np.linalg.inv(image.affine[:3, :3])
    turns = np.cross(positions - positions.mean(axis=0), slopes)
    design = np.column_stack([-slopes, -turns, mean.ravel()])
    changes = (volumes - mean[..., None]).reshape(-1, volumes.shape[3])
    parameters = np.linalg.lstsq(design, changes, rcond=None)[0][:6].T
    out_file = Path(in_file).name.replace("_bold.nii.gz", "_motion.txt")
    np.savetxt(out_file, parameters, fmt="%.8f")
    return str(Path(out_file).resolve())


def brain_mask(mean_file: str) -> str:
    """Mask the voxels brighter than a fifth of the 98th percentile."""
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    mean = nb.Nifti1Image.from_filename(mean_file)
    intensity = mean.get_fdata()
    mask = (intensity > np.percentile(intensity, 98) / 5).astype(np.uint8)
    out_file = Path("mask.nii.gz").resolve()
    nb.Nifti1Image(mask, mean.affine).to_filename(out_file)
    return str(out_file)


def enlarge(mean_file: str) -> tuple[str, str]:
    """Resample the mean to some 2.5 million voxels, 10 MB and more; save it as a pair for SPM too.

    Files above 8 MiB go to S3 in several parts, and of a pair the sink is told the ``.img`` only.
    """
    from pathlib import Path

    import nibabel as nb
    import numpy as np
    from nibabel.processing import resample_to_output

    mean = nb.Nifti1Image.from_filename(mean_file)
    extent = (np.array(mean.shape) - 1) * mean.header.get_zooms()
    voxel_size = float((extent.prod() / 2.5e6) ** (1 / 3))
    fine, pair = Path("mean_fine.nii").resolve(), Path("mean.img").resolve()
    resample_to_output(mean, voxel_size, order=1).to_filename(fine)
    nb.Nifti1Pair.from_image(mean).to_filename(pair)
    return str(fine), str(pair)


def assess(bold: str, mask: str, displacement: str, dvars: str) -> str:
    """Write a folder for quality control: a table of confounds, a summary and a figure."""
    import json
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    folder = Path("qa").resolve()
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    inside = np.asarray(nb.Nifti1Image.from_filename(mask).dataobj) > 0
    signal = nb.Nifti1Image.from_filename(bold).get_fdata()[inside].mean(axis=0)
    # The first volume has none before it.
    displacements = np.insert(np.loadtxt(displacement, skiprows=1), 0, np.nan)
    table = np.column_stack([signal, displacements, np.insert(np.loadtxt(dvars), 0, np.nan)])
    names = ["global_signal", "framewise_displacement", "std_dvars"]
    header = "\t".join(names)
    np.savetxt(folder / "confounds.tsv", table, "%.6f", "\t", header=header, comments="")
    summary = dict(zip(names, np.nanmean(table, axis=0).round(6).tolist(), strict=True))
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    heights = 90 - 80 * (signal - signal.min()) / np.ptp(signal)
    points = " ".join(f"{10 * volume},{height:.1f}" for volume, height in enumerate(heights))
    (folder / "figures" / "global_signal.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {10 * len(signal)} 100">'
        f'<polyline fill="none" stroke="teal" points="{points}"/></svg>\n'
    )
    return str(folder)


def build_workflow(
    base_directory: str,
    local_copy: Path,
    working_directory: Path,
    *,
    endpoint_url: str | None = None,
) -> Workflow:
    """Build the workflow: motion, temporal signal-to-noise, DVARS and quality of every series.

    Parameters
    ----------
    base_directory
        Where the outputs go: ``s3://bucket/prefix``, or a directory.
    local_copy
        Directory that gets a copy of every output.
    working_directory
        Directory in which nipype works.
    endpoint_url
        Address of an S3 that is not Amazon's.

    Returns
    -------
    nipype.Workflow
        Ready to run, on any plugin.
    """
    workflow = Workflow(name="demo", base_dir=str(working_directory))
    workflow.config["execution"] = {
        "crashdump_dir": str(working_directory),
        "stop_on_first_crash": "true",
    }
    subjects = Node(IdentityInterface(["subject_id"]), name="subjects")
    subjects.iterables = ("subject_id", list(real_series()))
    datasink = _datasink(base_directory, local_copy, endpoint_url)
    workflow.connect(subjects, "subject_id", datasink, "container")
    _connect_analysis(workflow, subjects, datasink)
    return workflow


def _datasink(base_directory: str, local_copy: Path, endpoint_url: str | None) -> Node:
    datasink = Node(DataSink(), name="datasink")
    datasink.inputs.base_directory = base_directory
    datasink.inputs.local_copy = str(local_copy)
    datasink.inputs.encrypt_bucket_keys = True
    if endpoint_url is not None:
        datasink.inputs.s3_endpoint_url = endpoint_url
    datasink.inputs.substitutions = [
        ("fd_power_2012", "framewise_displacement"),
        ("_bold_dvars_std", "_dvars"),
    ]
    datasink.inputs.regexp_substitutions = [(r"/_subject_id_sub\d+", "")]
    return datasink


def _connect_analysis(workflow: Workflow, subjects: Node, datasink: Node) -> None:
    series = _function_node(convert, "bold")
    series.inputs.series = {subject: str(path) for subject, path in real_series().items()}
    motion = _function_node(estimate_motion, "parameters")
    displacement = Node(FramewiseDisplacement(parameter_source="SPM"), name="displacement")
    tsnr = Node(TSNR(), name="tsnr")
    mask = _function_node(brain_mask, "mask")
    mean = _function_node(enlarge, "fine", "pair")
    dvars = Node(ComputeDVARS(), name="dvars")
    quality = _function_node(assess, "folder")
    workflow.connect(subjects, "subject_id", series, "subject_id")
    workflow.connect(series, "bold", motion, "in_file")
    workflow.connect(series, "bold", tsnr, "in_file")
    workflow.connect(motion, "parameters", displacement, "in_file")
    workflow.connect(tsnr, "mean_file", mask, "mean_file")
    workflow.connect(tsnr, "mean_file", mean, "mean_file")
    workflow.connect([(series, dvars, [("bold", "in_file")]), (mask, dvars, [("mask", "in_mask")])])
    workflow.connect([(series, quality, [("bold", "bold")]), (mask, quality, [("mask", "mask")])])
    workflow.connect(displacement, "out_file", quality, "displacement")
    workflow.connect(dvars, "out_std", quality, "dvars")

    workflow.connect(motion, "parameters", datasink, "motion.@par")
    workflow.connect(displacement, "out_file", datasink, "motion.@fd")
    workflow.connect(dvars, "out_std", datasink, "motion.@dvars")
    workflow.connect(tsnr, "tsnr_file", datasink, "tsnr")
    workflow.connect(mask, "mask", datasink, "mean.@mask")
    workflow.connect(mean, "fine", datasink, "mean.@fine")
    workflow.connect(mean, "pair", datasink, "mean.@pair")
    workflow.connect(quality, "folder", datasink, "@qa")


def _function_node(function: Callable[..., object], *outputs: str) -> Node:
    return Node(Function(function=function, output_names=list(outputs)), name=function.__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The part of S3 that a demo writes to."""

    place: S3Prefix
    endpoint_url: str | None = None
    requests: list[str] | None = None
    """Method of every request the server has received; None where the server is not ours."""

    def client(self) -> S3Client:
        """Return a client with boto3's ordinary credentials."""
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What S3 says of one object."""

    size: int
    """Bytes."""
    etag: str
    modified: datetime
    encryption: str


def run_demo(
    to: str | None = None, *, directory: Path | None = None, endpoint_url: str | None = None
) -> None:
    """Run the workflow into S3, print what has arrived, and run it again: nothing is sent twice.

    Parameters
    ----------
    to
        ``s3://bucket/prefix`` of your own, with boto3's ordinary credentials. None: an S3 that
        starts in this process and ends with the demo.
    directory
        Where nipype works and the local copy lies, kept afterwards. None: a temporary one.
    endpoint_url
        Address of your own S3 where it is not Amazon's.

    Raises
    ------
    click.ClickException
        If a package is missing, a node fails, or the bucket does not hold what the local copy
        holds.
    """
    with ExitStack() as stack:
        stack.enter_context(_quiet_loggers())
        store = stack.enter_context(_own_server()) if to is None else _users_store(to, endpoint_url)
        if directory is None:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="nipype-datasink-")))
        _demonstrate(store, directory.resolve())


def _users_store(to: str, endpoint_url: str | None) -> Store:
    place = parse(to)
    if not isinstance(place, S3Prefix):
        raise click.UsageError(f"{to!r} is not of the form s3://bucket/prefix")
    return Store(place=place, endpoint_url=endpoint_url)


@contextmanager
def _own_server() -> Iterator[Store]:
    """Serve a bucket from this process, to credentials that hold only meanwhile."""
    with _environment(_ENVIRONMENT), _counting_server() as (endpoint_url, requests):
        store = Store(
            place=S3Prefix("mybucket", "path/to/output/dir"),
            endpoint_url=endpoint_url,
            requests=requests,
        )
        with _bucket(store):
            yield store


@contextmanager
def _counting_server() -> Iterator[tuple[str, list[str]]]:
    """Start moto's S3; yield its address and the growing list of its requests' methods."""
    try:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            create_backend_app,
        )
        from werkzeug.serving import make_server
    except ImportError as error:
        raise click.ClickException(
            "Without --to the demo needs moto: pip install 'nipype-datasink[demo]'"
        ) from error
    requests: list[str] = []
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        requests.append(environ["REQUEST_METHOD"])
        response: Iterable[bytes] = moto(environ, start_response)
        return response

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _bucket(store: Store) -> Iterator[None]:
    """Create the bucket and remove it: moto's memory belongs to the process."""
    import boto3

    bucket = boto3.resource("s3", endpoint_url=store.endpoint_url).Bucket(store.place.bucket)
    bucket.create()
    try:
        yield
    finally:
        bucket.objects.delete()
        bucket.delete()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace every variable of AWS's by these."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Keep nipype and the server from telling of every node and request."""
    # A node's failure is raised as well, and shown once.
    levels = dict.fromkeys(("nipype.interface", "nipype.utils", "werkzeug"), logging.WARNING)
    levels["nipype.workflow"] = logging.CRITICAL
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _demonstrate(store: Store, directory: Path) -> None:
    local_copy = directory / "local_copy"
    workflow = build_workflow(
        str(store.place), local_copy, directory / "work", endpoint_url=store.endpoint_url
    )
    for line in _described_series():
        click.echo(line)
    first_run = _run(workflow, store)
    files = _files_below(local_copy)
    first = _stored_objects(store, files)
    click.echo(f"\n{store.place}")
    for line in _tree(first):
        click.echo(line)
    size = _readable(sum(stored.size for stored in first.values()))
    click.echo(f"\nfirst run   {len(first)} files, {size}, {first_run}")
    click.echo(f"local copy  {_compare(store, files)}")
    second_run = _run(workflow, store)
    second = _stored_objects(store, files)
    sent = sum(second[name] != stored for name, stored in first.items())
    click.echo(f"second run  {len(second)} files, {sent} sent, {second_run}")


def _described_series() -> Iterator[str]:
    import nibabel as nb

    for subject, path in real_series().items():
        image: Any = nb.load(path)
        *voxels, volumes = image.shape
        if path.suffix == ".PAR":
            image.dataobj.file_like.close()
        grid = " x ".join(f"{length:2}" for length in voxels)
        yield f"{subject}  {path.name:<30}  {grid} voxels, {volumes:2} volumes"


def _run(workflow: Workflow, store: Store) -> str:
    """Run what nipype finds changed and, as it always does, the sinks; tell what that took."""
    before = len(store.requests or ())
    started = time.perf_counter()
    try:
        workflow.run(plugin="Linear")
    except NodeExecutionError as error:
        raise click.ClickException(str(error)) from error
    taken = f"in {time.perf_counter() - started:.1f} s"
    if store.requests is None:
        return taken
    methods = store.requests[before:]
    writes = sum(method in _WRITES for method in methods)
    return f"{taken} ({len(methods)} requests reached the server, {writes} of them writes)"


def _files_below(directory: Path) -> dict[str, Path]:
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path for path in paths}


def _listed(store: Store) -> set[str]:
    """List what lies below the place the demo writes to."""
    prefix = f"{store.place.prefix}/" if store.place.prefix else ""
    paginator = store.client().get_paginator("list_objects_v2")
    pages = paginator.paginate(Bucket=store.place.bucket, Prefix=prefix)
    return {each["Key"].removeprefix(prefix) for page in pages for each in page.get("Contents", ())}


def _stored_objects(store: Store, names: Iterable[str]) -> dict[str, StoredObject]:
    if missing := sorted(set(names) - _listed(store)):
        raise click.ClickException(f"{store.place} lacks {', '.join(missing)}")
    client = store.client()
    return {name: _stored_object(client, store.place, name) for name in names}


def _stored_object(client: S3Client, place: S3Prefix, name: str) -> StoredObject:
    answer = client.head_object(Bucket=place.bucket, Key=place.key(f"{place}/{name}"))
    return StoredObject(
        size=answer["ContentLength"],
        etag=answer["ETag"],
        modified=answer["LastModified"],
        encryption=answer.get("ServerSideEncryption", "not encrypted"),
    )


def _compare(store: Store, files: Mapping[str, Path]) -> str:
    """Read every object back; what else a user's bucket holds is counted only."""
    client, place = store.client(), store.place
    for name, path in files.items():
        answer = client.get_object(Bucket=place.bucket, Key=place.key(f"{place}/{name}"))
        if answer["Body"].read() != path.read_bytes():
            raise click.ClickException(f"{place}/{name} differs from {path}")
    others = len(_listed(store) - files.keys())
    beside = f"; the bucket holds {others} more" if others else ""
    return f"{len(files)} files, equal to the bucket byte for byte{beside}"


def _tree(objects: Mapping[str, StoredObject]) -> list[str]:
    """Draw the names as folders, with size and encryption beside each."""
    rows = list(_branches([(name.split("/"), stored) for name, stored in objects.items()]))
    width = max(len(label) for label, _ in rows)
    return [
        f"{label:{width}} {_readable(stored.size):>9}  {stored.encryption}" if stored else label
        for label, stored in rows
    ]


def _branches(
    objects: list[tuple[list[str], StoredObject]], indent: str = ""
) -> Iterator[tuple[str, StoredObject | None]]:
    names = sorted({parts[0] for parts, _ in objects})
    for name in names:
        branch, below = ("└── ", "    ") if name == names[-1] else ("├── ", "│   ")
        inside = [(parts[1:], stored) for parts, stored in objects if parts[0] == name]
        if inside[0][0]:
            yield f"{indent}{branch}{name}", None
            yield from _branches(inside, indent + below)
        else:
            yield f"{indent}{branch}{name}", inside[0][1]


def _readable(size: float) -> str:
    """Write a number of bytes as people read it."""
    for unit in ("B", "KiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} MiB"
