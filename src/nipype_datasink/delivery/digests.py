"""Compute the SHA-256 of files, also while they are delivered."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.hashing import hash_file
from nipype_datasink.parallel import Pool, wait_for_result
from nipype_datasink.signals import is_time_limit

_THREADS = max(1, min(4, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """Size and SHA-256 of a file, as its bytes were read."""

    size: int
    """In bytes."""

    sha256: str
    """In hexadecimal digits."""


def digest_file(path: str, on_read: Callable[[int], object] = lambda _: None) -> FileDigest:
    """Read a file once and return its digest.

    Parameters
    ----------
    path
        The file.
    on_read
        Called with each number of bytes that was read.

    Raises
    ------
    OSError
        If the file cannot be read, or is not a regular file.
    """
    size = 0

    def count_bytes(count: int) -> None:
        nonlocal size
        size += count
        on_read(count)

    (sha256,) = hash_file(path, [hashlib.sha256], on_read=count_bytes)
    return FileDigest(size=size, sha256=sha256.hex())


class SourceDigests:
    """Digests of the sources of a delivery, which other threads compute in the meantime.

    Parameters
    ----------
    sources
        Their paths.
    pool
        Reads the files.
    progress
        Shows how many are read when nothing else is left to do.
    """

    def __init__(self, sources: Iterable[str], pool: Pool, progress: Progress) -> None:
        # Before anything is delivered, so that a change in the meantime is noticed.
        paths = list(dict.fromkeys(sources))
        versions = adaptive_map(_version, paths, abandon=True, on_wait=progress.show)
        self._versions = dict(zip(paths, versions, strict=True))
        sizes = {path: version[0] if version else 0 for path, version in self._versions.items()}
        self._progress = progress
        self._phase = progress.prepare(
            Phase.HASHING, Amount(files=len(sizes), size=sum(sizes.values()))
        )

        def digest(path: str) -> FileDigest:
            file = self._phase.file(sizes[path])
            try:
                return digest_file(path, file.add_bytes)
            finally:
                file.finish(arrived=False)

        self._digests: dict[str, Future[FileDigest]] = {
            path: pool.submit(digest, path) for path in self._versions
        }

    def begin_waiting(self) -> None:
        """Show from now on how many sources are read."""
        self._progress.enter(self._phase)

    def find(self, source: str) -> FileDigest | None:
        """Return the digest that a source has had since the delivery began.

        None is returned if the file was changed or replaced since then, if it cannot be read, or
        if its file system does not know its size: then other bytes may have been delivered.
        """
        try:
            digest = wait_for_result(self._digests[source], on_wait=self._progress.show)
        except OSError as error:
            if is_time_limit(error):
                raise
            return None
        before, now = self._versions[source], _version(source)
        return digest if now and now == before and now[0] == digest.size else None


@contextmanager
def digests_of(sources: Iterable[str], progress: Progress) -> Iterator[SourceDigests]:
    """Begin to read files in other threads, each once; an error in the block ends the threads."""
    with Pool(_THREADS) as pool:
        yield SourceDigests(sources, pool, progress)


def _version(path: str) -> tuple[int, ...] | None:
    """Return values that differ if a file was written or replaced; its size in bytes is first."""
    try:
        status = os.stat(path)
    except OSError as error:
        if is_time_limit(error):
            raise
        return None
    return status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino
