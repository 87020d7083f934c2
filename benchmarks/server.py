"""The null S3 server: started for a row, asked for what it counted, stopped."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.certificate import Certificate

BUCKET = "bench"

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    endpoint: str
    """Address of the server."""

    pid: int
    """Process ID."""

    ca: str = ""
    """File of the certificate that clients must trust, if the server speaks TLS."""

    @property
    def cpu(self) -> float:
        """CPU seconds that the server has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def take_counts(self) -> dict[str, int]:
        """Return the number of requests by operation since the last call."""
        counts: dict[str, int] = json.loads(self._ask("reset", method="POST"))
        return {name: count for name, count in counts.items() if count}

    def fill(self, prefix: str, count: int) -> None:
        """Create empty objects whose keys start with `prefix`."""
        self._ask(f"fill?prefix={BUCKET}/{prefix}&count={count}", method="POST")

    def _ask(self, what: str, *, method: str) -> bytes:
        trust = ssl.create_default_context(cafile=self.ca) if self.ca else None
        request = Request(f"{self.endpoint}/-/{what}", method=method)
        with urlopen(request, context=trust) as response:
            body: bytes = response.read()
        return body


@contextmanager
def running(
    program: Path, rtt: int = 0, certificate: Certificate | None = None
) -> Iterator[Server]:
    """Run the server until the block is left; it ends when its standard input is closed.

    Parameters
    ----------
    program
        The compiled server.
    rtt
        Round-trip time in ms.
    certificate
        Makes the server speak TLS.
    """
    command: list[str | Path] = [program, "--rtt", str(rtt)]
    if certificate:
        command += ["--certificate", certificate.certificate, "--key", certificate.key]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        port = process.stdout.readline().strip()
        try:
            if certificate:
                yield Server(f"https://127.0.0.1:{port}", process.pid, str(certificate.ca))
            else:
                yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.stdin.close()
