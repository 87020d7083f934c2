"""A store that keeps no objects: it records every request and sends the responses of a test."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

from tests.tls import certify

LISTING = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
STARTED = (
    "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>"
)
COMPLETED = '<CompleteMultipartUploadResult><ETag>"opaque-2"</ETag></CompleteMultipartUploadResult>'


@dataclass
class Request:
    """A request to a store."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        if self.query == "delete":
            return "DeleteObjects"
        if self.query.startswith("uploads"):
            return {"GET": "ListMultipartUploads", "POST": "CreateMultipartUpload"}[self.method]
        if "uploadId" in self.query:
            return {
                "GET": "ListParts",
                "PUT": "UploadPart",
                "POST": "CompleteMultipartUpload",
                "DELETE": "AbortMultipartUpload",
            }[self.method]
        return {
            "GET": "ListObjectsV2" if "list-type" in self.query else "GetObject",
            "HEAD": "HeadObject",
            "PUT": "PutObject",
            "DELETE": "DeleteObject",
        }[self.method]


@dataclass
class Reply:
    """A response of a store."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def error_reply(code: str, status: int = 403, **headers: str) -> Reply:
    """Return an error response as S3 sends it."""
    body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
    return Reply(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


class Script:
    """Recorded requests, and rules for responses."""

    def __init__(self) -> None:
        self.url = ""
        self.certificate = ""
        self.requests: list[Request] = []
        self._rules: list[tuple[str, str, Callable[[Request], Reply | None]]] = []

    def answer(self, operation: str, reply: Reply, ending: str = "") -> None:
        """Respond with `reply` to an operation on keys with a certain ending."""
        self.rule(operation, lambda _: reply, ending)

    def rule(
        self, operation: str, make: Callable[[Request], Reply | None], ending: str = ""
    ) -> None:
        """Respond with what `make` returns, or as usual if that is None."""
        self._rules.append((operation, ending, make))

    def requests_of(self, operation: str) -> list[Request]:
        return [request for request in self.requests if request.operation == operation]

    def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        for operation, ending, make in self._rules:
            if operation == request.operation and request.path.endswith(ending):
                reply = make(request)
                if reply is not None:
                    return reply
        etag = f'"{hashlib.md5(request.body).hexdigest()}"'
        return {
            "ListObjectsV2": Reply(body=LISTING),
            "HeadObject": Reply(403),
            "DeleteObject": Reply(204),
            "ListMultipartUploads": Reply(body="<ListMultipartUploadsResult/>"),
            "ListParts": Reply(body="<ListPartsResult/>"),
            "AbortMultipartUpload": Reply(204),
            "GetObject": error_reply("AccessDenied"),
            "CreateMultipartUpload": Reply(body=STARTED),
            "CompleteMultipartUpload": Reply(body=COMPLETED),
        }.get(request.operation, Reply(headers={"ETag": etag}))


class ConcurrentRequests:
    """Counts the concurrent requests to a store."""

    def __init__(self, script: Script) -> None:
        self.maximum = 0
        self._now = 0
        self._lock = threading.Lock()
        for operation in ("PutObject", "UploadPart", "CreateMultipartUpload"):
            script.rule(operation, self._watch)

    def _watch(self, _: Request) -> None:
        with self._lock:
            self._now += 1
            self.maximum = max(self.maximum, self._now)
        threading.Event().wait(0.02)  # gives others the time to break the limit
        with self._lock:
            self._now -= 1


def _unchunked(body: BufferedIOBase) -> bytes:
    """Read a body in chunks, HTTP's or those of AWS, and the trailer after it."""
    chunks = []
    while size := int(body.readline().partition(b";")[0], 16):
        chunks.append(body.read(size))
        body.readline()
    while body.readline().strip():
        pass
    return b"".join(chunks)


def _body(headers: dict[str, str], file: BufferedIOBase) -> bytes:
    if "transfer-encoding" in headers:
        body = _unchunked(file)
    else:
        body = file.read(int(headers.get("content-length", 0)))
    return _unchunked(BytesIO(body)) if "x-amz-trailer" in headers else body


@contextmanager
def scripted(directory: Path | None = None) -> Iterator[Script]:
    """Yield a script whose store listens on 127.0.0.1, behind TLS if `directory` is given."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = _body(headers, self.rfile)
            reply = script.reply(Request(self.command, path, query, headers, body))
            self.send_response_only(reply.status)
            usual = {
                "Date": self.date_time_string(),
                "Content-Length": str(len(reply.body.encode())),
            }
            for name, value in {**usual, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        script.url = f"http://127.0.0.1:{server.server_port}"
        if directory:
            certificate, key = certify(directory)
            script.certificate = str(certificate)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            script.url = script.url.replace("http", "https")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
