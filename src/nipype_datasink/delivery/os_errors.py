"""Explain errors of the operating system: what to do about them."""

from __future__ import annotations

import errno
import os

_CURES = {
    errno.ENOSPC: "free space there, or choose another base directory",
    errno.EDQUOT: "delete files, or ask for a larger quota",
    errno.EACCES: "ask its owner for permission to write, or choose another base directory",
    errno.EPERM: "ask its owner for permission to write, or choose another base directory",
    errno.EROFS: "mount it for writing, or choose another base directory",
    errno.EIO: "the disk or its server has a fault; ask its administrator, then run again",
    errno.ESTALE: "the network file system was interrupted; run again",
    errno.ENAMETOOLONG: "shorten the name by substitutions",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def explain_os_error(error: Exception) -> str:
    """Return what an error means and what to do.

    Examples
    --------
    >>> explain_os_error(OSError(errno.EDQUOT, "Disk quota exceeded", "/out/a.nii"))
    'Disk quota exceeded; delete files, or ask for a larger quota'
    """
    number = getattr(error, "errno", None) or 0
    # Errors of this library have a text of their own.
    if number not in _CURES or getattr(error, "strerror", None) != os.strerror(number):
        return str(error) or type(error).__name__
    return f"{os.strerror(number)}; {_CURES[number]}"
