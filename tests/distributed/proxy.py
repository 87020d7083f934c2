"""A way to the store that comes to a halt in the middle of an upload."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Thread
from urllib.parse import urlsplit

__all__ = ["Proxy"]

_PIECE = 1 << 16  # bytes


class Proxy:
    """Passes connections on to `target`, and stops after `limit` bytes until it is let go on."""

    def __init__(self, target: str, limit: int) -> None:
        self.halted = Event()
        self.go_on = Event()
        self._limit = limit
        self._passed = 0
        self._target = urlsplit(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and let all go on."""
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                store = socket.create_connection((self._target.hostname, self._target.port))
                for ends in ((client, store, True), (store, client, False)):
                    Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        with suppress(OSError), source, sink:
            while piece := source.recv(_PIECE):
                if upwards:
                    self._passed += len(piece)
                    if self._passed > self._limit:
                        self.halted.set()
                        self.go_on.wait()
                sink.sendall(piece)
