"""A proxy in front of an S3 store that causes faults on purpose.

Requests reach the store byte for byte as they were sent, ``Host`` included, so that signatures
hold. It runs as a process of its own (``python faultproxy.py PORT STORE_PORT``) and receives
commands at an address of its own; see `Proxy`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from urllib.request import Request, urlopen

_CONTROL = "/-/faults"  # "-" is not a valid bucket name
_SLOW_PIECES = 20  # in which a slow response is sent
_HEAD_BYTES = 1 << 16  # bytes


class Fault(str, Enum):
    """Kinds of faults of one request."""

    INTERNAL_ERROR = "500"
    SLOW_DOWN = "503 SlowDown"
    RESET_BEFORE = "reset before the body"
    RESET_DURING = "reset in the body"
    RESET_AFTER = "reset after the body"
    HANG = "hang"
    TRUNCATED = "truncated response"
    CORRUPTED = "corrupted response"
    WRONG_ETAG = "wrong ETag"
    TRICKLE = "slow trickle"
    EXPIRED = "403 ExpiredToken"
    WRONG_REGION = "301 wrong region"


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Which requests fail, and how."""

    kinds: tuple[Fault, ...] = ()
    """Possible faults; one of them is chosen at random for each failing request."""

    rate: float = 1
    """Share of the matching requests that fail."""

    seed: int = 0
    """Seed of the random choices, which follow the order of the requests."""

    only: str = ""
    """Regular expression for the lines of matching requests."""

    after: int = 0
    """Number of matching requests that pass first."""

    most: int = sys.maxsize
    """Maximum number of failing requests."""

    expires_after: int = sys.maxsize
    """Number of requests after which the credentials are expired."""

    pause: float = 1
    """Seconds until a silent connection is closed, and duration of a slow response."""


class Proxy:
    """A running proxy, as tests see it.

    Parameters
    ----------
    address
        Of the proxy; clients take it for the store's.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def set(self, faults: Faults) -> None:
        """Cause these faults from now on, and reset the counts."""
        self._ask(json.dumps(asdict(faults)).encode())

    def hits(self) -> Counter[Fault]:
        """Return how often each fault has happened."""
        answer: dict[str, int] = self._ask()
        return Counter({Fault(kind): count for kind, count in answer.items()})

    def _ask(self, body: bytes | None = None) -> dict[str, int]:
        with urlopen(Request(f"{self.address}{_CONTROL}", body), timeout=30) as response:
            return json.load(response)


# Responses that the proxy sends instead of the store.
_REFUSALS = {
    Fault.INTERNAL_ERROR: ("500 Internal Server Error", "InternalError", ""),
    Fault.SLOW_DOWN: ("503 Slow Down", "SlowDown", ""),
    Fault.EXPIRED: ("403 Forbidden", "ExpiredToken", ""),
    Fault.WRONG_REGION: (
        "301 Moved Permanently",
        "PermanentRedirect",
        "x-amz-bucket-region: eu-central-1\r\n",
    ),
}


class _FaultSelector:
    """Choose which requests fail, and count them."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.hits: Counter[Fault] = Counter()
        self.random = random.Random(faults.seed)
        self._requests = 0
        self._matching = 0

    def __call__(self, line: str) -> Fault | None:
        faults = self.faults
        self._requests += 1
        if self._requests > faults.expires_after:
            return Fault.EXPIRED
        if not faults.kinds or not re.search(faults.only, line):
            return None
        self._matching += 1
        if self._matching <= faults.after or self.hits.total() >= faults.most:
            return None
        return self.random.choice(faults.kinds) if self.random.random() < faults.rate else None


@dataclass(frozen=True)
class _Head:
    """First line and headers of a message."""

    raw: bytes

    @property
    def line(self) -> str:
        return self.raw.partition(b"\r\n")[0].decode("latin-1")

    def header(self, name: bytes) -> bytes:
        match = re.search(rb"\r\n" + name + rb": *([^\r]*)", self.raw, re.IGNORECASE)
        return match[1] if match else b""

    @property
    def length(self) -> int:
        return int(self.header(b"content-length") or 0)

    @property
    def chunked(self) -> bool:
        return b"chunked" in self.header(b"transfer-encoding").lower()


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    return _Head(await reader.readuntil(b"\r\n\r\n"))


async def _read_body(reader: asyncio.StreamReader, head: _Head) -> bytes:
    """Return a body with its framing, such as chunk sizes."""
    if not head.chunked:
        return await reader.readexactly(head.length)
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            break
        body += line + await reader.readexactly(size + 2)
    while line != b"\r\n":  # trailers, and the blank line that ends them
        body += line
        line = await reader.readuntil(b"\r\n")
    return body + line


class _ConnectionCut(Exception):
    """The connection was closed."""


class _Connection:
    """The connection of a client, and the connection to the store for it."""

    def __init__(self, store_port: int, client: _Stream) -> None:
        self._store_port = store_port
        self._reader, self._writer = client
        self._store: _Stream | None = None

    async def serve(self, head: _Head, draw: _FaultSelector) -> None:
        """Forward one request and its response, or cause a fault."""
        self._draw = draw
        fault = draw(head.line)
        if fault is Fault.RESET_BEFORE:
            self._reset(fault)
        if b"100-continue" in head.header(b"expect").lower():
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault is Fault.RESET_DURING and head.length > 1:
            await self._send_half(head)
            self._reset(fault)
        request = head.raw + await _read_body(self._reader, head)
        if fault in _REFUSALS:
            self._hit(fault)
            self._writer.write(_error_response(fault, head))
        elif fault is Fault.HANG:
            await self._hang()
        else:
            await self._pass_on(request, fault, has_body=not head.line.startswith("HEAD "))
        await self._writer.drain()

    def close(self) -> None:
        for writer in (self._writer, self._store and self._store[1]):
            if writer:
                writer.close()

    async def _pass_on(self, request: bytes, fault: Fault | None, *, has_body: bool) -> None:
        head, body = await self._forward(request, has_body=has_body)
        if fault is Fault.RESET_AFTER:
            self._reset(fault)
        if fault is Fault.WRONG_ETAG and head.header(b"etag"):
            self._hit(fault)
            head = _with_wrong_etag(head)
        if fault is Fault.CORRUPTED:
            self._hit(fault)
            head, body = _corrupted(head, body)
        answer = head.raw + body
        if fault is Fault.TRUNCATED:
            self._hit(fault)
            self._writer.write(answer[: len(head.raw if body else b"") + len(body or answer) // 2])
            await self._writer.drain()
            raise _ConnectionCut
        if fault is Fault.TRICKLE:
            await self._trickle(answer)
        else:
            self._writer.write(answer)

    async def _forward(self, request: bytes, *, has_body: bool) -> tuple[_Head, bytes]:
        reader, writer = await self._connect()
        writer.write(request)
        await writer.drain()
        while (head := await _read_head(reader)).line.split()[1] == "100":
            pass
        body = await _read_body(reader, head) if has_body else b""
        if head.header(b"connection").lower() == b"close":
            writer.close()
            self._store = None
        return head, body

    async def _connect(self) -> _Stream:
        if self._store is None or self._store[0].at_eof():
            self._store = await asyncio.open_connection("127.0.0.1", self._store_port)
        return self._store

    async def _send_half(self, head: _Head) -> None:
        """Send half of the body to the store, then close the connection."""
        _, writer = await self._connect()
        writer.write(head.raw + await self._reader.readexactly(head.length // 2))
        await writer.drain()

    async def _trickle(self, answer: bytes) -> None:
        self._hit(Fault.TRICKLE)
        size = -(-len(answer) // _SLOW_PIECES)
        for begin in range(0, len(answer), size):
            self._writer.write(answer[begin : begin + size])
            await self._writer.drain()
            await asyncio.sleep(self._draw.faults.pause / _SLOW_PIECES)

    def _hit(self, fault: Fault) -> None:
        self._draw.hits[fault] += 1

    async def _hang(self) -> None:
        self._hit(Fault.HANG)
        await asyncio.sleep(self._draw.faults.pause)
        self._reset_client()

    def _reset(self, fault: Fault) -> None:
        self._hit(fault)
        self._reset_client()

    def _reset_client(self) -> None:
        """Reset the connection of the client; the kernel drops data that is not delivered yet."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _ConnectionCut


def _error_response(fault: Fault, request: _Head) -> bytes:
    status, code, header = _REFUSALS[fault]
    body = f"<Error><Code>{code}</Code><Message>Injected.</Message></Error>".encode()
    head = (
        f"HTTP/1.1 {status}\r\n{header}Content-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + (b"" if request.line.startswith("HEAD ") else body)


def _with_wrong_etag(head: _Head) -> _Head:
    etag = head.header(b"etag")
    digits = bytes.maketrans(b"0123456789abcdef", b"123456789abcdef0")
    return _Head(head.raw.replace(etag, etag.translate(digits)))


def _corrupted(head: _Head, body: bytes) -> tuple[_Head, bytes]:
    """Invert all bits of the body, or of the headers if there is no body."""
    turned = bytes(range(255, -1, -1))
    if body and not head.chunked:
        return head, body.translate(turned)
    return _Head(head.raw.translate(turned) + b"\r\n\r\n"), body


class _Server:
    """Accept connections from clients and from tests."""

    def __init__(self, store_port: int) -> None:
        self._store_port = store_port
        self._draw = _FaultSelector(Faults())

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self._store_port, (reader, writer))
        with suppress(_ConnectionCut, OSError, asyncio.IncompleteReadError):
            while True:
                head = await _read_head(reader)
                if head.line.split()[1] == _CONTROL:
                    writer.write(self._control(await _read_body(reader, head)))
                else:
                    await connection.serve(head, self._draw)
        connection.close()

    def _control(self, body: bytes) -> bytes:
        if body:
            settings = json.loads(body)
            kinds = tuple(map(Fault, settings.pop("kinds")))
            self._draw = _FaultSelector(Faults(kinds=kinds, **settings))
        answer = json.dumps(self._draw.hits).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer


async def _main(port: int, store_port: int) -> None:
    accept = _Server(store_port).accept
    server = await asyncio.start_server(accept, "127.0.0.1", port, limit=_HEAD_BYTES)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:])))
