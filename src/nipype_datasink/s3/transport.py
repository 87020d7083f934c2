"""A way of sending files to a bucket."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from nipype_datasink.delivery import Outcome
from nipype_datasink.errors import S3Error
from nipype_datasink.plan import FileTransfer
from nipype_datasink.s3.comparison import confirms
from nipype_datasink.s3.refusal import Trouble

__all__ = [
    "GivenUp",
    "Transport",
    "Version",
    "confirmed",
    "confirmed_parts",
    "given_up",
    "refuse_change",
    "version_of",
]

Version = tuple[int, ...]


class Transport(Protocol):
    """Sends files to a bucket, several at a time."""

    def send(self, transfers: Sequence[FileTransfer], trouble: Trouble) -> list[Outcome]:
        """Send every file that can be sent; return what became of each, in order.

        Parameters
        ----------
        transfers
            What to send.
        trouble
            Tells whether going on makes sense.
        """


class GivenUp(S3Error):
    """Sending was ended halfway; the store may have the file all the same."""


def given_up(transfer: FileTransfer) -> Outcome:
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


def confirmed(answer: Mapping[str, object], path: str, size: int) -> bool:
    """Return whether the store's answer proves that it holds the file at `path`.

    Parameters
    ----------
    answer
        As boto3 returns it.
    path
        File that was sent.
    size
        Its size in bytes.

    Raises
    ------
    S3Error
        If it holds other bytes.
    """
    answered = confirms(answer, path, size)
    if answered is False:
        raise S3Error("the store confirmed other bytes than were sent")
    return bool(answered)


def confirmed_parts(
    answer: Mapping[str, object], path: str, size: int, *, with_checksums: bool
) -> bool:
    """Return whether an object that was sent in parts is proved to be the file at `path`.

    Parameters
    ----------
    answer
        What HeadObject tells.
    path
        File that was sent.
    size
        Its size in bytes.
    with_checksums
        Whether each part was sent with its checksum: what the store keeps of them, it has compared.

    Raises
    ------
    S3Error
        If it holds other bytes.
    """
    length = answer.get("ContentLength", size)  # something on the way may leave it out
    if length != size:
        raise S3Error(f"the store holds {length:,} of {size:,} bytes")
    if with_checksums and any(name.startswith("Checksum") for name in answer):
        return True
    return confirmed(answer, path, size)
