"""Send HeadObject requests through the AWS Common Runtime, many at a time.

boto3 takes 2.6 ms of processor time for each, the runtime 0.2 ms.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from awscrt.http import HttpHeaders, HttpRequest
from awscrt.s3 import S3RequestType
from botocore.exceptions import ClientError, ReadTimeoutError

from nipype_datasink.parallel import wait_for_result
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.crt.errors import translate_error
from nipype_datasink.s3.crt.request import RequestTemplate
from nipype_datasink.s3.crt.response import fields_of
from nipype_datasink.s3.silence import SilenceWatch

if TYPE_CHECKING:
    from awscrt.s3 import S3Client as CrtClient

_OPERATION = "HeadObject"
_DENIED_OR_NOT_FOUND = (403, 404)
_SERVER_ERROR = 500  # and above; the runtime has repeated the request by then


class _Head:
    """One request; `on_headers` and `on_done` are called by one thread of the runtime."""

    def __init__(self) -> None:
        self.headers: Future[dict[str, str]] = Future()
        self.request: Any = None
        self._received: Sequence[tuple[str, str]] = ()

    def on_headers(self, headers: Sequence[tuple[str, str]], **_: Any) -> None:
        self._received = headers

    def on_done(self, error: Exception | None = None, **_: Any) -> None:
        if error:
            self.headers.set_exception(error)
        else:
            self.headers.set_result({name.lower(): value for name, value in self._received})


class CrtHeadSender:
    """Send HeadObject requests through the AWS Common Runtime.

    What the runtime cannot handle, boto3 does: it sends such a request again. It follows other
    regions, repeats what was rejected because there are too many requests, and explains why a store
    cannot be reached.

    Parameters
    ----------
    bucket
        The bucket that holds the objects.
    client
        The runtime's.
    template
        What all requests have in common.
    requests
        Number of requests that are sent ahead.
    """

    sends_ahead = True

    def __init__(
        self, bucket: BucketClient, client: CrtClient, template: RequestTemplate, *, requests: int
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._template = template
        self._requests = requests
        # The lock guards the next two lines: keys of requests that wait, and requests under way.
        self._lock = threading.Lock()
        self._waiting: Iterator[str] = iter(())
        self._ahead: dict[str, _Head] = {}

    def send_ahead(self, keys: Sequence[str]) -> None:
        """Send the first requests; the others follow as `head` takes responses."""
        with self._lock:
            self._waiting = iter(keys)
            self._send_waiting(self._requests)

    def head(self, key: str, *, part_number: int | None = None) -> Mapping[str, Any]:
        """Return the response to HeadObject; see `HeadSender`."""
        try:
            return self._response(key, part_number)
        except ReadTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - the runtime raises builtins of many kinds
            translated = translate_error(error, self._bucket.client, _OPERATION)
        if _is_final(translated):
            raise translated
        return self._bucket.head(key, part_number=part_number)

    def close(self) -> None:
        """Cancel the requests that were sent ahead and that nobody waits for."""
        with self._lock:
            self._waiting = iter(())
            for sent in self._ahead.values():
                sent.request.cancel()
            self._ahead.clear()

    def _response(self, key: str, part_number: int | None) -> dict[str, Any]:
        sent = self._take(key) if part_number is None else None
        sent = sent or self._start(key, part_number)
        try:
            watch = SilenceWatch(self._template.address)
            headers = wait_for_result(sent.headers, on_wait=watch.check)
        finally:
            # The request refers to its callbacks and they to it. Without this line, both would stay
            # until the garbage collector finds the cycle.
            sent.request = None
        fields: dict[str, Any] = {
            **fields_of(headers),
            "ResponseMetadata": {"HTTPHeaders": headers},
        }
        if length := headers.get("content-length"):
            fields["ContentLength"] = int(length)
        return fields

    def _take(self, key: str) -> _Head | None:
        """Return the request for a key, if it was sent ahead, and send another in its place."""
        with self._lock:
            sent = self._ahead.pop(key, None)
            if sent:
                self._send_waiting(1)
            return sent

    def _send_waiting(self, count: int) -> None:
        with suppress(Exception):  # `head` sends what is not under way, and handles its errors
            for key in islice(self._waiting, count):
                self._ahead[key] = self._start(key)

    def _start(self, key: str, part_number: int | None = None) -> _Head:
        sent = _Head()
        path = self._template.path(key)
        if part_number is not None:
            path += f"?partNumber={part_number}"
        sent.request = self._client.make_request(
            type=S3RequestType.DEFAULT,
            operation_name=_OPERATION,
            request=HttpRequest("HEAD", path, HttpHeaders(list(self._template.headers))),
            on_headers=sent.on_headers,
            on_done=sent.on_done,
        )
        return sent


def _is_final(error: Exception) -> bool:
    """Return whether boto3 would get the same answer."""
    if not isinstance(error, ClientError):
        return False
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in _DENIED_OR_NOT_FOUND or status >= _SERVER_ERROR
