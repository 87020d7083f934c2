"""Opening sources, which may have changed since the plan was made."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.opening import open_regular


def test_a_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"brain")
    with open(tmp_path / "a", "rb", opener=open_regular) as file:
        assert file.read() == b"brain"


def test_a_named_pipe_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    descriptors = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match="is not a regular file"):
        open_regular(str(tmp_path / "pipe"), os.O_RDONLY)
    assert len(os.listdir("/dev/fd")) == descriptors


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), open(tmp_path, "rb", opener=open_regular):
        pass


def test_a_file_with_a_lease_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"brain")
    real = os.open

    def leased(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_NONBLOCK:
            raise BlockingIOError(errno.EWOULDBLOCK, "another process has a lease", path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", leased)
    with open(tmp_path / "a", "rb", opener=open_regular) as file:
        assert file.read() == b"brain"
