"""Compare files on disk with the rows of a manifest."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from nipype_datasink.delivery.digests import digest_file
from nipype_datasink.delivery.manifest import ManifestRow
from nipype_datasink.delivery.progress import PhaseProgress, Progress
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.delivery.verify_report import Finding, State
from nipype_datasink.parallel import parallel_map
from nipype_datasink.signals import is_time_limit

_THREADS = 4


def compare_files(rows: Sequence[ManifestRow], progress: Progress) -> list[Finding]:
    """Return what is at the destination of each row, which is a path on disk.

    A file of the recorded size is read to its end.

    Parameters
    ----------
    rows
        Rows of manifests.
    progress
        Shows how many files were read.
    """
    phase = begin_verifying(rows, progress)

    def compare(row: ManifestRow) -> Finding:
        file = phase.file(row.size or 0)
        found = _compare(row, file.add_bytes)
        file.finish(arrived=False)
        return found

    return parallel_map(compare, rows, threads=_THREADS, on_wait=progress.show)


def begin_verifying(rows: Sequence[ManifestRow], progress: Progress) -> PhaseProgress:
    """Begin to count the files of some rows and their bytes."""
    size = sum(row.size or 0 for row in rows)
    return progress.begin(Phase.VERIFYING, Amount(files=len(rows), size=size))


def _compare(row: ManifestRow, on_read: Callable[[int], object]) -> Finding:
    try:
        is_same = _is_same(row, on_read)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(row=row, state=State.MISSING)
    except OSError as error:
        if is_time_limit(error):
            raise
        return Finding(row=row, state=State.UNREADABLE, cause=error.strerror or str(error))
    return Finding(row=row, state=State.AS_DELIVERED if is_same else State.CHANGED)


def _is_same(row: ManifestRow, on_read: Callable[[int], object]) -> bool:
    status = os.stat(row.destination)
    if not stat.S_ISREG(status.st_mode) or status.st_size != row.size:
        return False
    return not row.sha256 or digest_file(row.destination, on_read).sha256 == row.sha256
