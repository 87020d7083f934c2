"""A way of sending files to a bucket."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Protocol

from nipype_datasink.delivery.execution import Outcome
from nipype_datasink.errors import S3Error
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.circuit_breaker import CircuitBreaker

__all__ = [
    "GivenUp",
    "Transport",
    "Version",
    "cancelled",
    "refuse_change",
    "version_of",
]

Version = tuple[int, ...]


class Transport(Protocol):
    """Sends files to a bucket, several at a time."""

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send every file that can be sent; return what became of each, in order.

        Parameters
        ----------
        transfers
            What to send.
        breaker
            Tells whether going on makes sense.
        """


class GivenUp(S3Error):
    """Sending was ended halfway; the store may have the file all the same."""


def cancelled(transfer: FileTransfer) -> Outcome:
    """Return that sending was ended halfway."""
    return Outcome.failure(transfer, GivenUp("was given up, as the store refused others"))


def version_of(path: str) -> Version:
    """Return what changes when a file is written or replaced; its size in bytes comes first."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino


def refuse_change(path: str, before: Version) -> None:
    """Refuse what was sent of a file if the file is not as it was before.

    Raises
    ------
    OSError
        If it has changed.
    """
    if version_of(path) != before:
        raise OSError(errno.EIO, "changed while it was read", path)
