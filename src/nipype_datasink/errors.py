"""Define all errors; each is also a subclass of the builtin that callers already catch.

Every error has one message and can be pickled, so that a failure in a worker process reaches the
parent process (and nipype's crash file) unchanged.
"""

from __future__ import annotations

import functools
import pickle
from typing import TYPE_CHECKING, TypeVar

from nipype_datasink.short_traceback import short_traceback, wants_short_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

    from nipype_datasink.delivery.outcomes import Outcomes
    from nipype_datasink.planning.sources import Problem
    from nipype_datasink.workflows.salvage_report import SalvageReport


class DataSinkError(Exception):
    """Outputs could not be delivered. Base class of all other errors."""

    outcomes: Outcomes  # `delivery.outcomes` sets the default
    """Result for each file; empty if no file was tried."""

    missing: tuple[Problem, ...] = ()
    """Sources that do not exist."""

    original: Exception | None = None
    """The error, of boto3 or the system, that has caused this one."""

    @property
    def _render_traceback_(self) -> Callable[[], list[str]]:
        """The function that IPython calls to show this error; it returns lines.

        The message names cause and cure, so the frames of this package are left out, and so are
        errors that it has caught. If the user has chosen another mode than IPython's default, with
        ``%xmode`` or ``%tb Verbose``, there is no such attribute, and IPython shows everything.
        """
        if not wants_short_traceback():
            raise AttributeError
        return functools.partial(short_traceback, self)


class SettingsError(DataSinkError, ValueError):
    """An input of the sink is not valid, or two inputs contradict each other."""


class SourceError(DataSinkError, ValueError):
    """A value cannot be delivered: it is not a path, or a pipe, or a directory with a loop."""


class MissingSourceError(DataSinkError, FileNotFoundError):
    """Sources do not exist. The message names them; everything else is delivered."""


class CollisionError(DataSinkError, ValueError):
    """Two sources with different bytes would get the same destination."""


class DestinationError(DataSinkError, OSError):
    """A destination cannot hold its file or directory."""


class DeliveryError(DataSinkError, OSError):
    """Files could not be written. The message lists which files were delivered and which not."""


class LateCollisionError(CollisionError, DeliveryError):
    """A collision was detected while writing. The first file was written, the second was not."""


class S3Error(DeliveryError):
    """S3 did not confirm files. The message lists which files were delivered and which not.

    If S3 answered with an error, the class is `S3ClientError`. It is also a subclass of botocore's
    ``ClientError``, and has its ``response``.
    """


class CredentialsError(S3Error):
    """Credentials are missing, unreadable or in an unknown format."""


class ManifestError(DataSinkError, ValueError):
    """A manifest cannot be read: the file is something else, or incomplete."""


class SalvageError(DataSinkError, RuntimeError):
    """Not everything that a workflow would deliver could be salvaged, or nothing of it."""

    report: SalvageReport | None = None
    """What was delivered and what was not; None if nothing could be tried."""


_Error = TypeVar("_Error", bound=DataSinkError)


def with_original(error: _Error, original: Exception | None) -> _Error:
    """Return an error with the one that has caused it in its attribute ``original``.

    Raise it with ``from None``: the long traceback of another library would come before the message
    that names cause and cure.
    """
    error.original = original and picklable(original)
    return error


def picklable(error: Exception) -> Exception:
    """Return an error, or its text in a `DeliveryError` where it cannot be pickled."""
    text = "(the error has no text)"
    try:
        text = str(error)
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an exception class of other code
        return DeliveryError(f"{type(error).__name__}: {text}")
    return error
