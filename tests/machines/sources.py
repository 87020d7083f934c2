"""Sources on disk, beside what the model knows of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.machines import values
from tests.machines.disk import make, read, remove
from tests.model import above
from tests.source_model import Link


class Sources:
    """Sources in a directory.

    Parameters
    ----------
    root
        Directory; all sources exist when this object is made.
    large
        Bytes of the large file.
    """

    def __init__(self, root: Path, large: bytes) -> None:
        self.entries: dict[str, Any] = {}
        self._root = root
        self._large = large
        self._large_version: tuple[int, int] | None = None
        self.restore()

    def restore(self) -> None:
        """Make all sources as they were at first."""
        for name, entry in values.SOURCES.items():
            if name != values.LARGE or self.entries.get(name) is not self._large:
                self.replace(name, entry)

    def replace(self, name: str, entry: Any) -> None:
        """Replace a source, and what would contain it or lie below it."""
        for path in {name, *self.entries}:
            if f"{path}/".startswith(f"{name}/") or name.startswith(f"{path}/"):
                self.entries.pop(path, None)
                remove(self._root / path)
        if entry is not None:
            self.entries[name] = self._large if entry == values.SOURCES[values.LARGE] else entry
            # Another thread of the run may read the source: it must not find it half written.
            new, place = self._root / ".new", self._root / name
            make(new, self._on_disk(self.entries[name]))
            place.parent.mkdir(parents=True, exist_ok=True)
            new.rename(place)
            if self.entries[name] is self._large:
                self._large_version = self._version(name)
        for folder in above(name):
            on_disk = self._root / folder
            if folder not in self.entries and on_disk.is_dir() and not os.listdir(on_disk):
                on_disk.rmdir()

    def check(self) -> None:
        """Check that no source was changed."""
        for name, entry in self.entries.items():
            if entry is self._large:  # takes long to read
                same = self._version(name) == self._large_version
            else:
                same = read(self._root / name) == self._on_disk(entry)
            assert same, f"the source {name!r} was changed"

    def _on_disk(self, entry: Any) -> Any:
        return Link(str(self._root / entry.target)) if isinstance(entry, Link) else entry

    def _version(self, name: str) -> tuple[int, int]:
        status = os.stat(self._root / name)
        return status.st_ino, status.st_mtime_ns
