"""Copy files whose size the file system does not know, so that a request can name it.

The kernel gives 0 for files of /proc and of some FUSE file systems (`direct_io`), and one page for
those of /sys, whatever they hold. A request must say how long its body is before it sends it.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from nipype_datasink.delivery.execution import Outcome
from nipype_datasink.errors import SourceError
from nipype_datasink.planning.plan import FileTransfer

__all__ = ["Measured", "measured"]

_MOST = 1 << 30  # bytes; what has no size may also have no end
_BLOCK = 1 << 20  # bytes


class Measured:
    """Transfers of files whose sizes are known."""

    def __init__(self) -> None:
        self._directory = ""
        self._sources: dict[str, str] = {}  # of what is copied, by its destination
        self.transfers: list[FileTransfer] = []
        self.failures: list[Outcome] = []
        """What became of files that cannot be copied."""

    def add(self, transfer: FileTransfer) -> None:
        """Take a transfer as it is, or that of a copy."""
        try:
            self.transfers.append(self._measure(transfer))
        except Exception as error:  # noqa: BLE001 - belongs to this file alone
            self.failures.append(Outcome.failure(transfer, error))

    def original(self, outcome: Outcome) -> Outcome:
        """Return an outcome that names the source, and the size that was read."""
        source = self._sources.get(outcome.transfer.destination)
        if source is None:
            return outcome
        return replace(outcome, transfer=replace(outcome.transfer, source=source))

    def remove_copies(self) -> None:
        """Remove what was copied."""
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _measure(self, transfer: FileTransfer) -> FileTransfer:
        if transfer.size not in (0, mmap.PAGESIZE):
            return transfer
        try:
            file = open(transfer.source, "rb")  # noqa: SIM115 - closed below
        except OSError:  # told when it is sent
            return transfer
        with file:
            begin = file.read(transfer.size + 1)
            if len(begin) == transfer.size:
                return transfer
            self._directory = self._directory or tempfile.mkdtemp(prefix="nipype-datasink-")
            path = os.path.join(self._directory, str(len(self._sources)))
            size = _copy(begin, file, path, transfer.source)
        self._sources[transfer.destination] = transfer.source
        return replace(transfer, source=path, size=size)


@contextmanager
def measured(transfers: Sequence[FileTransfer]) -> Iterator[Measured]:
    """Yield transfers of files whose sizes are known; copies are removed at the end.

    Parameters
    ----------
    transfers
        As planned. Only those of no bytes, and of one page, are read.
    """
    files = Measured()
    try:
        for transfer in transfers:
            files.add(transfer)
        yield files
    finally:
        files.remove_copies()


def _copy(begin: bytes, file: BinaryIO, path: str, source: str) -> int:
    """Write what has been read and the rest of a file to `path`; return how many bytes it has."""
    size = 0
    with open(path, "wb") as copy:
        while begin:
            size += copy.write(begin)
            if size > _MOST:
                raise SourceError(
                    f"{source} holds more than {_MOST:,} bytes, and its file system does not say "
                    "how many; copy it to another directory and sink the copy"
                )
            begin = file.read(_BLOCK)
    return size
