"""Programs in C that the benchmark uses; tests compile them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def compile_null_server(directory: Path) -> Path:
    """Return the server; skip the test where OpenSSL's headers are not installed."""
    path = directory / "nulls3"
    sources = map(str, sorted((_BENCHMARKS / "nulls3").glob("*.c")))
    command = ["gcc", "-std=c11", "-o", str(path), *sources, "-lssl", "-lcrypto", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "openssl/" in done.stderr:
        pytest.skip("needs OpenSSL's headers")
    assert not done.returncode, done.stderr
    return path


def compile_slow_disk(directory: Path) -> Path:
    """Return the slow disk, which does not exist where libfuse's headers are not installed."""
    path = directory / "slowdisk"
    command = ["gcc", "-std=c11", "-D_FILE_OFFSET_BITS=64", "-o", str(path)]
    command += [str(_BENCHMARKS / "slowdisk.c"), "-lfuse3", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode or "fuse3/fuse.h" in done.stderr, done.stderr
    return path
