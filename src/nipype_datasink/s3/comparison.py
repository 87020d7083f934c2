"""Is what lies in S3 already this file? ETags and checksums say so, or nothing does."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

__all__ = [
    "PART_SIZE",
    "Proof",
    "checksum_proof",
    "confirms",
    "etag_proof",
    "holds",
    "part_size_of",
]

PART_SIZE = 8 << 20  # bytes
MAX_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html

_BLOCK = 1 << 20  # bytes
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)"
_CHECKSUM = re.compile(rf"(?P<digest>{_BASE64})(?:-(?P<parts>[0-9]+))?")
_ETAG = re.compile(r"(?P<digest>[0-9a-f]{32})(?:-(?P<parts>[0-9]+))?")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """CRC32 with the methods of a `hashlib` object."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> _Hash:
    return hashlib.sha1(usedforsecurity=False)


# In the order of their cost.
_ALGORITHMS: dict[str, Callable[[], _Hash]] = {
    "CRC32": _Crc32,
    "SHA1": _sha1,
    "SHA256": hashlib.sha256,
}


@dataclass(frozen=True, slots=True)
class Proof:
    """What a file must yield to be the object in S3."""

    make_hash: Callable[[], _Hash]
    """Returns an object like those of `hashlib`."""

    digest: bytes
    """What it must yield: of the whole, or of the digests of all parts."""

    parts: int | None
    """Number of parts whose digests were digested; None for the whole."""


def etag_proof(etag: str, encryption: object = None) -> Proof | None:
    """Read an ETag; None where it says nothing about the bytes.

    Parameters
    ----------
    etag
        As S3 answers it, quotes included or not.
    encryption
        The object's ``ServerSideEncryption``: with KMS an ETag is no MD5, whatever it looks like
        (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
    """
    match = _ETAG.fullmatch(etag.strip('"').lower())
    if match is None or encryption not in (None, "AES256"):
        return None
    parts = int(match["parts"]) if match["parts"] else None
    return Proof(_md5, bytes.fromhex(match["digest"]), parts)


def checksum_proof(response: Mapping[str, object]) -> Proof | None:
    """Read the checksum that S3's answer carries; None where it has none we know.

    Parameters
    ----------
    response
        boto3's answer to ``head_object(..., ChecksumMode='ENABLED')`` or ``put_object``.

    Notes
    -----
    A checksum of parts ends in their number. Some stores leave it out, so of an object in parts
    only a checksum that is said to be of the whole is one
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
    """
    in_parts = "-" in str(response.get("ETag", ""))
    for name, make_hash in _ALGORITHMS.items():
        match = _CHECKSUM.fullmatch(str(response.get(f"Checksum{name}", "")))
        if match is None:
            continue
        parts = int(match["parts"]) if match["parts"] else None
        if parts or not in_parts or response.get("ChecksumType") == "FULL_OBJECT":
            return Proof(make_hash, base64.b64decode(match["digest"]), parts)
    return None


def part_size_of(size: int, parts: int) -> int | None:
    """Return the part size with which we would send a file, if that makes `parts` parts.

    Parameters
    ----------
    size
        Of the file, in bytes.
    parts
        Number of parts in S3.
    """
    part_size = PART_SIZE
    while -(-size // part_size) > MAX_PARTS:
        part_size *= 2
    return part_size if -(-size // part_size) == parts else None


def holds(proof: Proof, path: str, part_size: int | None = None) -> bool:
    """Return whether the file at `path` yields what `proof` demands.

    Parameters
    ----------
    proof
        Of the object in S3.
    path
        File to be read; memory use does not depend on its size.
    part_size
        In bytes; needed where the proof is one of parts.
    """
    if proof.parts is None:
        return _digest(proof, path, os.stat(path).st_size or 1)[0] == proof.digest
    assert part_size is not None
    digests = _digest(proof, path, part_size)
    whole = proof.make_hash()
    whole.update(b"".join(digests))
    return len(digests) == proof.parts and whole.digest() == proof.digest


def confirms(response: Mapping[str, object], body: bytes) -> bool | None:
    """Return whether the answer to a PutObject speaks of `body`; None where it says nothing.

    Parameters
    ----------
    response
        boto3's answer to ``put_object``.
    body
        What was sent.
    """
    encryption = response.get("ServerSideEncryption")
    proofs = [etag_proof(str(response.get("ETag", "")), encryption), checksum_proof(response)]
    digests = []
    for proof in filter(None, proofs):
        whole = proof.make_hash()
        whole.update(body)
        digests.append(whole.digest() == proof.digest)
    return any(digests) if digests else None


def _digest(proof: Proof, path: str, part_size: int) -> list[bytes]:
    """Return the digest of each part of a file."""
    digests: list[bytes] = []
    with open(path, "rb") as file:
        while True:
            digest = proof.make_hash()
            empty = True
            for block in _blocks(file, part_size):
                digest.update(block)
                empty = False
            if empty and digests:
                return digests
            digests.append(digest.digest())
            if empty:
                return digests


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (block := file.read(min(size, _BLOCK))):
        size -= len(block)
        yield block
