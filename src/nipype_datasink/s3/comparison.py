"""Is what lies in S3 already this file? ETags and checksums say so, or nothing does."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

from nipype_datasink.parallel import raise_if_cancelled
from nipype_datasink.s3 import has_crt

__all__ = [
    "CHECKSUMS",
    "PART_SIZE",
    "ExpectedDigest",
    "etag_proof",
    "matches",
    "part_size_for",
    "part_size_of",
    "proofs",
    "which_hold",
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


def _crc32c() -> _Hash:
    from awscrt.checksums import crc32c

    return _Crc(crc32c, 4)


# That an answer may carry, in the order of their cost.
CHECKSUMS: dict[str, Callable[[], _Hash]] = {
    "CRC64NVME": _crc64nvme,
    "CRC32C": _crc32c,
    "CRC32": _crc32,
    "SHA1": _sha1,
    "SHA256": hashlib.sha256,
}
_OF_AWSCRT = (_crc64nvme, _crc32c)
_STRONG = 8  # bytes of a digest; of files that end in their own CRC32 all have the same one


@dataclass(frozen=True, slots=True)
class ExpectedDigest:
    """What a file must yield to be the object in S3."""

    name: str
    """``ETag``, or the name of the checksum."""

    make_hash: Callable[[], _Hash]
    """Returns an object like those of `hashlib`."""

    digest: bytes
    """What it must yield: of the whole, or of the digests of all parts."""

    parts: int | None
    """Number of parts whose digests were digested; None for the whole."""

    @property
    def strong(self) -> bool:
        """Whether a file that yields this is the object; 32 bits only tell that a file is not."""
        return len(self.digest) >= _STRONG


def etag_proof(etag: str, encryption: object = None) -> ExpectedDigest | None:
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
    return ExpectedDigest("ETag", _md5, bytes.fromhex(match["digest"]), parts)


def proofs(response: Mapping[str, object]) -> list[ExpectedDigest]:
    """Return everything that S3's answer says about the bytes.

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
    etag = etag_proof(str(response.get("ETag", "")), response.get("ServerSideEncryption"))
    checksums = [_checksum_proof(response, name) for name in CHECKSUMS]
    return [proof for proof in (etag, *checksums) if proof]


def _checksum_proof(response: Mapping[str, object], name: str) -> ExpectedDigest | None:
    make_hash = CHECKSUMS[name]
    match = _CHECKSUM.fullmatch(str(response.get(f"Checksum{name}", "")))
    if match is None or (make_hash in _OF_AWSCRT and not has_crt()):
        return None
    parts = int(match["parts"]) if match["parts"] else None
    in_parts = "-" in str(response.get("ETag", ""))
    if parts or not in_parts or response.get("ChecksumType") == "FULL_OBJECT":
        return ExpectedDigest(name, make_hash, base64.b64decode(match["digest"]), parts)
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


def matches(proof: ExpectedDigest, path: str, part_size: int | None = None) -> bool:
    """Return whether the file at `path` yields what `proof` demands; see `which_hold`."""
    return which_hold([proof], path, part_size)[0]


def which_hold(
    proofs: Sequence[ExpectedDigest], path: str, part_size: int | None = None
) -> list[bool]:
    """Return of each proof whether the file at `path` yields what it demands.

    The file is read once, to its end: not every file system knows how long a file is.

    Parameters
    ----------
    proofs
        Of one object in S3.
    path
        File to be read; memory use does not depend on its size.
    part_size
        In bytes; needed where one of the proofs is one of parts.
    """
    digests = [proof.make_hash() for proof in proofs]
    in_parts = [index for index, proof in enumerate(proofs) if proof.parts is not None]
    whole = [digest for index, digest in enumerate(digests) if index not in in_parts]
    assert part_size is not None or not in_parts
    parts, last = 0, False
    with FileIO(path) as file:
        while not last:
            of_part = [proofs[index].make_hash() for index in in_parts]
            count = _digest(file, [*whole, *of_part], part_size if in_parts else None)
            last = part_size is None or count < part_size
            if count or not parts:  # an empty file has one part
                parts += 1
                for index, digest in zip(in_parts, of_part, strict=True):
                    digests[index].update(digest.digest())
    return [
        digest.digest() == proof.digest and proof.parts in (None, parts)
        for proof, digest in zip(proofs, digests, strict=True)
    ]


def _digest(file: FileIO, digests: Sequence[_Hash], size: int | None) -> int:
    """Digest the next `size` bytes, or all that are left; return how many there were."""
    buffer = memoryview(bytearray(_BLOCK if size is None else min(size, _BLOCK)))
    total = 0
    while size is None or total < size:
        count = file.readinto(buffer if size is None else buffer[: size - total])
        if not count:
            break
        raise_if_cancelled()
        for digest in digests:
            digest.update(buffer[:count])
        total += count
    return total
