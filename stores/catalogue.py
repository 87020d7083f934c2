"""Stores that can be installed on this machine, and a list of those that cannot."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from tests.ceph import radosgw
from tests.gateways import S3RVER_KEY, juicefs, rclone, s3rver, s3rver_version
from tests.stores import ACCESS_KEY, SECRET_KEY, find_program, moto, seaweedfs

NOT_INSTALLABLE = (
    "AWS S3, Cloudflare R2, Backblaze B2, Google Cloud Storage and other hosted stores",
    "MinIO (the JuiceFS gateway contains its code), Garage and RustFS: PyPI, npm and Debian 12 "
    "have no package of them",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store that can be started on this machine."""

    name: str
    """Product name, followed by the option that it is started with."""

    version: Callable[[], str]
    """Returns the version that is installed."""

    start: Callable[[], AbstractContextManager[str]]
    """Starts it and yields its address. Raises FileNotFoundError if it is not installed."""

    command: str
    """Command that starts it, without directories and ports."""

    keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY)
    """Access key and secret key."""

    option_of: str = ""
    """Name of the same store without `option`."""

    option: str = ""
    """Additional arguments of the command."""


def _version_of(program: str, *arguments: str) -> str:
    """Return the version that a program prints."""
    path = find_program(program, "")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout.replace("8000GB", ""))
    return found[0] if found else "of unknown version"


STORES = (
    Store(
        name="SeaweedFS",
        version=partial(_version_of, "weed", "version"),
        start=seaweedfs,
        command="weed server -filer -s3 -s3.config=s3.json",
    ),
    Store(
        name="radosgw",
        version=partial(_version_of, "radosgw", "--version"),
        start=radosgw,
        command="radosgw",
    ),
    Store(
        name="JuiceFS gateway",
        version=partial(_version_of, "juicefs", "version"),
        start=juicefs,
        command="juicefs gateway --multi-buckets",
    ),
    Store(
        name="JuiceFS gateway --keep-etag",
        version=partial(_version_of, "juicefs", "version"),
        start=partial(juicefs, "--keep-etag", "--object-meta"),
        command="juicefs gateway --multi-buckets --keep-etag --object-meta",
        option_of="JuiceFS gateway",
        option="--keep-etag --object-meta",
    ),
    Store(
        name="rclone serve s3",
        version=partial(_version_of, "rclone", "version"),
        start=rclone,
        command="rclone serve s3 --auth-key ... :memory:",
    ),
    Store(
        name="s3rver",
        version=s3rver_version,
        start=s3rver,
        command="s3rver --directory ...",
        keys=(S3RVER_KEY, S3RVER_KEY),
    ),
    Store(
        name="moto",
        version=partial(version, "moto"),
        start=moto,
        command="python -m moto.server",
    ),
)
