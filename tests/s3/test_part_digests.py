"""The MD5 of parts, computed while they are sent."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from nipype_datasink import FileTransfer
from nipype_datasink.parallel import Pool
from nipype_datasink.s3 import comparison
from nipype_datasink.s3.comparison import PART_BYTES, digest_from_etag, digests_from_response
from nipype_datasink.s3.dialect import Dialect, remember_dialect
from nipype_datasink.s3.part_digests import PartDigests, compare_with_computed
from tests.s3.conftest import transfer_of
from tests.s3.faulty_store import LARGE, crc64, etag, other_than

SIZE = len(LARGE)


@pytest.fixture
def transfer(large: str) -> FileTransfer:
    return FileTransfer(source=large, destination="s3://mybucket/key", size=SIZE)


def test_the_digest_is_the_etag_of_an_object_in_parts(transfer: FileTransfer) -> None:
    digests = PartDigests(is_needed=True)
    with Pool(1) as pool:
        digests.begin(transfer, SIZE, pool)
        assert digests.take(transfer) == digest_from_etag(etag(LARGE))
    assert digests.take(transfer) is None


@pytest.mark.parametrize(("size", "is_needed"), [(PART_BYTES, True), (SIZE, False)])
def test_a_file_is_not_read_if_that_is_not_needed(
    transfer: FileTransfer, size: int, is_needed: bool
) -> None:
    digests, pool = PartDigests(is_needed=is_needed), Recorder()
    digests.begin(transfer, size, pool)
    assert pool.calls == 0
    assert digests.take(transfer) is None


class Recorder(Pool):
    """A pool that counts calls and makes none."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls = 0

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        self.calls += 1
        return Future()


@pytest.mark.parametrize(
    ("response", "is_needed"),
    [
        ({"ETag": etag(LARGE)}, True),
        ({"ETag": "opaque"}, False),
        ({"ETag": etag(LARGE), "ServerSideEncryption": "aws:kms"}, False),
        ({"ChecksumCRC64NVME": crc64(LARGE), "ETag": etag(LARGE)}, True),
        ({}, False),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_what_was_needed_before_is_computed(
    transfer: FileTransfer, response: dict[str, str], is_needed: bool, before: bool
) -> None:
    digests, pool = PartDigests(is_needed=before), Recorder()
    digests.record(digests_from_response(response))
    digests.begin(transfer, SIZE, pool)
    assert pool.calls == is_needed


@pytest.mark.parametrize("uploads", [1, 3])
def test_only_the_first_file_is_read_where_a_checksum_will_be_enough(
    transfer: FileTransfer, uploads: int
) -> None:
    digests, pool = PartDigests(is_needed=True, only_first=True), Recorder()
    for _ in range(uploads):
        digests.begin(transfer, SIZE, pool)
    assert pool.calls == 1


def test_another_file_decides_where_the_first_fails(transfer: FileTransfer) -> None:
    other = replace(transfer, destination="s3://mybucket/other")
    digests, pool = PartDigests(is_needed=True, only_first=True), Recorder()
    digests.begin(transfer, SIZE, pool)
    deciding = [digests.deciding_file]
    for each in (other, transfer):
        digests.abandon(each)
        deciding.append(digests.deciding_file)
    for each in (other, transfer):
        digests.begin(each, SIZE, pool)
        deciding.append(digests.deciding_file)
    assert deciding == [transfer, transfer, None, other, other]
    assert pool.calls == 2


def test_no_file_decides_when_the_answer_is_known(transfer: FileTransfer) -> None:
    digests, pool = PartDigests(is_needed=True, only_first=True), Recorder()
    digests.begin(transfer, SIZE, pool)
    digests.record(digests_from_response({"ETag": etag(LARGE)}))
    assert digests.deciding_file is None
    digests.begin(transfer, SIZE, pool)
    assert digests.deciding_file is None


@pytest.mark.parametrize("args", [{}, {"only_first": True}], ids=["all", "only the first"])
def test_every_file_is_read_where_each_needs_its_etag(
    transfer: FileTransfer, args: dict[str, bool]
) -> None:
    digests, pool = PartDigests(is_needed=True, **args), Recorder()
    digests.record(digests_from_response({"ETag": etag(LARGE)}))
    for _ in range(3):
        digests.begin(transfer, SIZE, pool)
    assert pool.calls == 3


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize("encryption", [None, "AES256", "aws:kms"])
def test_what_is_probably_needed(
    transfer: FileTransfer, sends: bool, encryption: str | None, known: bool
) -> None:
    bucket: Any = SimpleNamespace(
        sends_checksums=sends, encryption=encryption, client=mock.Mock(), name="mybucket"
    )
    if known:
        remember_dialect(bucket, Dialect(checksum_is_enough=True))
    digests, pool = PartDigests.for_uploads_to(bucket), Recorder()
    for _ in range(3):
        digests.begin(transfer, SIZE, pool)
    needed = (0 if known else 1) if sends else 3
    assert pool.calls == (0 if encryption == "aws:kms" else needed)


def test_the_file_of_an_upload_that_failed_is_not_read_to_its_end(
    transfer: FileTransfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, abandoned = threading.Event(), threading.Event()
    update, blocks = comparison._md5, []

    class Slow:
        def __init__(self) -> None:
            self._hash = update()

        def update(self, data: Any) -> None:
            blocks.append(len(data))
            self._hash.update(data)
            reading.set()
            abandoned.wait(10)

        def digest(self) -> bytes:
            return self._hash.digest()

    monkeypatch.setattr(comparison, "_md5", Slow)
    digests = PartDigests(is_needed=True)
    with Pool(1) as pool:
        digests.begin(transfer, SIZE, pool)
        assert reading.wait(10)
        digests.abandon(transfer)
        abandoned.set()
    assert len(blocks) == 1
    assert digests.take(transfer) is None


def test_a_file_that_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    transfer, digests = transfer_of(tmp_path / "file", b"abc"), PartDigests(is_needed=True)
    (tmp_path / "file").unlink()
    with Pool(1) as pool:
        digests.begin(transfer, SIZE, pool)
        assert digests.take(transfer) is None


def test_a_named_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        comparison.digest_of_parts(str(tmp_path / "pipe"), PART_BYTES, on_read=print)


@pytest.mark.parametrize("content", [LARGE, other_than(LARGE)], ids=["the file", "other bytes"])
def test_a_digest_that_was_computed_is_not_computed_again(large: str, content: bytes) -> None:
    computed = digest_from_etag(etag(LARGE))
    is_equal = content == LARGE
    expected = digests_from_response({"ETag": etag(content)})
    assert compare_with_computed(expected, "/none", PART_BYTES, computed) == [is_equal]
    both = digests_from_response(
        {"ETag": etag(content), "ChecksumCRC64NVME": crc64(LARGE), "ChecksumType": "FULL_OBJECT"}
    )
    assert compare_with_computed(both, large, PART_BYTES, computed) == [is_equal, True]
    assert compare_with_computed(both, large, PART_BYTES, None) == [is_equal, True]


def test_digests_of_another_kind_are_computed(large: str) -> None:
    of_other_parts = digests_from_response({"ETag": f'"{"0" * 32}-3"'})
    computed = digest_from_etag(etag(LARGE))
    assert compare_with_computed(of_other_parts, large, PART_BYTES, computed) == [False]
    assert compare_with_computed([], "/none", PART_BYTES, None) == []
