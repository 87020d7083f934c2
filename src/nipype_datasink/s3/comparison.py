"""Compare files with objects in S3 by their digests: ETags and checksums."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from nipype_datasink.hashing import Crc, Hash, MakeHash, hash_file, hash_parts
from nipype_datasink.s3 import has_crt

PART_BYTES = 8 << 20  # bytes; larger files are sent in parts of this size
MAX_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html

_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)"
_PART_COUNT = r"(?:-(?P<parts>[1-9][0-9]{0,8}))?"
_CHECKSUM = re.compile(rf"(?P<digest>{_BASE64}){_PART_COUNT}")
_ETAG = re.compile(rf"(?P<digest>[0-9a-f]{{32}}){_PART_COUNT}")


_md5 = partial(hashlib.md5, usedforsecurity=False)
_sha1 = partial(hashlib.sha1, usedforsecurity=False)


def _crc32() -> Hash:
    if not has_crt():
        return Crc(zlib.crc32, 4)
    from awscrt.checksums import combine_crc32

    return Crc(zlib.crc32, 4, combine_crc32)


def _crc64nvme() -> Hash:
    # awscrt computes it at memory speed; in Python it would take minutes for a large file.
    from awscrt.checksums import combine_crc64nvme, crc64nvme

    return Crc(crc64nvme, 8, combine_crc64nvme)


def _crc32c() -> Hash:
    from awscrt.checksums import combine_crc32c, crc32c

    return Crc(crc32c, 4, combine_crc32c)


# Checksums that a response may state, the cheapest first.
CHECKSUMS: dict[str, MakeHash] = {
    "CRC64NVME": _crc64nvme,
    "CRC32C": _crc32c,
    "CRC32": _crc32,
    "SHA1": _sha1,
    "SHA256": hashlib.sha256,
}
_FIELDS = {name: f"Checksum{name}" for name in CHECKSUMS}
_NEED_AWSCRT = (_crc64nvme, _crc32c)
_STRONG_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class ExpectedDigest:
    """A digest of an object in S3, which a file with the same bytes must have."""

    name: str
    """``ETag``, or the name of the checksum."""

    make_hash: MakeHash
    """Returns an object like those of `hashlib`."""

    digest: bytes
    """Of all bytes, or of the concatenated digests of the parts."""

    part_count: int | None
    """Number of parts; None for a digest of all bytes."""

    @property
    def is_strong(self) -> bool:
        """Whether equal digests show that the bytes are equal.

        A digest of 32 bits only shows that bytes differ. All files that end in their own CRC32,
        for example, have the same CRC32.
        """
        return len(self.digest) >= _STRONG_DIGEST_BYTES


def digest_from_etag(etag: str, encryption: object = None) -> ExpectedDigest | None:
    """Return the MD5 that an ETag states; None if the ETag is not an MD5.

    Parameters
    ----------
    etag
        As in a response, with or without quotes.
    encryption
        The object's ``ServerSideEncryption``. With KMS an ETag is not an MD5, although it has the
        same form (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
    """
    match = _ETAG.fullmatch(etag.strip('"').lower())
    if match is None or encryption not in (None, "AES256"):
        return None
    part_count = int(match["parts"]) if match["parts"] else None
    return ExpectedDigest("ETag", _md5, bytes.fromhex(match["digest"]), part_count)


def digests_from_response(response: Mapping[str, object]) -> list[ExpectedDigest]:
    """Return every digest of the object that a response states.

    Parameters
    ----------
    response
        boto3's response to ``head_object(..., ChecksumMode='ENABLED')`` or ``put_object``.

    Notes
    -----
    A checksum of parts ends with their number, but some stores leave the number out. Of an object
    in parts, a checksum without a number therefore only counts if its type is ``FULL_OBJECT``
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
    """
    etag = digest_from_etag(str(response.get("ETag")), response.get("ServerSideEncryption"))
    # Most responses state one checksum at most.
    names = [name for name, field in _FIELDS.items() if field in response]
    checksums = [_digest_from_checksum(response, name) for name in names]
    return [digest for digest in (etag, *checksums) if digest]


def _digest_from_checksum(response: Mapping[str, object], name: str) -> ExpectedDigest | None:
    make_hash = CHECKSUMS[name]
    match = _CHECKSUM.fullmatch(str(response[_FIELDS[name]]))
    if match is None or (make_hash in _NEED_AWSCRT and not has_crt()):
        return None
    part_count = int(match["parts"]) if match["parts"] else None
    in_parts = "-" in str(response.get("ETag"))
    if part_count or not in_parts or response.get("ChecksumType") == "FULL_OBJECT":
        return ExpectedDigest(name, make_hash, base64.b64decode(match["digest"]), part_count)
    return None


def part_size_for(size: int) -> int:
    """Return the size in bytes of the parts in which a file of `size` bytes is sent."""
    part_size = PART_BYTES
    while size > part_size * MAX_PARTS:
        part_size *= 2
    return part_size


def known_part_size(size: int, part_count: int) -> int | None:
    """Return the size in bytes of an object's parts, if this library may have sent them.

    Parameters
    ----------
    size
        Of the file, in bytes.
    part_count
        Number of the object's parts. None is returned if this library would send another number.
    """
    part_size = part_size_for(size)
    return part_size if -(-size // part_size) == part_count else None


def matches(expected: ExpectedDigest, path: str, part_size: int | None = None) -> bool:
    """Return whether the file at `path` has a digest; see `compare_digests`."""
    return compare_digests([expected], path, part_size)[0]


def compare_digests(
    expected: Sequence[ExpectedDigest],
    path: str,
    part_size: int | None = None,
    *,
    on_read: Callable[[int], object] = lambda _: None,
    threads: int = 1,
) -> list[bool]:
    """Return for each digest whether the file at `path` has it.

    The file is read once and to its end, because not every file system knows the size of a file.

    Parameters
    ----------
    expected
        Digests of one object.
    path
        File to be read. The memory that this takes does not depend on the file's size.
    part_size
        In bytes; needed where one of the digests is of parts.
    on_read
        Called with each number of bytes that was read, in several threads.
    threads
        Largest number of parts that are read at a time.
    """
    whole = [item.make_hash for item in expected if item.part_count is None]
    of_parts = [item.make_hash for item in expected if item.part_count is not None]
    if not of_parts:
        digests = hash_file(path, whole, on_read=on_read)
        return [item.digest == digest for item, digest in zip(expected, digests, strict=True)]
    assert part_size is not None
    hashed = hash_parts(path, whole, of_parts, part_size, on_read=on_read, threads=threads)
    of_all, of_each = iter(hashed.whole), iter(hashed.of_parts)
    return [
        item.digest == next(of_all)
        if item.part_count is None
        else (item.digest, item.part_count) == (next(of_each), hashed.part_count)
        for item in expected
    ]


def digest_of_parts(
    path: str, part_size: int, *, on_read: Callable[[int], object]
) -> ExpectedDigest:
    """Return the MD5 that an ETag states where the file at `path` was sent in parts.

    Parameters
    ----------
    path
        File to be read.
    part_size
        In bytes.
    on_read
        Called with each number of bytes that was read.
    """
    hashed = hash_parts(path, [], [_md5], part_size, on_read=on_read)
    return ExpectedDigest("ETag", _md5, hashed.of_parts[0], hashed.part_count)
