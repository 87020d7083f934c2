"""Tools that are compared, and how each is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from benchmarks.job import Job

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
PEERS = ROOT / ".venv-peers" / "bin"
NIPYPE = "nipype"
THIS_LIBRARY = ("classic", "crt", "local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A library or program that delivers files."""

    command: Callable[[Job], tuple[str, ...]] | None = None
    """Returns the command line of a program; None for tools that are Python code."""

    program: Path = Path(sys.executable)
    """Program or Python interpreter that must exist."""


def _awscli(job: Job) -> tuple[str, ...]:
    how = ("sync",) if job.rerun else ("cp", "--recursive")
    words = ("s3", *how, "--only-show-errors", job.source, f"{job.destination}/")
    return (str(PEERS / "aws"), *words)


def _rclone(job: Job) -> tuple[str, ...]:
    words = (
        "copy --config= --s3-provider=Other --s3-list-version=2 --s3-env-auth --s3-no-head "
        "--s3-no-check-bucket --s3-chunk-size=8M --s3-upload-concurrency=8 "
        f"--transfers={job.requests} --checkers=256 --s3-endpoint={job.endpoint}"
    )
    how = ("--checksum", "--no-update-modtime") if job.rerun else ("--no-check-dest",)
    return (str(PEERS / "rclone"), *words.split(), *how, job.source, f":s3:{job.destination[5:]}")


def _s5cmd(job: Job) -> tuple[str, ...]:
    how = "sync" if job.rerun else "cp"
    words = ("--log=error", f"--endpoint-url={job.endpoint}", f"--numworkers={job.requests}", how)
    return (str(PEERS / "s5cmd"), *words, f"{job.source}/", f"{job.destination}/")


def _cp(job: Job) -> tuple[str, ...]:
    return ("cp", "-r", f"{job.source}/.", job.destination)


TOOLS: Mapping[str, Tool] = {
    NIPYPE: Tool(),
    "boto3 in threads": Tool(),
    "boto3 upload_file": Tool(),
    "awscli": Tool(command=_awscli, program=PEERS / "aws"),
    "rclone": Tool(command=_rclone, program=PEERS / "rclone"),
    "s5cmd": Tool(command=_s5cmd, program=PEERS / "s5cmd"),
    "obstore asyncio": Tool(program=PEERS / "python"),
    "obstore threads": Tool(program=PEERS / "python"),
    "obstore verified": Tool(program=PEERS / "python"),
    "bare threads": Tool(),
    "cp -r": Tool(command=_cp, program=Path("/bin/cp")),
    "classic": Tool(),
    "crt": Tool(),
    "local": Tool(),
    "crc64nvme": Tool(),
}


@cache
def is_installed(tool: str) -> bool:
    """Return whether a tool is installed; `make bench` installs all of them."""
    if tool == "crt":
        return _has_crt()
    return TOOLS[tool].program.exists()


def _has_crt() -> bool:
    from traits.api import TraitError

    from nipype_datasink import DataSinkInputSpec

    try:
        import awscrt.s3  # noqa: F401

        DataSinkInputSpec(s3_transfer_client="crt")
    except (ImportError, TraitError):
        return False
    return True


def run(job: Job, home: Path) -> dict[str, float]:
    """Run a tool in a new process; return its time, CPU and memory.

    Parameters
    ----------
    job
        Task, and the tool that does it.
    home
        Home directory of the process, so that your own settings have no effect.
    """
    tool = TOOLS[job.tool]
    python = Path(sys.executable)
    if tool.command:
        job = replace(job, command=tool.command(job))
    else:
        python = tool.program
    environment = _environment(job.endpoint, home, job.ca, checksums=job.checksums)
    return _call(python, "benchmarks.timed", json.dumps(asdict(job)), environment)


def make_home(workspace: Path) -> Path:
    """Return a home directory with the setting that lets awscli send more than 10 requests."""
    settings = workspace / "home" / ".aws" / "config"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[default]\ns3 =\n  max_concurrent_requests = 32\n")
    return workspace / "home"


def call(module: str, argument: str, endpoint: str, home: Path, ca: str = "") -> dict[str, float]:
    """Run a module of this package in a new process; return the JSON in its last line."""
    return _call(Path(sys.executable), module, argument, _environment(endpoint, home, ca))


def _call(
    python: Path, module: str, argument: str, environment: Mapping[str, str]
) -> dict[str, float]:
    done = subprocess.run(
        [python, "-m", module, argument],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module} {argument} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _environment(
    endpoint: str, home: Path, ca: str = "", *, checksums: bool = True
) -> dict[str, str]:
    # SSL_CERT_FILE is for programs in Go and for Python's own ssl.
    trust = {"AWS_CA_BUNDLE": ca, "SSL_CERT_FILE": ca} if ca else {}
    return {
        **trust,
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": endpoint,
        # The first is the default of boto3, and of this library with AWS.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported" if checksums else "when_required",
        "NO_ET": "1",  # otherwise nipype requests the number of its newest version
    }
