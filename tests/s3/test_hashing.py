"""A file is read once, and all hashes of it and of its parts are right."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nipype_datasink.parallel import parallel_map
from nipype_datasink.s3.hashing import Crc, FileHashes, Hash, hash_file


def _combine_crc32(first: int, second: int, size: int) -> int:
    return pytest.importorskip("awscrt.checksums").combine_crc32(first, second, size)


def crc32() -> Crc:
    return Crc(zlib.crc32, 4, _combine_crc32)


def lonely_crc32() -> Crc:
    return Crc(zlib.crc32, 4)


def expected(content: bytes, part_size: int, whole: list[Callable[[], Hash]]) -> FileHashes:
    def digest(make: Callable[[], Hash], data: bytes) -> bytes:
        hash_ = make()
        hash_.update(data)
        return hash_.digest()

    offsets = range(0, max(len(content), 1), part_size)
    parts = [content[offset : offset + part_size] for offset in offsets]
    return FileHashes(
        [digest(make, content) for make in whole],
        [[digest(make, part) for part in parts] for make in (hashlib.md5, hashlib.sha256)],
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Record the calls that several threads make."""
    calls = mock.Mock(wraps=parallel_map)
    monkeypatch.setattr("nipype_datasink.s3.hashing.parallel_map", calls)
    return calls


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200),
    part_size=st.integers(1, 64),
    threads=st.integers(1, 3),
    whole=st.lists(st.sampled_from([crc32, lonely_crc32, hashlib.sha1]), max_size=2),
)
def test_hashes_of_all_bytes_and_of_parts_are_right(
    content: bytes, part_size: int, threads: int, whole: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    read: list[int] = []
    found = hash_file(
        str(path),
        whole,
        of_parts=[hashlib.md5, hashlib.sha256],
        part_size=part_size,
        on_read=read.append,
        threads=threads,
    )
    assert found == expected(content, part_size, whole)
    assert sum(read) == len(content)  # once


@pytest.mark.parametrize(
    ("size", "threads", "whole", "parallel"),
    [
        pytest.param(9, 2, [crc32], True, id="several-parts"),
        pytest.param(9, 2, [], True, id="parts-only"),
        pytest.param(8, 2, [crc32], False, id="one-part"),
        pytest.param(9, 1, [crc32], False, id="one-thread"),
        pytest.param(9, 2, [crc32, hashlib.sha1], False, id="no-crc"),
        pytest.param(9, 2, [lonely_crc32], False, id="crc-that-cannot-be-combined"),
    ],
)
def test_parts_are_read_side_by_side_where_their_hashes_can_be_combined(
    size: int, threads: int, whole: Any, parallel: bool, tmp_path: Path, calls: mock.Mock
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    hash_file(str(path), whole, of_parts=[hashlib.md5], part_size=8, threads=threads)
    assert [call.kwargs for call in calls.call_args_list] == [{"threads": 2}] * parallel


@pytest.mark.parametrize("size", [0, 7, 8, 15, 16, 17, 40])
def test_a_file_of_another_size_than_it_had_is_read_to_its_end(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nipype_datasink.s3.hashing._Reader.size", 16)
    content = bytes(range(size))
    path = tmp_path / "file"
    path.write_bytes(content)
    found = hash_file(
        str(path), [crc32], of_parts=[hashlib.md5, hashlib.sha256], part_size=8, threads=2
    )
    assert found == expected(content, 8, [crc32])


def test_without_parts_the_file_is_read_to_its_end(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2735  # 700,160 bytes in blocks of 262,144
    path = tmp_path / "file"
    path.write_bytes(content)
    found = hash_file(str(path), [hashlib.sha256])
    assert found == FileHashes([hashlib.sha256(content).digest()], [])
