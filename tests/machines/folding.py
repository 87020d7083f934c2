"""Random steps with sinks into a directory whose file system ignores case (FUSE)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import fuse
from tests.machines.checks import Seen
from tests.machines.directory import DirectoryMachine
from tests.model import Expected, Sink


class FoldingMachine(DirectoryMachine):
    """Sinks into a directory whose file system ignores case."""

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as directory:
            real, mount = Path(directory, "real"), Path(directory, "mount")
            real.mkdir()
            mount.mkdir()
            with fuse.mounted(real, mount, "inodes"):
                cls.disk = mount
                yield

    @staticmethod
    def same(path: str) -> str:
        return path.casefold()

    def check_nipype(self, sink: Sink, before: Seen, want: Expected) -> set[str] | None:
        """Compare nothing: nipype's class overwrites one of two such names."""
        return None
