"""The stores that can be installed here, and those that cannot."""

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
    "MinIO (the JuiceFS gateway is made of its code), Garage and RustFS: no package of them was "
    "found at PyPI, npm or Debian 12",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store that can be started on this machine."""

    name: str
    """As its makers write it, with the option that it is started with."""

    version: Callable[[], str]
    """Returns the version that is installed."""

    start: Callable[[], AbstractContextManager[str]]
    """Starts it; yields its address. Raises FileNotFoundError where it is not installed."""

    command: str
    """How it is started, without directories and ports."""

    keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY)
    """Access key and secret key."""

    option_of: str = ""
    """Name of the same store without the option `option`."""

    option: str = ""
    """What it is started with in addition."""


def _answer(program: str, *arguments: str) -> str:
    """Return the version that a program names."""
    path = find_program(program, "")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout.replace("8000GB", ""))
    return found[0] if found else "of unknown version"


STORES = (
    Store(
        name="SeaweedFS",
        version=partial(_answer, "weed", "version"),
        start=seaweedfs,
        command="weed server -filer -s3 -s3.config=s3.json",
    ),
    Store(
        name="radosgw",
        version=partial(_answer, "radosgw", "--version"),
        start=radosgw,
        command="radosgw",
    ),
    Store(
        name="JuiceFS gateway",
        version=partial(_answer, "juicefs", "version"),
        start=juicefs,
        command="juicefs gateway --multi-buckets",
    ),
    Store(
        name="JuiceFS gateway --keep-etag",
        version=partial(_answer, "juicefs", "version"),
        start=partial(juicefs, "--keep-etag", "--object-meta"),
        command="juicefs gateway --multi-buckets --keep-etag --object-meta",
        option_of="JuiceFS gateway",
        option="--keep-etag --object-meta",
    ),
    Store(
        name="rclone serve s3",
        version=partial(_answer, "rclone", "version"),
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
