"""What is sunk: directories of files that hold noise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Sources:
    """Files of one size."""

    count: int
    """Number of files."""

    size: int
    """Of each, in bytes."""

    def __str__(self) -> str:
        unit, name = (1 << 20, "MiB") if self.size >= 1 << 20 else (1 << 10, "KiB")
        return f"{self.count:,} x {self.size / unit:g} {name}"

    def make(self, room: Path) -> Path:
        """Return a directory with these files; it is made if it is not there yet."""
        directory = room / f"{self.count}x{self.size}"
        directory.mkdir(parents=True, exist_ok=True)
        for index in range(self.count):
            path = directory / f"sub-{index:05}_bold.nii.gz"
            if not path.exists() or path.stat().st_size != self.size:
                _fill(path, self.size)
        os.sync()  # so that nothing is written while contestants run
        return directory


def _fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for begin in range(0, size, _BLOCK):
            file.write(os.urandom(min(_BLOCK, size - begin)))
