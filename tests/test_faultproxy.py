"""The fault proxy causes exactly the requested faults and changes nothing else."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree as ET

import pytest

from tests.faultproxy import Fault, Faults, Proxy
from tests.stores import faulty

BODY = b"0123456789" * 1000
ETAG = '"0123456789abcdef0123456789abcdef"'


class Echo(BaseHTTPRequestHandler):
    """Keep every request and respond with its body."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str], bytes]] = []  # noqa: RUF012

    def do_PUT(self) -> None:
        body = self._body()
        self.seen.append((self.requestline, dict(self.headers), body))
        self.send_response(200)
        self.send_header("ETag", ETAG)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.seen.append((self.requestline, dict(self.headers), b""))
        self.send_response(200)
        self.send_header("Content-Length", "77")
        self.end_headers()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with faulty(f"http://127.0.0.1:{server.server_port}") as proxy:
        yield proxy
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connection(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    proxy.set(Faults())
    Echo.seen.clear()
    connection = http.client.HTTPConnection(proxy.address.removeprefix("http://"), timeout=10)
    yield connection
    connection.close()


def put(connection: http.client.HTTPConnection, path: str = "/b/k", **headers: str) -> bytes:
    connection.request("PUT", path, BODY, headers)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200
    return body


def received_bodies() -> list[bytes]:
    return [body for _, _, body in Echo.seen]


def test_requests_pass_unchanged_without_faults(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    headers = {"Host": "mybucket.example.org", "X-Odd": "a,  b"}
    assert put(connection, "/b/a%2F%20+?x-id=1&y", **headers) == BODY
    line, seen, _ = Echo.seen[0]
    assert line == "PUT /b/a%2F%20+?x-id=1&y HTTP/1.1"
    assert headers.items() <= seen.items()
    assert not proxy.hits()


def test_connections_are_reused(connection: http.client.HTTPConnection) -> None:
    put(connection)
    before = connection.sock
    connection.request("HEAD", "/b/k")
    connection.getresponse().read()
    assert put(connection) == BODY
    assert connection.sock is before


def test_chunked_bodies_pass(connection: http.client.HTTPConnection) -> None:
    connection.request("PUT", "/b/k", iter([b"abc", b"de"]), encode_chunked=True)
    assert connection.getresponse().read() == b"abcde"


def test_100_continue_is_answered(
    connection: http.client.HTTPConnection,
) -> None:
    assert put(connection, Expect="100-continue") == BODY


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.INTERNAL_ERROR, 500, "InternalError"),
        (Fault.SLOW_DOWN, 503, "SlowDown"),
        (Fault.EXPIRED, 403, "ExpiredToken"),
        (Fault.WRONG_REGION, 301, "PermanentRedirect"),
    ],
)
def test_error_responses(
    *,
    proxy: Proxy,
    connection: http.client.HTTPConnection,
    fault: Fault,
    status: int,
    code: str,
) -> None:
    proxy.set(Faults(kinds=(fault,), most=1))
    connection.request("PUT", "/b/k", BODY)
    response = connection.getresponse()
    assert response.status == status
    assert ET.fromstring(response.read()).findtext("Code") == code
    assert bool(response.headers["x-amz-bucket-region"]) is (fault is Fault.WRONG_REGION)
    assert received_bodies() == []
    assert put(connection) == BODY
    assert proxy.hits() == {fault: 1}


@pytest.mark.parametrize(
    ("fault", "reaches"),
    [
        (Fault.RESET_BEFORE, False),
        (Fault.RESET_DURING, False),
        (Fault.RESET_AFTER, True),
        (Fault.HANG, False),
    ],
)
def test_reset_connections(
    proxy: Proxy, connection: http.client.HTTPConnection, fault: Fault, reaches: bool
) -> None:
    proxy.set(Faults(kinds=(fault,), pause=0.5))
    begin = time.monotonic()
    with pytest.raises(ConnectionError):
        put(connection)
    if fault is Fault.HANG:
        assert time.monotonic() - begin >= 0.4
    assert (BODY in received_bodies()) is reaches
    assert proxy.hits() == {fault: 1}


def test_truncated_response(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    proxy.set(Faults(kinds=(Fault.TRUNCATED,)))
    with pytest.raises(http.client.IncompleteRead) as caught:
        put(connection)
    assert caught.value.partial == BODY[: len(BODY) // 2]
    assert received_bodies() == [BODY]


def test_corrupted_response(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    proxy.set(Faults(kinds=(Fault.CORRUPTED,)))
    assert put(connection) == bytes(255 - byte for byte in BODY)
    connection.request("HEAD", "/b/k")
    with pytest.raises(http.client.BadStatusLine):
        connection.getresponse()
    assert proxy.hits() == {Fault.CORRUPTED: 2}


def test_wrong_etag(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    proxy.set(Faults(kinds=(Fault.WRONG_ETAG,)))
    connection.request("PUT", "/b/k", BODY)
    response = connection.getresponse()
    assert response.read() == BODY
    assert response.headers["ETag"] == '"123456789abcdef0123456789abcdef0"'
    connection.request("HEAD", "/b/k")
    assert connection.getresponse().headers["ETag"] is None
    assert proxy.hits() == {Fault.WRONG_ETAG: 1}


def test_slow_response(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    proxy.set(Faults(kinds=(Fault.TRICKLE,), pause=0.5))
    begin = time.monotonic()
    assert put(connection) == BODY
    assert time.monotonic() - begin >= 0.4
    assert proxy.hits() == {Fault.TRICKLE: 1}


def test_faults_apply_to_matching_requests(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    proxy.set(Faults(kinds=(Fault.SLOW_DOWN,), only="^PUT /b/k", after=1, most=1))
    found = []
    for path in ("/b/other", "/b/k1", "/b/k2", "/b/k3"):
        connection.request("PUT", path, BODY)
        response = connection.getresponse()
        response.read()
        found.append(response.status)
    assert found == [200, 200, 503, 200]


def test_expired_credentials_stay_expired(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    proxy.set(Faults(expires_after=1))
    put(connection)
    for _ in range(2):
        connection.request("PUT", "/b/k", BODY)
        response = connection.getresponse()
        assert b"ExpiredToken" in response.read()


def test_seed_makes_faults_reproducible(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    def statuses(seed: int) -> list[int]:
        proxy.set(Faults(kinds=(Fault.SLOW_DOWN, Fault.INTERNAL_ERROR), rate=0.5, seed=seed))
        found = []
        for _ in range(30):
            connection.request("PUT", "/b/k", BODY)
            response = connection.getresponse()
            response.read()
            found.append(response.status)
        return found

    first = statuses(1)
    assert {200, 500, 503} == set(first)
    assert statuses(1) == first
    assert statuses(2) != first
