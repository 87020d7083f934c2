"""The disk of a network: mounted for a row, asked for what it counted, unmounted."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MICROSECONDS = 1_000  # of each request
_LIMIT_SECONDS = 20.0  # for mounting
_CACHE_SECONDS = 1.0  # see slowdisk.c


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """A directory in which each request of the kernel takes a millisecond."""

    mount: Path
    """The directory."""

    real: Path
    """The same directory on a fast disk, where no request is counted."""

    process: subprocess.Popen[str]
    """The program that shows it."""

    def take_counts(self) -> dict[str, int]:
        """Return the number of requests by kind since the last call."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        counts: dict[str, int] = json.loads(self.process.stdout.readline())
        return {kind: count for kind, count in counts.items() if count}

    def forget_attributes(self) -> None:
        """Wait until the kernel no longer uses the attributes that it knows."""
        time.sleep(1.1 * _CACHE_SECONDS)


def unavailable_reason(program: Path) -> str | None:
    """Return the reason why no slow disk can be mounted here, or None."""
    if not program.exists():
        return f"{program} is not compiled"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    return None


@contextmanager
def mounted(
    program: Path, directory: Path, microseconds: int = _MICROSECONDS
) -> Iterator[SlowDisk]:
    """Mount a slow disk below `directory` until the block is left.

    Parameters
    ----------
    program
        The compiled file system.
    directory
        Directory on a fast disk; it is created.
    microseconds
        Time of each request.
    """
    real, mount = directory / "real", directory / "mount"
    for each in (real, mount):
        each.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [program, real, str(microseconds), mount],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        try:
            _wait_for_mount(process, mount)
            yield SlowDisk(mount, real, process)
        finally:
            process.stdin.close()  # then it unmounts
            process.wait(_LIMIT_SECONDS)


def _wait_for_mount(process: subprocess.Popen[str], mount: Path) -> None:
    limit = time.monotonic() + _LIMIT_SECONDS
    while not os.path.ismount(mount):
        if process.poll() is not None or time.monotonic() > limit:
            assert process.stderr
            raise SystemExit(f"cannot mount the slow disk at {mount}: {process.stderr.read()}")
        time.sleep(0.02)
