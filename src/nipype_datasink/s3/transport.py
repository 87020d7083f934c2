"""Define what all transports share. A transport is a way of sending files to a bucket."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Protocol

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.errors import S3Error
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.upload_response import UploadResponse

FileVersion = tuple[int, ...]


class Transport(Protocol):
    """Sends files to a bucket, several at a time."""

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send files; return the outcome of each, in the order of `transfers`.

        Parameters
        ----------
        transfers
            Files to send.
        breaker
            Records successes and failures. No upload is started while it is open.
        """


class UploadCancelled(S3Error):
    """An upload was cancelled; the store may have received the file all the same."""


def cancelled(transfer: FileTransfer) -> Outcome:
    """Return the outcome of an upload that was cancelled."""
    error = UploadCancelled("cancelled because other uploads were rejected")
    return Outcome.failure(transfer, error)


def sent_outcome(
    transfer: FileTransfer, size: int, response: UploadResponse, *, verified: bool
) -> Outcome:
    """Return the outcome of an upload of `size` bytes that has succeeded."""
    return Outcome(
        transfer=transfer,
        status=Status.SENT,
        verified=verified,
        etag=response.etag,
        sent_size=size,
    )


def file_version(path: str) -> FileVersion:
    """Return values that differ if a file was written or replaced; its size in bytes is first.

    Raises
    ------
    OSError
        If it is not a regular file.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        # It has changed since the plan. The AWS Common Runtime would open it itself, and a named
        # pipe without a writer would never let it go on.
        raise OSError(errno.EINVAL, "is not a regular file", path)
    return status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino


def check_unchanged(path: str, before: FileVersion) -> None:
    """Check that a file is the same as before it was sent.

    Raises
    ------
    OSError
        If it was written or replaced.
    """
    if file_version(path) != before:
        raise OSError(errno.EIO, "changed while it was read", path)
