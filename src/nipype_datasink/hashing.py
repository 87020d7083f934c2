"""Read a file once, and compute hashes of all its bytes and of its parts.

The parts of a large file may be hashed side by side: each has a digest of its own, and the CRC of
all bytes follows from those of the parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

from nipype_datasink.opening import open_regular
from nipype_datasink.parallel import parallel_map, raise_if_cancelled

_BLOCK_BYTES = 1 << 18  # small enough for a processor's cache
_MAX_PARTS = 10_000  # more are read in order, which takes no memory for each

_Data = bytes | memoryview


class Hash(Protocol):
    """An object like those of `hashlib`."""

    def update(self, data: _Data, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """Return the hash of all bytes so far."""


MakeHash = Callable[[], Hash]


class Crc:
    """A cyclic redundancy check with the methods of a `hashlib` object.

    Parameters
    ----------
    compute
        Returns the CRC of bytes that follow bytes of a given CRC.
    size
        Size of the digest in bytes.
    combine
        Returns the CRC of concatenated bytes from two CRCs and the number of bytes of the second;
        None where that is not possible.
    """

    def __init__(
        self,
        compute: Callable[[_Data, int], int],
        size: int,
        combine: Callable[[int, int, int], int] | None = None,
    ) -> None:
        self._compute = compute
        self._size = size
        self._combine = combine
        self._value = 0

    @property
    def can_be_combined(self) -> bool:
        """Whether `append` may be called."""
        return self._combine is not None

    def update(self, data: _Data) -> None:
        """Add bytes."""
        self._value = self._compute(data, self._value)

    def append(self, other: Crc, size: int) -> None:
        """Add the `size` bytes of another CRC of this kind."""
        assert self._combine
        self._value = self._combine(self._value, other._value, size)

    def digest(self) -> bytes:
        """Return the CRC of all bytes so far."""
        return self._value.to_bytes(self._size, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHashes:
    """Hashes of one file."""

    whole: list[bytes]
    """Of all bytes, for each hash."""

    of_parts: list[bytes]
    """Of the concatenated digests of the parts, for each hash."""

    part_count: int
    """Number of parts; an empty file has one."""


def hash_file(
    path: str,
    whole: Sequence[MakeHash],
    *,
    on_read: Callable[[int], object] = lambda _: None,
) -> list[bytes]:
    """Read a file to its end and return hashes of all its bytes.

    Parameters
    ----------
    path
        The file. The memory that this takes does not depend on its size.
    whole
        Make the hashes.
    on_read
        Called with each number of bytes that was read.

    Raises
    ------
    OSError
        If the file cannot be read, or is not a regular file.
    """
    hashes = [make() for make in whole]
    with FileIO(path, opener=open_regular) as file:
        _hash(file.readinto, None, hashes, on_read)
    return [each.digest() for each in hashes]


def hash_parts(
    path: str,
    whole: Sequence[MakeHash],
    of_parts: Sequence[MakeHash],
    part_size: int,
    *,
    on_read: Callable[[int], object] = lambda _: None,
    threads: int = 1,
) -> FileHashes:
    """Read a file to its end and return hashes of all its bytes and of its parts.

    Parameters
    ----------
    path, whole, on_read
        As for `hash_file`; `on_read` is called in several threads.
    of_parts
        Make the hashes of each part, and of the concatenated digests of all parts.
    part_size
        Size of the parts in bytes, except for the last.
    threads
        Largest number of parts that are read at a time.

    Raises
    ------
    OSError
        If the file cannot be read, or is not a regular file.
    """
    with FileIO(path, opener=open_regular) as file:
        hasher = _PartHasher(file, whole, of_parts, part_size, on_read)
        return hasher.hash_side_by_side(threads) or hasher.hash_in_order()


def _hash(
    read_into: Callable[[memoryview], int],
    size: int | None,
    hashes: Sequence[Hash],
    on_read: Callable[[int], object],
) -> int:
    """Add the next `size` bytes to hashes, or all that are left; return how many there were."""
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    total = 0
    while count := read_into(buffer if size is None else buffer[: size - total]):
        raise_if_cancelled()
        for hash_ in hashes:
            hash_.update(buffer[:count])
        total += count
        on_read(count)
    return total


class _PartHasher:
    """Computes the hashes of an open file and of its parts."""

    def __init__(
        self,
        file: FileIO,
        whole: Sequence[MakeHash],
        of_parts: Sequence[MakeHash],
        part_size: int,
        on_read: Callable[[int], object],
    ) -> None:
        self._file = file
        self._whole = whole
        self._of_parts = of_parts
        self._part_size = part_size
        self._on_read = on_read

    def hash_in_order(self) -> FileHashes:
        """Read one part after the other."""
        whole = [make() for make in self._whole]
        of_parts = [make() for make in self._of_parts]
        part_count, count = 0, self._part_size
        while count == self._part_size:
            parts = [make() for make in self._of_parts]
            count = _hash(self._file.readinto, self._part_size, [*whole, *parts], self._on_read)
            if count or not part_count:
                part_count += 1
                _add(of_parts, parts)
        return _result(whole, of_parts, part_count)

    def hash_side_by_side(self, threads: int) -> FileHashes | None:
        """Read several parts at a time; return None where that is not possible."""
        size = os.fstat(self._file.fileno()).st_size  # not every file system knows it
        part_count = -(-size // self._part_size)
        whole = [make() for make in self._whole]
        can_be_combined = all(isinstance(each, Crc) and each.can_be_combined for each in whole)
        has_preadv = hasattr(os, "preadv")  # not on old systems of macOS
        if not (can_be_combined and has_preadv and threads > 1 and 1 < part_count <= _MAX_PARTS):
            return None
        found = parallel_map(self._hash_part, range(part_count), threads=threads)
        if sum(count for count, _, _ in found) != size or self._read_at(size, bytearray(1)):
            return None  # the file has another size by now
        of_parts = [make() for make in self._of_parts]
        for count, crcs, parts in found:
            _add(of_parts, parts)
            for total, crc in zip(whole, crcs, strict=True):
                assert isinstance(total, Crc)
                assert isinstance(crc, Crc)
                total.append(crc, count)
        return _result(whole, of_parts, part_count)

    def _hash_part(self, index: int) -> tuple[int, list[Hash], list[Hash]]:
        """Return the size of a part, its hashes for all bytes, and its own."""
        whole, parts = [make() for make in self._whole], [make() for make in self._of_parts]
        offset = index * self._part_size

        def read_into(buffer: memoryview) -> int:
            nonlocal offset
            count = self._read_at(offset, buffer)
            offset += count
            return count

        return _hash(read_into, self._part_size, [*whole, *parts], self._on_read), whole, parts

    def _read_at(self, offset: int, buffer: bytearray | memoryview) -> int:
        return os.preadv(self._file.fileno(), [buffer], offset)


def _add(of_parts: Sequence[Hash], parts: Sequence[Hash]) -> None:
    """Add the digests of a part to the hashes of all parts' digests."""
    for hash_, part in zip(of_parts, parts, strict=True):
        hash_.update(part.digest())


def _result(whole: Sequence[Hash], of_parts: Sequence[Hash], part_count: int) -> FileHashes:
    return FileHashes(
        whole=[each.digest() for each in whole],
        of_parts=[each.digest() for each in of_parts],
        part_count=part_count,
    )
