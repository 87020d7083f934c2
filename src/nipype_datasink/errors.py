"""Every error this library raises, each also the builtin that callers already catch.

All of them carry one message and survive pickling, so that a failure in a worker process
reaches the parent (and nipype's crash file) as it was raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nipype_datasink.delivery.execution import Outcome

__all__ = [
    "CollisionError",
    "CredentialsError",
    "DataSinkError",
    "DeliveryError",
    "DestinationError",
    "LateCollisionError",
    "MissingSourceError",
    "S3Error",
    "SettingsError",
    "SourceError",
]


class DataSinkError(Exception):
    """Anything that keeps outputs from being delivered."""

    outcomes: tuple[Outcome, ...] = ()
    """What became of each file; empty where nothing was tried."""


class SettingsError(DataSinkError, ValueError):
    """An input of the sink that cannot be honoured, or two that contradict each other."""


class SourceError(DataSinkError, ValueError):
    """A value that cannot be sunk: no path, a pipe, a directory that contains itself."""


class MissingSourceError(DataSinkError, FileNotFoundError):
    """One or more sources that do not exist; all else is delivered, and the message names them."""


class CollisionError(DataSinkError, ValueError):
    """Two sources with different bytes that would end at one destination."""


class DestinationError(DataSinkError, OSError):
    """A destination that cannot hold what should go there."""


class DeliveryError(DataSinkError, OSError):
    """Files that could not be written; the message says which arrived and which did not."""


class LateCollisionError(CollisionError, DeliveryError):
    """A collision that only showed in writing: the first file is there, the other is not."""


class S3Error(DeliveryError):
    """Files that S3 has not confirmed; the message says what is there and what is not.

    Where S3 answered with an error, the class is `S3ClientError`. It is also botocore's
    ``ClientError``, and has its ``response``.
    """


class CredentialsError(S3Error):
    """Credentials that are missing, unreadable or of an unknown form."""
