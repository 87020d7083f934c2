"""Send the few requests of a check: with short time-outs, almost no retries, and counted."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from secrets import token_hex
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.util.timeout import Timeout

from nipype_datasink.errors import S3Error
from nipype_datasink.s3 import silence
from nipype_datasink.s3.boto3_bucket import copy_client
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.listing import read_listing
from nipype_datasink.s3.redaction import redact
from nipype_datasink.s3.redirects import limit_redirects

# A delivery waits longer, and retries. A check is for a person who waits for its result.
CONNECT_SECONDS = 5
READ_SECONDS = 10

MAX_REQUESTS = 5
RETRY_SECONDS = 1
_MD5_OF_NOTHING = b64encode(hashlib.md5(usedforsecurity=False).digest()).decode()
_RETRIED = (429, 500, 502, 503, 504)  # HTTP statuses

# What can be raised when a bucket is opened or a request is sent.
ERRORS = (BotoCoreError, ClientError, ResponseParserError, S3Error, OSError)


class Probe:
    """Sends requests to a bucket through a copy of its client.

    The first request that gets an answer such as 503 SlowDown is sent again, once in all, if enough
    requests remain for the others. boto3 itself repeats a request in another region.

    Parameters
    ----------
    bucket
        The bucket; its client is not changed.
    prefix
        Prefix of the keys, without slashes at its ends.
    secrets
        Texts to remove from errors.
    """

    def __init__(self, bucket: BucketClient, prefix: str, *, secrets: Iterable[str | None]) -> None:
        self._client: Any = copy_client(
            bucket.client, timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        )
        self._bucket = bucket
        self._folder = f"{prefix}/" if prefix else ""
        # The name differs from check to check, so that no check can replace an object.
        self._key = f"{self._folder}.datasink-check-{token_hex(8)}"
        self._secrets = tuple(secrets)
        self._needed_after = 0
        self._retried = False
        self.sent = 0
        self.bucket_region: str | None = None
        self.date: str | None = None
        events = self._client.meta.events
        limit_redirects(events, "")
        events.unregister("needs-retry.s3", unique_id="retry-config-s3")
        silence.allow_retries_if_silent(events)  # its small request would take longer than these
        events.register("needs-retry.s3", self._decide_retry)
        events.register("before-send.s3", self._count)
        events.register("response-received.s3", self._read_headers)

    def close(self) -> None:
        """Close the connections."""
        self._client._endpoint.http_session.close()

    def can_send(self, requests: int) -> bool:
        """Return whether so many more requests may be sent."""
        return self.sent + requests <= MAX_REQUESTS

    def list_folder(self) -> None:
        """List one key below the prefix."""
        arguments = {"Prefix": self._folder, "MaxKeys": 1, **self._bucket.request_args}
        read_listing(self._send("list_objects_v2", arguments, needed_after=2))

    def begin_upload(self, **changed: Any) -> str:
        """Begin an upload in parts as a delivery would; return its id.

        Parameters
        ----------
        changed
            Upload arguments to use instead of the sink's own; None leaves one out.
        """
        arguments = self._accepted({**self._bucket.upload_args, **changed}, "CreateMultipartUpload")
        response = self._send(
            "create_multipart_upload", {"Key": self._key, **arguments}, needed_after=1
        )
        return str(response["UploadId"])

    def abort_upload(self, upload_id: str, *, encryption: str | None = None) -> None:
        """Abort an upload, so that nothing remains of it.

        Parameters
        ----------
        upload_id
            The upload.
        encryption
            Encryption to ask for in the header that other requests have.
        """
        if encryption:
            header = {"x-amz-server-side-encryption": encryption}
            self._client.meta.events.register(
                "before-call.s3.AbortMultipartUpload",
                lambda params, **_: params["headers"].update(header),
            )
        arguments = {"Key": self._key, "UploadId": upload_id, **self._bucket.request_args}
        self._send("abort_multipart_upload", arguments)

    def write_object(self, **changed: Any) -> str | None:
        """Write an empty object; return the id of its version, if the bucket keeps versions."""
        arguments = self._accepted({**self._bucket.upload_args, **changed}, "PutObject")
        # Buckets with Object Lock refuse objects without a digest.
        arguments = {"Key": self._key, "Body": b"", "ContentMD5": _MD5_OF_NOTHING, **arguments}
        version: str | None = self._send("put_object", arguments, needed_after=1).get("VersionId")
        return version

    def delete_object(self, version: str | None = None) -> None:
        """Delete the object that `write_object` has written, or this version of it."""
        arguments = {"Key": self._key, **self._bucket.request_args}
        self._send("delete_object", {**arguments, **({"VersionId": version} if version else {})})

    @property
    def key(self) -> str:
        """Key of the upload, and of the object."""
        return self._key

    def _accepted(self, arguments: Mapping[str, Any], operation: str) -> dict[str, Any]:
        """Return the upload arguments that an operation has."""
        model = self._client.meta.service_model.operation_model(operation)
        return {
            name: value
            for name, value in arguments.items()
            if value is not None and name in model.input_shape.members
        }

    def _send(
        self, operation: str, arguments: Mapping[str, Any], *, needed_after: int = 0
    ) -> Mapping[str, Any]:
        self._needed_after = needed_after
        try:
            response: Mapping[str, Any] = getattr(self._client, operation)(
                Bucket=self._bucket.name, **arguments
            )
        except ERRORS as error:
            redact(error, self._secrets)
            raise
        return response

    # boto3 calls the methods below.

    def _count(self, **_: Any) -> None:
        self.sent += 1

    def _read_headers(self, parsed_response: Mapping[str, Any] | None, **_: Any) -> None:
        headers = (parsed_response or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.bucket_region = headers.get("x-amz-bucket-region") or self.bucket_region
        self.date = headers.get("date") or self.date

    def _decide_retry(self, response: Any, **_: Any) -> float | None:
        """Return the seconds to wait before the request is sent again; None if it is not."""
        if (
            self._retried
            or response is None
            or response[0].status_code not in _RETRIED
            or not self.can_send(1 + self._needed_after)
        ):
            return None
        self._retried = True
        return RETRY_SECONDS
