"""Who takes part, and how each is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from benchmarks.timed import Job

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
PEERS = ROOT / ".venv-peers" / "bin"
NIPYPE = "nipype"
OURS = ("classic", "crt", "ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One way of getting files there."""

    command: Callable[[Job], tuple[str, ...]] | None = None
    """Words of a program; None for what runs within a Python."""

    program: Path = Path(sys.executable)
    """What must be there: that program, or that Python."""


def _awscli(job: Job) -> tuple[str, ...]:
    how = ("sync",) if job.rerun else ("cp", "--recursive")
    words = ("s3", *how, "--only-show-errors", job.source, f"{job.destination}/")
    return (str(PEERS / "aws"), *words)


def _rclone(job: Job) -> tuple[str, ...]:
    words = (
        "copy --config= --s3-provider=Other --s3-list-version=2 --s3-env-auth --s3-no-head "
        "--s3-no-check-bucket --s3-chunk-size=8M --s3-upload-concurrency=8 "
        f"--transfers=256 --checkers=256 --s3-endpoint={job.endpoint}"
    )
    how = ("--checksum", "--no-update-modtime") if job.rerun else ("--no-check-dest",)
    return (str(PEERS / "rclone"), *words.split(), *how, job.source, f":s3:{job.destination[5:]}")


def _s5cmd(job: Job) -> tuple[str, ...]:
    how = "sync" if job.rerun else "cp"
    words = ("--log=error", f"--endpoint-url={job.endpoint}", how)
    return (str(PEERS / "s5cmd"), *words, f"{job.source}/", f"{job.destination}/")


def _cp(job: Job) -> tuple[str, ...]:
    return ("cp", "-r", f"{job.source}/.", job.destination)


CONTESTANTS: Mapping[str, Contestant] = {
    NIPYPE: Contestant(),
    "boto3 in threads": Contestant(),
    "boto3 upload_file": Contestant(),
    "awscli": Contestant(command=_awscli, program=PEERS / "aws"),
    "rclone": Contestant(command=_rclone, program=PEERS / "rclone"),
    "s5cmd": Contestant(command=_s5cmd, program=PEERS / "s5cmd"),
    "obstore": Contestant(program=PEERS / "python"),
    "cp -r": Contestant(command=_cp, program=Path("/bin/cp")),
    "classic": Contestant(),
    "crt": Contestant(),
    "ours": Contestant(),
    "crc64nvme": Contestant(),
}


@cache
def takes_part(who: str) -> bool:
    """Return whether a contestant is installed; `make bench` sees to that."""
    if who == "crt":
        return _has_crt()
    return CONTESTANTS[who].program.exists()


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
    """Run a contestant in a fresh process; return what it took.

    Parameters
    ----------
    job
        What to do, and who does it.
    home
        Home directory of the process, so that no settings of yours count.
    """
    contestant = CONTESTANTS[job.who]
    python = Path(sys.executable)
    if contestant.command:
        job = replace(job, command=contestant.command(job))
    else:
        python = contestant.program
    return call(python, "benchmarks.timed", json.dumps(asdict(job)), job.endpoint, home)


def make_home(room: Path) -> Path:
    """Return a home directory; its one setting is awscli's only way to more than 10 requests."""
    settings = room / "home" / ".aws" / "config"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[default]\ns3 =\n  max_concurrent_requests = 32\n")
    return room / "home"


def call(python: Path, module: str, argument: str, endpoint: str, home: Path) -> dict[str, float]:
    """Run a module of ours in a fresh process; return the JSON that it prints last."""
    done = subprocess.run(
        [python, "-m", module, argument],
        cwd=ROOT,
        env=_environment(endpoint, home),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module} {argument} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _environment(endpoint: str, home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": endpoint,
        # As boto3 does by itself, and ours with AWS.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
        "NO_ET": "1",  # nipype asks for its newest version otherwise
    }
