"""Is what lies in S3 already this file? ETags and checksums say so, or nothing does."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

from nipype_datasink.s3 import has_crt
from nipype_datasink.threads import checkpoint

__all__ = [
    "PART_SIZE",
    "Proof",
    "confirms",
    "etag_proof",
    "holds",
    "part_size_for",
    "part_size_of",
    "proofs",
]

PART_SIZE = 8 << 20  # bytes
MAX_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html

_BLOCK = 1 << 18  # bytes: stays in the cache of a processor
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)"
_CHECKSUM = re.compile(rf"(?P<digest>{_BASE64})(?:-(?P<parts>[0-9]+))?")
_ETAG = re.compile(r"(?P<digest>[0-9a-f]{32})(?:-(?P<parts>[0-9]+))?")


_Data = bytes | memoryview


class _Hash(Protocol):
    def update(self, data: _Data, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    """A cyclic redundancy check with the methods of a `hashlib` object."""

    def __init__(self, compute: Callable[[_Data, int], int], size: int) -> None:
        self._compute = compute
        self._size = size
        self._value = 0

    def update(self, data: _Data) -> None:
        self._value = self._compute(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def _crc32() -> _Hash:
    return _Crc(zlib.crc32, 4)


def _crc64nvme() -> _Hash:
    # At memory speed, where Python itself would take minutes.
    from awscrt.checksums import crc64nvme

    return _Crc(crc64nvme, 8)


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> _Hash:
    return hashlib.sha1(usedforsecurity=False)


# Faster than the MD5 of an ETag, and as good against chance.
_FASTEST: dict[str, Callable[[], _Hash]] = {"CRC64NVME": _crc64nvme}
# For want of an ETag that says something, in the order of their cost.
_OTHERS: dict[str, Callable[[], _Hash]] = {
    "CRC32": _crc32,
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


def proofs(response: Mapping[str, object]) -> list[Proof]:
    """Return what S3's answer says about the bytes, the cheapest proof first.

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
    found = (
        _checksum_proof(response, _FASTEST),
        etag_proof(str(response.get("ETag", "")), response.get("ServerSideEncryption")),
        _checksum_proof(response, _OTHERS),
    )
    return [proof for proof in found if proof]


def _checksum_proof(
    response: Mapping[str, object], algorithms: Mapping[str, Callable[[], _Hash]]
) -> Proof | None:
    in_parts = "-" in str(response.get("ETag", ""))
    for name, make_hash in algorithms.items():
        match = _CHECKSUM.fullmatch(str(response.get(f"Checksum{name}", "")))
        if match is None or (make_hash is _crc64nvme and not has_crt()):
            continue
        parts = int(match["parts"]) if match["parts"] else None
        if parts or not in_parts or response.get("ChecksumType") == "FULL_OBJECT":
            return Proof(make_hash, base64.b64decode(match["digest"]), parts)
    return None


def part_size_for(size: int) -> int:
    """Return the size of the parts in which we send a file of `size` bytes."""
    part_size = PART_SIZE
    while -(-size // part_size) > MAX_PARTS:
        part_size *= 2
    return part_size


def part_size_of(size: int, parts: int) -> int | None:
    """Return the part size with which we would send a file, if that makes `parts` parts.

    Parameters
    ----------
    size
        Of the file, in bytes.
    parts
        Number of parts in S3.
    """
    part_size = part_size_for(size)
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
    with FileIO(path) as file:
        size = os.fstat(file.fileno()).st_size
        if proof.parts is None:
            return _digest(proof, file, size) == proof.digest
        assert part_size is not None
        parts = range(0, size or 1, part_size)  # an empty file has one
        if len(parts) != proof.parts:
            return False
        whole = proof.make_hash()
        for _ in parts:
            whole.update(_digest(proof, file, part_size))
    return whole.digest() == proof.digest


def confirms(response: Mapping[str, object], path: str, size: int) -> bool | None:
    """Return whether S3's answer speaks of the file at `path`; None where it says nothing.

    Parameters
    ----------
    response
        boto3's answer to ``put_object`` or ``head_object``.
    path
        File that was sent.
    size
        Its size in bytes.
    """
    usable = [
        proof
        for proof in proofs(response)
        if proof.parts is None or (size > PART_SIZE and part_size_of(size, proof.parts))
    ]
    if not usable:
        return None
    return any(holds(proof, path, part_size_for(size)) for proof in usable)


def _digest(proof: Proof, file: FileIO, size: int) -> bytes:
    """Return the digest of the next `size` bytes, or of all that are left."""
    digest = proof.make_hash()
    buffer = memoryview(bytearray(min(size, _BLOCK)))
    while size and (count := file.readinto(buffer[:size])):
        checkpoint()
        digest.update(buffer[:count])
        size -= count
    return digest.digest()
