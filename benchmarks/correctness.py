"""Compare delivered files with their sources; end the benchmark if they differ."""

from __future__ import annotations

import hashlib
import os
from filecmp import cmp
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.server import BUCKET


def check_upload(client: Any, source: Path, prefix: str, others: int = 0) -> None:
    """Compare a prefix with a directory: names, sizes, and ETags with MD5s.

    Parameters
    ----------
    client
        A boto3 client.
    source
        Directory of the sources.
    prefix
        Prefix of the objects.
    others
        Number of objects that were in the prefix before.
    """
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    stored = {item["Key"]: item for page in pages for item in page.get("Contents", [])}
    files = {f"{prefix}/{path.name}": path for path in source.iterdir()}
    _check(len(stored) == len(files) + others, f"{prefix}: {len(stored)} objects")
    for key, path in files.items():
        _check(key in stored, f"{key} is missing")
        _check(stored[key]["Size"] == path.stat().st_size, f"{key} has another size")
        etag = stored[key]["ETag"].strip('"')
        _check(etag == _etag(path, _part_size(client, key, etag)), f"{key} has other bytes")


def check_copy(source: Path, destination: Path) -> None:
    """Compare two directories, byte by byte."""
    names = _files(source)
    _check(names == _files(destination), f"{destination}: other names")
    for name in names:
        one, other = source / name, destination / name
        same = one.samefile(other) or cmp(one, other, shallow=False)
        _check(same, f"{other} has other bytes")


def _files(directory: Path) -> list[str]:
    """Return the paths of all files below a directory, relative to it."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), directory)
        for folder, _, names in os.walk(directory)
        for name in names
    )


def _part_size(client: Any, key: str, etag: str) -> int:
    """Return the size of an object's parts; 0 if it was sent as a whole."""
    if "-" not in etag:
        return 0
    size: int = client.head_object(Bucket=BUCKET, Key=key, PartNumber=1)["ContentLength"]
    return size


@cache
def _etag(path: Path, part_size: int) -> str:
    """Return the ETag that S3 gives a file in parts of this size; 0 means one request."""
    size = part_size or path.stat().st_size or 1
    with path.open("rb") as file:
        digests = [hashlib.md5(part).digest() for part in iter(lambda: file.read(size), b"")]
    if not part_size:
        return (digests or [hashlib.md5().digest()])[0].hex()
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def _check(condition: bool, message: str) -> None:  # noqa: FBT001
    if not condition:
        raise SystemExit(f"WRONG: {message}")
