"""Ask a store about objects that it holds, by HeadObject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nipype_datasink.s3.bucket_client import BucketClient


class HeadSender(Protocol):
    """Sends HeadObject requests; any thread may call its methods."""

    sends_ahead: bool
    """Whether `head` need not wait for a round trip; then a few threads are enough to call it."""

    def send_ahead(self, keys: Sequence[str]) -> None:
        """Send requests before their responses are needed.

        Parameters
        ----------
        keys
            Keys of the objects, in the order in which `head` will be called. Each must be passed to
            `head` once.
        """

    def head(self, key: str, *, part_number: int | None = None) -> Mapping[str, Any]:
        """Return the response to HeadObject, including checksums, as boto3 names its fields.

        Parameters
        ----------
        key
            Key of the object.
        part_number
            Number of a part whose size is asked for, in place of that of the object.

        Raises
        ------
        botocore.exceptions.ClientError
            If the store answers with an error.
        botocore.exceptions.BotoCoreError
            If the store cannot be reached.
        """

    def close(self) -> None:
        """Cancel the requests whose responses are not needed any more."""


class ClassicHeadSender:
    """Send HeadObject requests through boto3, each when its response is needed.

    Parameters
    ----------
    bucket
        The bucket that holds the objects.
    """

    sends_ahead = False

    def __init__(self, bucket: BucketClient) -> None:
        self._bucket = bucket

    def send_ahead(self, keys: Sequence[str]) -> None:
        """Send nothing: a thread can only wait for one response of boto3."""

    def head(self, key: str, *, part_number: int | None = None) -> Mapping[str, Any]:
        """Return the response to HeadObject."""
        return self._bucket.head(key, part_number=part_number)

    def close(self) -> None:
        """Do nothing: no request was sent ahead."""
