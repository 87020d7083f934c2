"""Make the certificates of the null server: a CA that clients trust, and one for 127.0.0.1."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_LIFETIME = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a server's certificate."""

    ca: Path
    """Certificate that clients must trust."""

    certificate: Path
    """Certificate of the server."""

    key: Path
    """Private key of the server."""


def make_certificate(directory: Path) -> Certificate:
    """Make a CA and a certificate that it has signed; return their files.

    The keys are on the curve P-256. The server signs with it much faster than with RSA, and it runs
    on the processors that the measured programs need.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    directory.mkdir(parents=True, exist_ok=True)
    files = Certificate(*(directory / name for name in ("ca.pem", "server.pem", "key.pem")))
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _sign("CA of the benchmark", ca_key, "CA of the benchmark", ca_key, is_ca=True)
    server = _sign("null S3 server", key, "CA of the benchmark", ca_key, is_ca=False)
    files.ca.write_bytes(ca.public_bytes(Encoding.PEM))
    files.certificate.write_bytes(server.public_bytes(Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    return files


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder(
            named(issuer), named(name), key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
