"""A file is read once, and all hashes of it and of its parts are right."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nipype_datasink.hashing import Crc, FileHashes, MakeHash, hash_file, hash_parts
from nipype_datasink.parallel import parallel_map
from nipype_datasink.s3.comparison import CHECKSUMS

pytest.importorskip("awscrt.checksums")

CRCS = [CHECKSUMS[name] for name in ("CRC32", "CRC32C", "CRC64NVME")]


def lonely_crc32() -> Crc:
    return Crc(zlib.crc32, 4)


def digest(make: MakeHash, data: bytes) -> bytes:
    hash_ = make()
    hash_.update(data)
    return hash_.digest()


def expected(content: bytes, part_size: int, whole: list[MakeHash]) -> FileHashes:
    """Return the hashes of a file, with MD5 and SHA-256 of its parts."""
    offsets = range(0, max(len(content), 1), part_size)
    parts = [content[offset : offset + part_size] for offset in offsets]
    return FileHashes(
        whole=[digest(make, content) for make in whole],
        of_parts=[
            digest(make, b"".join(digest(make, part) for part in parts))
            for make in (hashlib.md5, hashlib.sha256)
        ],
        part_count=len(parts),
    )


def hashes(path: Path, part_size: int, whole: list[Any], **options: Any) -> FileHashes:
    of_parts = [hashlib.md5, hashlib.sha256]
    return hash_parts(str(path), whole, of_parts, part_size, **options)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Record the calls that several threads make."""
    calls = mock.Mock(wraps=parallel_map)
    monkeypatch.setattr("nipype_datasink.hashing.parallel_map", calls)
    return calls


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200),
    part_size=st.integers(1, 64),
    threads=st.integers(1, 3),
    whole=st.lists(st.sampled_from([*CRCS, lonely_crc32, hashlib.sha1]), max_size=3),
)
def test_hashes_of_all_bytes_and_of_parts_are_right(
    content: bytes, part_size: int, threads: int, whole: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    read: list[int] = []
    found = hashes(path, part_size, whole, on_read=read.append, threads=threads)
    assert found == expected(content, part_size, whole)
    assert sum(read) == len(content)  # once
    assert hash_file(str(path), whole) == found.whole


@pytest.mark.parametrize(
    ("size", "threads", "whole", "parallel"),
    [
        pytest.param(9, 2, CRCS, True, id="several-parts"),
        pytest.param(9, 2, [], True, id="parts-only"),
        pytest.param(8, 2, CRCS, False, id="one-part"),
        pytest.param(9, 1, CRCS, False, id="one-thread"),
        pytest.param(9, 2, [*CRCS, hashlib.sha1], False, id="no-crc"),
        pytest.param(9, 2, [lonely_crc32], False, id="crc-that-cannot-be-combined"),
        pytest.param(80_000, 2, [], True, id="as-many-parts-as-an-object-may-have"),
        pytest.param(80_001, 2, [], False, id="more-parts"),
    ],
)
def test_parts_are_read_side_by_side_where_their_hashes_can_be_combined(
    size: int, threads: int, whole: Any, parallel: bool, tmp_path: Path, calls: mock.Mock
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    assert hashes(path, 8, whole, threads=threads) == expected(bytes(size), 8, whole)
    assert [call.kwargs for call in calls.call_args_list] == [{"threads": 2}] * parallel


@pytest.mark.parametrize("size", [0, 7, 8, 15, 16, 17, 40])
def test_a_file_of_another_size_than_it_had_is_read_to_its_end(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(16))
    before = path.stat()
    content = bytes(range(size))
    path.write_bytes(content)
    monkeypatch.setattr("nipype_datasink.hashing.os.fstat", lambda _: before)
    assert hashes(path, 8, [*CRCS], threads=2) == expected(content, 8, [*CRCS])


def test_parts_are_read_in_order_where_the_system_cannot_do_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    monkeypatch.delattr(os, "preadv")
    assert hashes(path, 4, [*CRCS], threads=2) == expected(b"0123456789", 4, [*CRCS])


def test_blocks_are_smaller_than_parts(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2735  # 700,160 bytes: three parts, and blocks of 262,144
    path = tmp_path / "file"
    path.write_bytes(content)
    for threads in (1, 2):
        assert hashes(path, 300_000, [*CRCS], threads=threads) == expected(
            content, 300_000, [*CRCS]
        )
