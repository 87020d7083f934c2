"""Run the demo, and print what was written."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from nipype import Workflow
from nipype.pipeline.engine.nodes import NodeExecutionError

from nipype_datasink.demo.series import real_series
from nipype_datasink.demo.store import ObjectProperties, Store, own_store, users_store
from nipype_datasink.demo.workflow import build_workflow
from nipype_datasink.planning.location import S3Prefix

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_WRITES = frozenset({"PUT", "POST", "DELETE"})


def run_demo(
    to: str | None = None, *, directory: Path | None = None, endpoint_url: str | None = None
) -> None:
    """Run the workflow, print what S3 received, and run it again to show that nothing is resent.

    Parameters
    ----------
    to
        Destination ``s3://bucket/prefix``; boto3 finds the credentials. None starts a temporary S3
        server in this process.
    directory
        Directory for nipype's working directory and the local copy; it is kept. None creates a
        temporary directory.
    endpoint_url
        Address of an S3-compatible store; None for AWS.

    Raises
    ------
    click.ClickException
        If a package is missing, a node fails, or the bucket and the local copy differ.
    """
    with ExitStack() as stack:
        stack.enter_context(_quiet_loggers())
        store = stack.enter_context(own_store()) if to is None else users_store(to, endpoint_url)
        if directory is None:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="nipype-datasink-")))
        _run_twice(store, directory.resolve())


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Hide the log lines of nipype and the server for each node and request."""
    # The error of a node is also raised; without this it would be shown twice.
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


def _run_twice(store: Store, directory: Path) -> None:
    local_copy = directory / "local_copy"
    workflow = build_workflow(
        str(store.location), local_copy, directory / "work", endpoint_url=store.endpoint_url
    )
    for line in _describe_series():
        click.echo(line)
    first_run = _run(workflow, store)
    files = _files_below(local_copy)
    first = _stored_objects(store, files)
    click.echo(f"\n{store.location}")
    for line in _tree(first):
        click.echo(line)
    size = _format_size(sum(stored.size for stored in first.values()))
    click.echo(f"\nfirst run   {len(first)} files, {size}, {first_run}")
    click.echo(f"local copy  {_compare(store, files)}")
    second_run = _run(workflow, store)
    second = _stored_objects(store, files)
    sent = sum(second[name] != stored for name, stored in first.items())
    click.echo(f"second run  {len(second)} files, {sent} sent, {second_run}")


def _run(workflow: Workflow, store: Store) -> str:
    """Run the sinks and the nodes that changed; return the time and the number of requests."""
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


def _describe_series() -> Iterator[str]:
    import nibabel as nb

    for subject, path in real_series().items():
        image: Any = nb.load(path)
        *voxels, volumes = image.shape
        if path.suffix == ".PAR":
            image.dataobj.file_like.close()
        grid = " x ".join(f"{length:2}" for length in voxels)
        yield f"{subject}  {path.name:<30}  {grid} voxels, {volumes:2} volumes"


def _files_below(directory: Path) -> dict[str, Path]:
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path for path in paths}


def _listed(store: Store) -> set[str]:
    """Return the keys below the location of the demo, relative to it."""
    prefix = f"{store.location.prefix}/" if store.location.prefix else ""
    paginator = store.client().get_paginator("list_objects_v2")
    pages = paginator.paginate(Bucket=store.location.bucket, Prefix=prefix)
    return {each["Key"].removeprefix(prefix) for page in pages for each in page.get("Contents", ())}


def _stored_objects(store: Store, names: Iterable[str]) -> dict[str, ObjectProperties]:
    if missing := sorted(set(names) - _listed(store)):
        raise click.ClickException(f"not in {store.location}: {', '.join(missing)}")
    client = store.client()
    return {name: _stored_object(client, store.location, name) for name in names}


def _stored_object(client: S3Client, location: S3Prefix, name: str) -> ObjectProperties:
    answer = client.head_object(Bucket=location.bucket, Key=location.key(f"{location}/{name}"))
    return ObjectProperties(
        size=answer["ContentLength"],
        etag=answer["ETag"],
        modified=answer["LastModified"],
        encryption=answer.get("ServerSideEncryption", "not encrypted"),
    )


def _compare(store: Store, files: Mapping[str, Path]) -> str:
    """Compare every object with the local copy; other objects in the bucket are only counted."""
    client, location = store.client(), store.location
    for name, path in files.items():
        answer = client.get_object(Bucket=location.bucket, Key=location.key(f"{location}/{name}"))
        if answer["Body"].read() != path.read_bytes():
            raise click.ClickException(f"{location}/{name} differs from {path}")
    others = len(_listed(store) - files.keys())
    more = f"; the bucket holds {others} more" if others else ""
    return f"{len(files)} files, equal to the bucket byte for byte{more}"


def _tree(objects: Mapping[str, ObjectProperties]) -> list[str]:
    """Return lines that draw the names as a tree of folders, with size and encryption."""
    rows = list(_branches([(name.split("/"), stored) for name, stored in objects.items()]))
    width = max(len(label) for label, _ in rows)
    return [
        f"{label:{width}} {_format_size(stored.size):>9}  {stored.encryption}" if stored else label
        for label, stored in rows
    ]


def _branches(
    objects: list[tuple[list[str], ObjectProperties]], indent: str = ""
) -> Iterator[tuple[str, ObjectProperties | None]]:
    names = sorted({parts[0] for parts, _ in objects})
    for name in names:
        branch, below = ("└── ", "    ") if name == names[-1] else ("├── ", "│   ")
        inside = [(parts[1:], stored) for parts, stored in objects if parts[0] == name]
        if inside[0][0]:
            yield f"{indent}{branch}{name}", None
            yield from _branches(inside, indent + below)
        else:
            yield f"{indent}{branch}{name}", inside[0][1]


def _format_size(size: float) -> str:
    """Return a number of bytes with a unit, such as ``1.5 MiB``."""
    for unit in ("B", "KiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} MiB"
