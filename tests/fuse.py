"""A file system that treats names as equal if they differ only in case or Unicode form.

APFS, SMB and exFAT do the same. It shows a directory of the disk through FUSE; this needs Debian's
package ``fuse3`` and mfusepy. Run as a program, it serves until it is unmounted.
"""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LIMIT_SECONDS = 20.0  # for mounting, and for the end of the server
_STAT_FIELDS = (
    "st_atime",
    "st_ctime",
    "st_gid",
    "st_mode",
    "st_mtime",
    "st_nlink",
    "st_size",
    "st_uid",
)


def unavailable_reason() -> str | None:
    """Return the reason why FUSE cannot be used here, or None if it can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs FUSE: /dev/fuse cannot be opened"
    try:
        importlib.import_module("mfusepy")
    except (ImportError, OSError) as error:
        return f"needs FUSE (Debian: fuse3) and mfusepy: {error}"
    return None


@contextmanager
def mounted(real: Path, mount: Path, *inodes: str) -> Iterator[None]:
    """Show the contents of `real` at `mount`.

    Parameters
    ----------
    real, mount
        Directories that exist.
    inodes
        ``"inodes"`` to report the inode numbers of the disk. Otherwise FUSE assigns a number to
        each spelling of a name.
    """
    command = [sys.executable, __file__, str(real), str(mount), *inodes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            limit = time.monotonic() + _LIMIT_SECONDS
            while not os.path.ismount(mount):
                if server.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"the file system could not be mounted at {mount}")
                time.sleep(0.02)
            yield
        finally:
            subprocess.run(["fusermount3", "-u", "-z", str(mount)], check=False)
            try:
                server.wait(_LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


class _Disk:
    """Operations of the file system, carried out in the directory on disk."""

    def __init__(self, real: str) -> None:
        self._real = real

    def _path(self, path: str) -> str:
        """Return the path on disk; entries keep the spelling with which they were created."""
        found = self._real
        for name in os.path.normpath(path).split("/")[1:]:
            entries = os.listdir(found) if name and os.path.isdir(found) else []
            same = [entry for entry in entries if _folded(entry) == _folded(name)]
            found = os.path.join(found, same[0] if same else name)
        return found

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, Any]:
        status = os.lstat(self._path(path))
        return {name: getattr(status, name) for name in (*_STAT_FIELDS, "st_ino")}

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(self._path(path))
        return {name: getattr(status, name) for name in dir(status) if name.startswith("f_")}

    def readdir(self, path: str, _handle: int) -> list[tuple[str, dict[str, Any], int]]:
        names = [".", "..", *os.listdir(self._path(path))]
        return [(name, self.getattr(os.path.join(path, name)), 0) for name in names]

    def readlink(self, path: str) -> str:
        return os.readlink(self._path(path))

    def symlink(self, path: str, target: str) -> None:
        os.symlink(target, self._path(path))

    def link(self, path: str, target: str) -> None:
        os.link(self._path(target), self._path(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._path(old), self._path(new))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._path(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._path(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._path(path))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._path(path), mode)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        os.utime(self._path(path), times)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._path(path), flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, _info: object = None) -> int:
        return os.open(self._path(path), os.O_RDWR | os.O_CREAT, mode)

    def read(self, _path: str, size: int, offset: int, handle: int) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, _path: str, data: bytes, offset: int, handle: int) -> int:
        return os.pwrite(handle, data, offset)

    def truncate(self, path: str, length: int, _handle: int | None = None) -> None:
        os.truncate(self._path(path), length)

    def release(self, _path: str, handle: int) -> None:
        os.close(handle)


def _serve(real: str, mount: str, *inodes: str) -> None:
    import mfusepy

    class Operations(_Disk, mfusepy.Operations):
        use_ns = False

        def __call__(self, operation: str, *args: Any) -> Any:
            try:
                return getattr(self, operation)(*args)
            except AttributeError:
                raise mfusepy.FuseOSError(errno.ENOSYS) from None
            except OSError as error:
                raise mfusepy.FuseOSError(error.errno) from error

    options: dict[str, Any] = {"attr_timeout": 0, "entry_timeout": 0}
    if inodes:
        options["use_ino"] = True
    mfusepy.FUSE(Operations(real), mount, foreground=True, nothreads=True, **options)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
