"""Start SLURM with two nodes on this machine, in one temporary directory."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.stores import free_ports

NODES = ("n1", "n2")

_DAEMONS = {"slurmctld", "slurmd"}
_TIMEOUT_SECONDS = 60  # seconds

_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=2
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SchedulerParameters=bf_interval=2,sched_interval=2
PartitionName=all Nodes=ALL Default=YES State=UP
"""


@contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Start SLURM; yield the environment variables of its commands.

    Raises
    ------
    RuntimeError
        If daemons of SLURM already run on this machine: their cluster must not be disturbed.
    """
    if running := sorted(_DAEMONS.intersection(_programs())):
        raise RuntimeError(
            f"{', '.join(running)} already runs here; the tests do not start a second cluster"
        )
    with (
        TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name,
        ExitStack() as daemons,
    ):
        directory = Path(name)
        directory.chmod(0o755)  # munged requires that all users can reach its socket
        environment = {**os.environ, "SLURM_CONF": str(_configure(directory))}
        for command in _commands(directory):
            daemons.enter_context(_daemon(command, environment, directory))
        idle = ["idle"] * len(NODES)
        _wait(
            lambda: _output_words(environment, "sinfo", "-h", "-N", "-o", "%T") == idle, directory
        )
        yield {"SLURM_CONF": environment["SLURM_CONF"], "LOGNAME": getpass.getuser()}
        # Jobs are separate processes, which would continue after the daemons have ended.
        _output_words(environment, "scancel", "--user", getpass.getuser())
        _wait(lambda: not _output_words(environment, "squeue", "-h"), directory)


def _programs() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            yield path.read_text().strip()


def _configure(directory: Path) -> Path:
    subprocess.run(
        ["mungekey", "--create", f"--keyfile={directory}/munge.key"],
        check=True,
        timeout=_TIMEOUT_SECONDS,
    )
    (directory / "state").mkdir()
    host = socket.gethostname()
    port, *ports = free_ports(1 + len(NODES))
    lines = [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1"
        for node, port in zip(NODES, ports, strict=True)
    ]
    text = _CONFIGURATION.format(host=host, port=port, user=getpass.getuser(), directory=directory)
    path = directory / "slurm.conf"
    path.write_text("\n".join([*lines, text]))
    return path


def _commands(directory: Path) -> Iterator[list[str]]:
    places = {
        "socket": "munge.socket",
        "key-file": "munge.key",
        "pid-file": "munged.pid",
        "log-file": "munged.log",
        "seed-file": "munged.seed",
    }
    yield ["munged", "--foreground", *(f"--{key}={directory}/{places[key]}" for key in places)]
    _wait((directory / "munge.socket").exists, directory)
    yield ["slurmctld", "-D"]
    for node in NODES:
        yield ["slurmd", "-D", "-N", node]


@contextmanager
def _daemon(command: list[str], environment: dict[str, str], directory: Path) -> Iterator[None]:
    with (directory / f"{command[0]}-{command[-1].rpartition('/')[2]}.log").open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TIMEOUT_SECONDS)
        process.kill()
        process.wait()


def _output_words(environment: dict[str, str], *command: str) -> list[str]:
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    return done.stdout.splitlines()


def _wait(ready: Callable[[], bool], directory: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            logs = [f"{path.name}:\n{path.read_text()[-2000:]}" for path in directory.glob("*.log")]
            raise RuntimeError("\n".join(["SLURM keeps us waiting", *logs]))
        time.sleep(0.2)
