"""TLS on 127.0.0.1: a certificate, and a relay that puts TLS before a store.

The relay is a separate process (``python tls.py PORT STORE_PORT CERTIFICATE KEY``). It forwards
bytes unchanged, so that signatures stay valid.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_READ_BYTES = 1 << 18  # bytes


def certify(
    directory: Path, address: str = "127.0.0.1", *, until: timedelta = timedelta(days=1)
) -> tuple[Path, Path]:
    """Make a self-signed certificate for an IP address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store of a test")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + until)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    return paths


@contextmanager
def behind_tls(store: str, **certificate_options: Any) -> Iterator[tuple[str, str]]:
    """Add TLS to the store at the address `store`, with a certificate that `certify` makes.

    Yields
    ------
    tuple of str
        The address, and the path of the certificate that clients must trust.
    """
    from tests.stores import free_ports, running

    with tempfile.TemporaryDirectory(prefix="tls-") as directory:
        certificate, key = certify(Path(directory), **certificate_options)
        (port,) = free_ports(1)
        command = [sys.executable, __file__, str(port), store.rpartition(":")[2]]
        command += [str(certificate), str(key)]
        with running(command, Path(directory) / "log", port):
            yield f"https://127.0.0.1:{port}", str(certificate)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


async def _serve(port: int, store_port: int, context: ssl.SSLContext) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reader2, writer2 = await asyncio.open_connection("127.0.0.1", store_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_forward(reader, writer2), _forward(reader2, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port, ssl=context)
    async with server:
        await server.serve_forever()


def _main(port: str, store_port: str, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asyncio.run(_serve(int(port), int(store_port), context))


if __name__ == "__main__":
    _main(*sys.argv[1:])
