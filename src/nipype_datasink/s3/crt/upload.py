"""Send one file through the AWS Common Runtime: its request, and what the callbacks report."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO

from awscrt.http import HttpHeaders, HttpRequest
from awscrt.s3 import (
    S3ChecksumAlgorithm,
    S3ChecksumConfig,
    S3ChecksumLocation,
    S3RequestType,
)

from nipype_datasink.delivery.progress import PhaseProgress
from nipype_datasink.opening import open_regular
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.comparison import PART_BYTES, part_size_for
from nipype_datasink.s3.content_type import content_type_of
from nipype_datasink.s3.crt.request import RequestTemplate
from nipype_datasink.s3.crt.response import fields_of
from nipype_datasink.s3.dialect import Dialect, dialect_of
from nipype_datasink.s3.transport import FileVersion, file_version
from nipype_datasink.s3.upload_response import UploadResponse

if TYPE_CHECKING:
    from awscrt.s3 import S3Client as CrtClient

_MAX_OPENING_SECONDS = 2.0


class Upload:
    """One file that is being sent.

    The scheduler's thread calls all methods but those that start with ``on_``. Those are callbacks
    of the runtime, which calls them in threads of its own: one at a time for each upload, `on_done`
    last. What they write (`status`, `headers`, `error`) is read only after `done` was called, so it
    needs no lock. An exception in a callback would be printed and lost: callbacks must not raise.

    Parameters
    ----------
    transfer
        The file and its key.
    done
        Called with this upload when the runtime has finished it, in one of the runtime's threads.
    phase
        Counts what is sent.
    """

    def __init__(
        self, transfer: FileTransfer, done: Callable[[Upload], object], phase: PhaseProgress
    ) -> None:
        self.transfer = transfer
        self.version: FileVersion = file_version(transfer.source)
        self.body: BinaryIO | None = None
        if not _is_utf8(transfer.source):  # the runtime only takes paths that are UTF-8
            self.body = open(transfer.source, "rb", opener=open_regular)  # noqa: SIM115 - closed in `close`
        self.status = 0
        self.headers: dict[str, str] = {}
        self.error: Exception | None = None
        self.request: Any = None
        self._started = monotonic()
        self._opened = threading.Event()
        self._done = done
        self.progress = phase.file(transfer.size)
        """Bytes of this file; counted here only if it is sent in parts."""

    @property
    def response(self) -> UploadResponse:
        """Response to PutObject, or of a file in parts to CompleteMultipartUpload."""
        fields = fields_of(self.headers)
        if self.version[0] > PART_BYTES:  # the runtime puts the ETag of the body into the headers
            return UploadResponse.from_complete_multipart_upload(fields)
        return UploadResponse.from_put_object(fields, self.headers, self.status)

    def cancel(self) -> None:
        """Cancel this upload; `done` will be called as usual.

        If CreateMultipartUpload is cancelled before its response, the runtime does not know the
        upload's id and never aborts it: S3 would keep, and charge for, an open upload. Therefore
        this waits a moment until the first part has been sent or the upload has ended.
        """
        if self.transfer.size > PART_BYTES:
            self._opened.wait(max(0.0, self._started + _MAX_OPENING_SECONDS - monotonic()))
        self.request.cancel()

    def close(self) -> None:
        """Release the file and the runtime's memory."""
        # The request refers to its callbacks and they to this object. Without this line, both
        # would stay until the garbage collector finds the cycle.
        self.request = None
        if self.body:
            self.body.close()

    def on_headers(
        self, headers: Sequence[tuple[str, str]], status_code: int = 0, **_: Any
    ) -> None:
        """Store the status and the headers of the response."""
        self.status = status_code
        self.headers = {name.lower(): value for name, value in headers}

    def on_progress(self, count: int) -> None:
        """Report that a part of `count` bytes was sent."""
        self._opened.set()
        self.progress.add_bytes(count)

    def on_done(self, error: Exception | None = None, **_: Any) -> None:
        """Report the end of this upload, also if it failed or was cancelled."""
        self._opened.set()
        self.error = error
        if error:
            self.progress.restart()
        self._done(self)


class Uploader:
    """Start uploads to one bucket.

    Parameters
    ----------
    bucket
        Where the files are sent.
    client
        The runtime's.
    template
        What all requests have in common.
    phase
        Counts what is sent.
    """

    def __init__(
        self,
        bucket: BucketClient,
        client: CrtClient,
        template: RequestTemplate,
        phase: PhaseProgress,
    ) -> None:
        self.address = template.address
        self._client = client
        self._template = template
        self._phase = phase
        self._sets_content_type = "ContentType" not in bucket.upload_args
        self._checksum = _choose_checksum(
            template, dialect_of(bucket), is_chosen="ChecksumAlgorithm" in bucket.upload_args
        )

    def start(
        self, transfer: FileTransfer, done: Callable[[Upload], object], *, connections: int
    ) -> Upload:
        """Start to send a file.

        Parameters
        ----------
        transfer
            The file and its key.
        done
            Called when the upload has ended, in a thread of the runtime.
        connections
            Number of parts that are sent at a time.

        Raises
        ------
        OSError
            If the file cannot be opened. The runtime raises other builtin exceptions.
        """
        upload = Upload(transfer, done, self._phase)
        size = upload.version[0]
        is_large = size > PART_BYTES
        upload.request = self._client.make_request(
            type=S3RequestType.PUT_OBJECT,
            request=self._http_request(upload, is_large=is_large),
            send_filepath=None if upload.body else transfer.source,
            checksum_config=self._checksum,
            part_size=part_size_for(size) if is_large else None,
            max_active_connections_override=connections if is_large else None,
            on_headers=upload.on_headers,
            on_done=upload.on_done,
            on_progress=upload.on_progress if is_large else None,
        )
        return upload

    def _http_request(self, upload: Upload, *, is_large: bool) -> HttpRequest:
        key = upload.transfer.key
        headers = [*self._template.headers, ("Content-Length", str(upload.version[0]))]
        content_type = content_type_of(key)
        if content_type and self._sets_content_type:
            headers.append(("Content-Type", content_type))
        if self._checksum and not is_large:
            headers.append(("x-amz-sdk-checksum-algorithm", self._checksum.algorithm.name))
        return HttpRequest("PUT", self._template.path(key), HttpHeaders(headers), upload.body)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _choose_checksum(
    template: RequestTemplate, dialect: Dialect, *, is_chosen: bool
) -> S3ChecksumConfig | None:
    """Return the checksum that each request carries, or None.

    Parameters
    ----------
    template
        States which checksum botocore would send, and whether before or after the body.
    dialect
        Of the store.
    is_chosen
        Whether the user has set the checksum. Otherwise CRC64NVME, the fastest, takes its place.
    """
    name, in_trailer = template.checksum_algorithm, template.checksum_in_trailer
    if name is None:
        if not dialect.requires_digest:
            return None
        name, in_trailer = "CRC32", False  # the one that most stores accept
    elif not is_chosen and dialect.accepts_crc64nvme:
        name = "CRC64NVME"
    return S3ChecksumConfig(
        algorithm=S3ChecksumAlgorithm[name],
        location=S3ChecksumLocation.TRAILER if in_trailer else S3ChecksumLocation.HEADER,
    )
