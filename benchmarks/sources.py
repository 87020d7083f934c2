"""Make directories of files with random bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Sources:
    """Files of one size."""

    count: int
    """Number of files."""

    size: int
    """Bytes of each file."""

    folders: int = 0
    """Number of folders that hold the files; 0 means that they are all in the directory itself."""

    def __str__(self) -> str:
        unit, name = (1 << 20, "MiB") if self.size >= 1 << 20 else (1 << 10, "KiB")
        where = f" in {self.folders} folders" if self.folders else ""
        return f"{self.count:,} x {self.size / unit:g} {name}{where}"

    def make(self, workspace: Path) -> Path:
        """Return a directory with these files; create missing files."""
        directory = workspace / f"{self.count}x{self.size}x{self.folders}"
        for index in range(self.count):
            path = directory / self._folder(index) / f"sub-{index:05}_bold.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.stat().st_size != self.size:
                _fill(path, self.size)
        os.sync()  # so that no tool runs while the system writes these files
        return directory

    def _folder(self, index: int) -> str:
        return f"folder_{index % self.folders:03}" if self.folders else ""


def _fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for begin in range(0, size, _BLOCK_BYTES):
            file.write(os.urandom(min(_BLOCK_BYTES, size - begin)))
