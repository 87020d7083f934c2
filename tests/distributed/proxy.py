"""A proxy that stops during an upload."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Thread
from urllib.parse import urlsplit

__all__ = ["Proxy"]

_PIECE_BYTES = 1 << 16


class Proxy:
    """Forward connections to `target`; stop after `limit` bytes until `resume` is set."""

    def __init__(self, target: str, limit: int) -> None:
        self.halted = Event()
        self.resume = Event()
        self._limit = limit
        self._passed = 0
        self._target = urlsplit(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections, and resume the existing ones."""
        self.resume.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                store = socket.create_connection((self._target.hostname, self._target.port))
                for ends in ((client, store, True), (store, client, False)):
                    Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        with suppress(OSError), source, sink:
            while piece := source.recv(_PIECE_BYTES):
                if upwards:
                    self._passed += len(piece)
                    if self._passed > self._limit:
                        self.halted.set()
                        self.resume.wait()
                sink.sendall(piece)
