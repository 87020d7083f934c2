"""Select which of the digests that a store states must be compared with a file's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nipype_datasink.s3.comparison import PART_BYTES, ExpectedDigest


class DigestSelector:
    """Select which digests of a store's objects must be compared; for any thread.

    Once a store's ETag and its checksum of all bytes were both right, the checksum is enough for
    large files: an MD5 takes much longer. For small files both must be right every time,
    because a store may simply repeat the checksum that it was sent.

    Parameters
    ----------
    checksum_is_enough
        Whether both were right before.
    on_match
        Called when both are right for the first time.
    """

    def __init__(
        self, *, checksum_is_enough: bool = False, on_match: Callable[[], object] = lambda: None
    ) -> None:
        # It only changes from False to True, so threads need no lock for it.
        self._checksum_is_enough = checksum_is_enough
        self._on_match = on_match
        self._lock = threading.Lock()

    @contextmanager
    def selected(
        self, digests: Sequence[ExpectedDigest], size: int
    ) -> Iterator[list[ExpectedDigest]]:
        """Yield those of `digests` that a file of `size` bytes must have.

        While one thread compares both digests of a large file, the others wait, because its result
        may save them the MD5.
        """
        if size <= PART_BYTES:
            yield list(digests)
            return
        if len(self.select_for_large(digests)) > 1 and any(map(_covers_all_bytes, digests)):
            with self._lock:
                if not self._checksum_is_enough:
                    yield list(digests)
                    return
        yield self.select_for_large(digests)

    def select_for_large(self, digests: Sequence[ExpectedDigest]) -> list[ExpectedDigest]:
        """Return those of `digests` that a large file must have."""
        checksums = [digest for digest in digests if digest.name != "ETag"]
        is_enough = self._checksum_is_enough and any(map(_covers_all_bytes, checksums))
        return checksums if is_enough else list(digests)

    def record_match(self, digests: Sequence[ExpectedDigest]) -> None:
        """Record that a file has all of these digests."""
        if self._checksum_is_enough or not any(map(_covers_all_bytes, digests)):
            return
        if any(digest.name == "ETag" for digest in digests):
            self._checksum_is_enough = True
            self._on_match()


def _covers_all_bytes(digest: ExpectedDigest) -> bool:
    """Return whether a digest is a strong checksum of the whole object, and not of its parts."""
    return digest.name != "ETag" and digest.is_strong and digest.part_count is None
