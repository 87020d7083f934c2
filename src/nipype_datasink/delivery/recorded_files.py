"""Compare files on disk with the rows of a manifest."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from nipype_datasink.delivery.digests import digest_file
from nipype_datasink.delivery.manifest import ManifestRow
from nipype_datasink.delivery.verify_report import Finding, State
from nipype_datasink.parallel import parallel_map
from nipype_datasink.signals import is_time_limit

_THREADS = 4


def compare_files(rows: Sequence[ManifestRow]) -> list[Finding]:
    """Return what is at the destination of each row, which is a path on disk.

    A file of the recorded size is read to its end.
    """
    return parallel_map(_compare, rows, threads=_THREADS)


def _compare(row: ManifestRow) -> Finding:
    try:
        is_same = _is_same(row)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(row=row, state=State.MISSING)
    except OSError as error:
        if is_time_limit(error):
            raise
        return Finding(row=row, state=State.UNREADABLE, cause=error.strerror or str(error))
    return Finding(row=row, state=State.AS_DELIVERED if is_same else State.CHANGED)


def _is_same(row: ManifestRow) -> bool:
    status = os.stat(row.destination)
    if not stat.S_ISREG(status.st_mode) or status.st_size != row.size:
        return False
    return not row.sha256 or digest_file(row.destination).sha256 == row.sha256
