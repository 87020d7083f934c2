"""Read a file once, and compute hashes of all its bytes and of its parts.

The parts of a large file are hashed side by side: each has a digest of its own, and the CRC of all
bytes follows from those of the parts.
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
_THREADS = max(1, min(4, os.cpu_count() or 1))

_Data = bytes | memoryview


class Hash(Protocol):
    """An object like those of `hashlib`."""

    def update(self, data: _Data, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """Return the hash of all bytes so far."""


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


MakeHash = Callable[[], Hash]


@dataclass(frozen=True, slots=True)
class FileHashes:
    """Hashes of one file."""

    whole: list[bytes]
    """Of all bytes, for each hash."""

    parts: list[list[bytes]]
    """Of the parts, for each hash; an empty file has one part."""


def hash_file(
    path: str,
    whole: Sequence[MakeHash],
    *,
    of_parts: Sequence[MakeHash] = (),
    part_size: int | None = None,
    on_read: Callable[[int], object] = lambda _: None,
    threads: int = _THREADS,
) -> FileHashes:
    """Read a file to its end and return its hashes.

    Parameters
    ----------
    path
        The file. The memory that this takes does not depend on its size.
    whole
        Make the hashes of all bytes.
    of_parts
        Make the hashes of each part.
    part_size
        Size of the parts in bytes, except for the last; None for no parts.
    on_read
        Called with each number of bytes that was read, in several threads.
    threads
        Largest number of threads that read.

    Raises
    ------
    OSError
        If the file cannot be read, or is not a regular file.
    """
    with FileIO(path, opener=open_regular) as file:
        reader = _Reader(file.fileno(), on_read)
        if part_size is None:
            hashes = [make() for make in whole]
            reader.hash(hashes)
            return FileHashes([each.digest() for each in hashes], [])
        hasher = _PartHasher(reader, whole, of_parts, part_size)
        return hasher.hash_side_by_side(threads) or hasher.hash_in_order()


class _Reader:
    """Reads ranges of an open file; for any thread."""

    def __init__(self, descriptor: int, on_read: Callable[[int], object]) -> None:
        self._descriptor = descriptor
        self._on_read = on_read

    @property
    def size(self) -> int:
        """Size of the file in bytes, which not every file system knows."""
        return os.fstat(self._descriptor).st_size

    def hash(self, hashes: Sequence[Hash], offset: int = 0, size: int | None = None) -> int:
        """Add `size` bytes to hashes, or all that are left; return how many bytes there were."""
        buffer = memoryview(bytearray(_BLOCK_BYTES))
        total = 0
        while count := os.preadv(
            self._descriptor, [buffer if size is None else buffer[: size - total]], offset + total
        ):
            raise_if_cancelled()
            for hash_ in hashes:
                hash_.update(buffer[:count])
            total += count
            self._on_read(count)
        return total


class _PartHasher:
    """Computes the hashes of a file and of its parts."""

    def __init__(
        self, reader: _Reader, whole: Sequence[MakeHash], of_parts: Sequence[MakeHash], size: int
    ) -> None:
        self._reader = reader
        self._whole = whole
        self._of_parts = of_parts
        self._size = size

    def hash_in_order(self) -> FileHashes:
        """Read one part after the other."""
        whole = [make() for make in self._whole]
        parts: list[list[bytes]] = []
        count = self._size
        while count == self._size:
            count, digests = self._hash_part(len(parts), whole)
            if count or not parts:
                parts.append(digests)
        return _file_hashes(whole, parts)

    def hash_side_by_side(self, threads: int) -> FileHashes | None:
        """Read several parts at a time; return None where that is not possible."""
        size = self._reader.size
        whole = [each for make in self._whole if isinstance(each := make(), Crc)]
        can_be_combined = [each.can_be_combined for each in whole] == [True] * len(self._whole)
        if threads < 2 or size <= self._size or not can_be_combined:
            return None

        def hash_part(index: int) -> tuple[list[Hash], int, list[bytes]]:
            hashes = [make() for make in self._whole]
            return hashes, *self._hash_part(index, hashes)

        found = parallel_map(hash_part, range(-(-size // self._size)), threads=threads)
        if sum(count for _, count, _ in found) != size or self._reader.hash([], size):
            return None  # the file has another size by now
        for hashes, count, _ in found:
            for total, part in zip(whole, hashes, strict=True):
                assert isinstance(part, Crc)
                total.append(part, count)
        return _file_hashes(whole, [digests for _, _, digests in found])

    def _hash_part(self, index: int, whole: Sequence[Hash]) -> tuple[int, list[bytes]]:
        """Add a part to `whole`; return its size and its own digests."""
        hashes = [make() for make in self._of_parts]
        count = self._reader.hash([*whole, *hashes], index * self._size, self._size)
        return count, [each.digest() for each in hashes]


def _file_hashes(whole: Sequence[Hash], parts: Sequence[Sequence[bytes]]) -> FileHashes:
    return FileHashes(
        [each.digest() for each in whole], [list(each) for each in zip(*parts, strict=True)]
    )
