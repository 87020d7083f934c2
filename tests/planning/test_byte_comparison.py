"""Files are compared by their bytes."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

import pytest

from nipype_datasink.planning.byte_comparison import same_bytes

MODULE = "nipype_datasink.planning.byte_comparison"


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        pytest.param(b"", b"", True, id="empty"),
        pytest.param(b"a", b"a", True, id="equal"),
        pytest.param(b"a", b"b", False, id="different"),
        pytest.param(b"a", b"ab", False, id="longer"),
        pytest.param(b"x" * 300_000, b"x" * 300_000, True, id="blocks"),
        pytest.param(b"x" * 300_000, b"x" * 299_999 + b"y", False, id="last-block"),
    ],
)
def test_files_are_compared_by_their_bytes(
    one: bytes, two: bytes, same: bool, tmp_path: Path
) -> None:
    (tmp_path / "1").write_bytes(one)
    (tmp_path / "2").write_bytes(two)
    os.utime(tmp_path / "1", (0, 0))
    assert same_bytes(str(tmp_path / "1"), str(tmp_path / "2")) is same


def test_hard_links_to_one_file_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").write_bytes(b"x")
    os.link(tmp_path / "1", tmp_path / "2")
    monkeypatch.setattr(
        "nipype_datasink.planning.byte_comparison._read", lambda *_: pytest.fail("read")
    )
    assert same_bytes(str(tmp_path / "1"), str(tmp_path / "2"))


def test_a_file_is_read_to_its_end_in_any_number_of_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowFile(FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(2)

    monkeypatch.setattr(f"{MODULE}.FileIO", SlowFile)
    for name, data in [("1", b"abcde"), ("2", b"abcde"), ("3", b"abcdx")]:
        (tmp_path / name).write_bytes(data)
    counts: list[int] = []
    assert same_bytes(str(tmp_path / "1"), str(tmp_path / "2"), counts.append)
    assert counts == [5]
    assert not same_bytes(str(tmp_path / "1"), str(tmp_path / "3"))
