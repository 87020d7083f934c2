"""Objects of a store, as a stranger writes and sees them beside the library."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import boto3

from tests.machines import values

BUCKET = "sequences"  # tests that share the store make and delete another
_KNOWN = [b"old", *values.BYTES, *values.SOURCES.values()]
_BY_ETAG = {hashlib.md5(data).hexdigest(): data for data in _KNOWN if isinstance(data, bytes)}


class Objects(Protocol):
    """What a bucket holds."""

    endpoint: str

    def look(self, prefix: str) -> Iterator[tuple[str, bytes, object]]:
        """Yield key, bytes and version of each object; the version is None if it is unknown."""

    def put(self, key: str, data: bytes) -> None: ...
    def delete(self, key: str) -> None: ...
    def is_encrypted(self, key: str) -> bool: ...
    def uploads(self) -> list[tuple[str, str]]:
        """Return key and number of each multipart upload that has not ended."""

    def abort(self, key: str, upload: str) -> None: ...


class MotoObjects:
    """Objects of moto, read and written without requests."""

    def __init__(self, endpoint: str) -> None:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        self.endpoint = endpoint
        self._backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        if BUCKET not in self._backend.buckets:
            self._backend.create_bucket(BUCKET, "us-east-1")

    @property
    def _bucket(self) -> Any:
        return self._backend.buckets[BUCKET]

    def look(self, prefix: str) -> Iterator[tuple[str, bytes, object]]:
        for key, item in list(self._bucket.keys.items()):
            if key.startswith(prefix):
                data = _BY_ETAG.get(item.etag.strip('"'))
                yield key, item.value if data is None else data, item

    def put(self, key: str, data: bytes) -> None:
        self._backend.put_object(BUCKET, key, data)

    def delete(self, key: str) -> None:
        self._backend.delete_object(BUCKET, key)

    def is_encrypted(self, key: str) -> bool:
        return bool(self._bucket.keys[key].encryption)

    def uploads(self) -> list[tuple[str, str]]:
        return [(upload.key_name, name) for name, upload in self._bucket.multiparts.items()]

    def abort(self, key: str, upload: str) -> None:
        del self._bucket.multiparts[upload]


class StoreObjects:
    """Objects of a real store."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        known = self._client.exceptions
        with suppress(known.BucketAlreadyExists, known.BucketAlreadyOwnedByYou):
            self._client.create_bucket(Bucket=BUCKET)

    def look(self, prefix: str) -> Iterator[tuple[str, bytes, object]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        for item in (item for page in pages for item in page.get("Contents", [])):
            data = _BY_ETAG.get(item["ETag"].strip('"'))
            if data is None:
                data = self._client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            yield item["Key"], data, None

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=key)

    def is_encrypted(self, key: str) -> bool:
        return "ServerSideEncryption" in self._client.head_object(Bucket=BUCKET, Key=key)

    def uploads(self) -> list[tuple[str, str]]:
        found = self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [(upload["Key"], upload["UploadId"]) for upload in found]

    def abort(self, key: str, upload: str) -> None:
        self._client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)


@contextmanager
def moto_in_process() -> Iterator[str]:
    """Yield the address of moto in threads of this process, so that its objects can be seen.

    Without moto's choice among services, and with connections that stay open, a request takes a
    third of the time.
    """
    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class KeepAlive(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log(self, type: str, message: str, *args: Any) -> None:
            """Log nothing."""

    app = create_backend_app("s3")
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=KeepAlive)
    server.daemon_threads = True  # type: ignore[attr-defined]
    server.block_on_close = False  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
