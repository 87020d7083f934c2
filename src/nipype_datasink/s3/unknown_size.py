"""Copy files whose size is unknown, because a request must name the size of its body.

Linux reports size 0 for files in /proc and in some FUSE file systems (`direct_io`), and the size of
one memory page for files in /sys, however many bytes can be read.
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

from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.errors import SourceError
from nipype_datasink.opening import open_regular
from nipype_datasink.planning.plan import FileTransfer

_MAX_COPY_BYTES = 1 << 30  # a file without a size may also have no end, as /dev/zero
_BLOCK_BYTES = 1 << 20


class SizedTransfers:
    """Transfers whose sizes are known; files of unknown size are replaced by temporary copies."""

    def __init__(self) -> None:
        self._directory = ""  # of the copies; made with the first one
        self._sources: dict[str, str] = {}  # original source of each copy, by its destination
        self.transfers: list[FileTransfer] = []
        self.failures: list[Outcome] = []
        """Outcomes of files that could not be copied."""

    def add(self, transfer: FileTransfer) -> None:
        """Add a transfer, or the transfer of a copy if the size is unknown."""
        try:
            self.transfers.append(self._with_known_size(transfer))
        except Exception as error:  # noqa: BLE001 - other files can still be sent
            self.failures.append(Outcome.failure(transfer, error))

    def original(self, outcome: Outcome) -> Outcome:
        """Return an outcome with the original source and the size that was read."""
        source = self._sources.get(outcome.transfer.destination)
        if source is None:
            return outcome
        return replace(outcome, transfer=replace(outcome.transfer, source=source))

    def remove_copies(self) -> None:
        """Remove the copies."""
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _with_known_size(self, transfer: FileTransfer) -> FileTransfer:
        if transfer.size not in (0, mmap.PAGESIZE):
            return transfer
        with open(transfer.source, "rb", opener=open_regular) as file:
            # One byte more than the size shows whether the size is right.
            begin = file.read(transfer.size + 1)
            if len(begin) == transfer.size:
                return transfer
            self._directory = self._directory or tempfile.mkdtemp(prefix="nipype-datasink-")
            path = os.path.join(self._directory, str(len(self._sources)))
            size = _copy(begin, file, path, transfer.source)
        self._sources[transfer.destination] = transfer.source
        return replace(transfer, source=path, size=size)


@contextmanager
def with_known_sizes(transfers: Sequence[FileTransfer]) -> Iterator[SizedTransfers]:
    """Yield transfers whose sizes are known; remove the copies at the end.

    Parameters
    ----------
    transfers
        Planned transfers. Only files of 0 bytes and of one memory page are read.
    """
    files = SizedTransfers()
    try:
        for transfer in transfers:
            files.add(transfer)
        yield files
    finally:
        files.remove_copies()


def _copy(begin: bytes, file: BinaryIO, path: str, source: str) -> int:
    """Write `begin`, which has been read, and the rest of a file to `path`; return the size."""
    size = 0
    with open(path, "wb") as copy:
        while begin:
            size += copy.write(begin)
            if size > _MAX_COPY_BYTES:
                raise SourceError(
                    f"{source} has more than {_MAX_COPY_BYTES:,} bytes, but its file system "
                    "reports another size; copy it to another directory and sink the copy"
                )
            begin = file.read(_BLOCK_BYTES)
    return size
