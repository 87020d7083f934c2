"""Which digests of an object must be compared with those of a file."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from nipype_datasink.s3.comparison import PART_BYTES, ExpectedDigest, digests_from_response
from nipype_datasink.s3.digest_selection import DigestSelector
from tests.s3.faulty_store import LARGE, crc32, crc64, encoded, etag, sha256

SIZE = len(LARGE)
OF_ALL_BYTES = {"ChecksumCRC64NVME": crc64(LARGE), "ChecksumType": "FULL_OBJECT"}
BOTH = digests_from_response({"ETag": etag(LARGE), **OF_ALL_BYTES})
# SHA-256 of the SHA-256 of two parts.
OF_PARTS = encoded(bytes.fromhex(etag(LARGE, hashlib.sha256).strip('"')[:64])) + "-2"


def selected(selector: DigestSelector, digests: list[ExpectedDigest], size: int) -> list[str]:
    with selector.selected(digests, size) as expected:
        return [digest.name for digest in expected]


@pytest.mark.parametrize(
    ("matched", "is_enough"),
    [
        ({"ETag": etag(b"abc"), "ChecksumCRC64NVME": crc64(b"abc")}, True),
        ({"ETag": etag(b"abc"), "ChecksumSHA256": sha256(b"abc")}, True),
        ({"ETag": etag(b"abc")}, False),
        ({"ChecksumCRC64NVME": crc64(b"abc")}, False),
        ({"ETag": etag(b"abc"), "ChecksumCRC32": crc32(b"abc")}, False),
        ({"ETag": etag(LARGE), "ChecksumSHA256": OF_PARTS}, False),
        ({}, False),
    ],
)
def test_a_strong_checksum_of_all_bytes_is_enough_after_it_matched_with_an_etag(
    matched: dict[str, str], is_enough: bool
) -> None:
    selector = DigestSelector()
    selector.record_match(digests_from_response(matched))
    names = selected(selector, BOTH, SIZE)
    assert names == (["CRC64NVME"] if is_enough else ["ETag", "CRC64NVME"])
    assert [digest.name for digest in selector.select_for_large(BOTH)] == names


@pytest.mark.parametrize("other", [{"ChecksumCRC32": crc32(LARGE)}, {}], ids=["weak", "none"])
def test_an_etag_is_needed_beside_any_other_checksum(other: dict[str, str]) -> None:
    selector = DigestSelector()
    selector.record_match(BOTH)
    digests = digests_from_response({"ETag": etag(LARGE), **other})
    assert selected(selector, digests, SIZE) == [digest.name for digest in digests]


def test_a_file_of_one_part_always_needs_both_digests() -> None:
    selector = DigestSelector()
    selector.record_match(BOTH)
    digests = digests_from_response({"ETag": etag(b"abc"), "ChecksumCRC64NVME": crc64(b"abc")})
    assert selected(selector, digests, PART_BYTES) == ["ETag", "CRC64NVME"]


@pytest.mark.parametrize("matches", [True, False])
def test_large_files_wait_for_the_first_which_may_save_them_the_etag(matches: bool) -> None:
    selector, others = DigestSelector(), []
    started = threading.Event()

    def select_another() -> list[str]:
        started.set()
        return selected(selector, BOTH, SIZE)

    with ThreadPoolExecutor(1) as pool:
        with selector.selected(BOTH, SIZE) as expected:
            assert expected == BOTH
            others.append(pool.submit(select_another))
            assert started.wait(10)
            if matches:
                selector.record_match(expected)
        names = others[0].result(10)
    assert names == (["CRC64NVME"] if matches else ["ETag", "CRC64NVME"])


@pytest.mark.parametrize(
    ("stated", "size"),
    [
        ({"ETag": etag(LARGE)}, SIZE),
        (OF_ALL_BYTES, SIZE),
        ({"ETag": etag(LARGE), "ChecksumSHA256": OF_PARTS}, SIZE),
        ({"ETag": etag(LARGE), **OF_ALL_BYTES}, PART_BYTES),
    ],
    ids=["no checksum", "no ETag", "checksum of parts", "small"],
)
def test_no_file_waits_if_that_saves_nothing(stated: dict[str, str], size: int) -> None:
    selector, digests = DigestSelector(), digests_from_response(stated)
    with ThreadPoolExecutor(1) as pool, selector.selected(digests, size) as expected:
        assert pool.submit(selected, selector, digests, size).result(10)
        assert expected == digests


@pytest.mark.parametrize("matched", [(BOTH, 1), (BOTH[:1], 0), (BOTH[1:], 0)])
def test_the_first_match_is_reported(matched: tuple[list[ExpectedDigest], int]) -> None:
    digests, calls = matched
    on_match = mock.Mock()
    selector = DigestSelector(on_match=on_match)
    for _ in range(2):
        selector.record_match(digests)
    assert on_match.call_count == calls


@pytest.mark.parametrize("known", [True, False], ids=["before", "now"])
def test_no_file_waits_after_a_match(known: bool) -> None:
    selector = DigestSelector(checksum_is_enough=known)
    if not known:
        selector.record_match(BOTH)
    with ThreadPoolExecutor(1) as pool, selector.selected(BOTH, SIZE):
        assert pool.submit(selected, selector, BOTH, SIZE).result(10) == ["CRC64NVME"]
