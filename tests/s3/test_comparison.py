"""Comparing files with the ETags and checksums of objects, of all bytes and of parts."""

from __future__ import annotations

import base64
import hashlib
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nipype_datasink.hashing import Crc, hash_parts
from nipype_datasink.s3.comparison import (
    CHECKSUMS,
    PART_BYTES,
    ExpectedDigest,
    compare_digests,
    digest_from_etag,
    digests_from_response,
    known_part_size,
    matches,
)
from nipype_datasink.s3.verification import has_same_bytes

MD5_OF_ABC = "900150983cd24fb0d6963f7d28e17f72"
CHECKSUMS_OF_ABC = {
    "ChecksumCRC32": base64.b64encode(zlib.crc32(b"abc").to_bytes(4, "big")).decode(),
    "ChecksumSHA1": base64.b64encode(hashlib.sha1(b"abc").digest()).decode(),
    "ChecksumSHA256": base64.b64encode(hashlib.sha256(b"abc").digest()).decode(),
}


@pytest.fixture
def abc(tmp_path: Path) -> str:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    return str(path)


def multipart_etag(content: bytes, part_size: int) -> str:
    parts = [content[start : start + part_size] for start in range(0, len(content), part_size)]
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


def digest_from_checksum(response: dict[str, Any]) -> ExpectedDigest | None:
    """Return the digest that a checksum states, in a response whose ETag states none."""
    assert digest_from_etag(response.get("ETag", "")) is None
    return next(iter(digests_from_response(response)), None)


def digest_of(etag: str) -> ExpectedDigest:
    digest = digest_from_etag(etag)
    assert digest is not None
    return digest


@pytest.mark.parametrize(
    "etag", [f'"{MD5_OF_ABC}"', MD5_OF_ABC, MD5_OF_ABC.upper()], ids=["quoted", "bare", "upper"]
)
@pytest.mark.parametrize("encryption", [None, "AES256"])
def test_a_plain_etag_is_an_md5(etag: str, encryption: str | None, abc: str) -> None:
    digest = digest_from_etag(etag, encryption)
    assert digest is not None
    assert digest.part_count is None
    assert matches(digest, abc)


def test_the_etag_of_another_file_does_not_match(abc: str) -> None:
    assert not matches(digest_of(hashlib.md5(b"abd").hexdigest()), abc)


@pytest.mark.parametrize(
    "etag",
    [
        "",
        '""',
        "x",
        MD5_OF_ABC[:-1],
        f"{MD5_OF_ABC}0",
        f"{MD5_OF_ABC}-",
        f"{MD5_OF_ABC}-x",
        f"{MD5_OF_ABC}-0",
    ],
    ids=["none", "empty", "no hash", "short", "long", "no number", "no digits", "no parts"],
)
def test_an_etag_of_another_form_is_no_digest(etag: str) -> None:
    assert digest_from_etag(etag) is None


@pytest.mark.parametrize("encryption", ["aws:kms", "aws:kms:dsse"])
@pytest.mark.parametrize("etag", [MD5_OF_ABC, f"{MD5_OF_ABC}-2"], ids=["whole", "parts"])
def test_an_etag_under_kms_is_no_digest(etag: str, encryption: str) -> None:
    assert digest_from_etag(etag, encryption) is None


@pytest.mark.parametrize("name", CHECKSUMS_OF_ABC)
def test_a_checksum_is_compared_with_the_file(name: str, abc: str, tmp_path: Path) -> None:
    digest = digest_from_checksum({name: CHECKSUMS_OF_ABC[name], "ETag": '"x"'})
    assert digest is not None
    assert matches(digest, abc)
    other = tmp_path / "other"
    other.write_bytes(b"abd")
    assert not matches(digest, str(other))


@pytest.mark.parametrize("name", CHECKSUMS_OF_ABC)
def test_a_checksum_of_parts_is_compared_with_parts(name: str, tmp_path: Path) -> None:
    digests = {
        "ChecksumCRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
        "ChecksumSHA1": lambda data: hashlib.sha1(data).digest(),
        "ChecksumSHA256": lambda data: hashlib.sha256(data).digest(),
    }
    make_digest = digests[name]
    value = base64.b64encode(make_digest(make_digest(b"ab") + make_digest(b"c"))).decode()
    digest = digest_from_checksum({name: f"{value}-2"})
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digest is not None
    assert digest.part_count == 2
    assert matches(digest, str(path), 2)
    assert not matches(digest, str(path), 1)


def test_a_checksum_of_32_bits_is_not_strong() -> None:
    found = digests_from_response(CHECKSUMS_OF_ABC)
    assert [digest.name for digest in found] == ["CRC32", "SHA1", "SHA256"]
    assert [digest.is_strong for digest in found] == [False, True, True]


@pytest.mark.parametrize(
    "response",
    [{}, {"ETag": '"opaque"'}, {"ChecksumXXHASH64": "AAAAAAAAAAA="}],
    ids=["nothing", "opaque ETag", "unknown algorithm"],
)
def test_other_responses_state_no_digest(response: dict[str, object]) -> None:
    assert digests_from_response(response) == []


# The check value of the Rocksoft model: https://www.nvmexpress.org, NVM Command Set, 5.2.1.3.4
CRC64NVME_OF_DIGITS = (0xAE8B14860A799888).to_bytes(8, "big")


# The check value of CRC-32C: RFC 3720, B.4, and https://reveng.sourceforge.io/crc-catalogue/
CRC32C_OF_DIGITS = (0xE3069283).to_bytes(4, "big")


def test_the_crcs_of_awscrt_are_compared(tmp_path: Path) -> None:
    (tmp_path / "digits").write_bytes(b"123456789")
    response = {
        "ETag": hashlib.md5(b"123456789").hexdigest(),
        "ChecksumCRC32": base64.b64encode(zlib.crc32(b"123456789").to_bytes(4, "big")).decode(),
        "ChecksumCRC32C": base64.b64encode(CRC32C_OF_DIGITS).decode(),
        "ChecksumCRC64NVME": base64.b64encode(CRC64NVME_OF_DIGITS).decode(),
    }
    found = digests_from_response(response)
    assert [len(digest.digest) for digest in found] == [16, 8, 4, 4]
    assert compare_digests(found, str(tmp_path / "digits")) == [True] * 4
    assert compare_digests(found, __file__) == [False] * 4


def test_without_awscrt_its_crcs_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nipype_datasink.s3.comparison.has_crt", lambda: False)
    value = base64.b64encode(CRC64NVME_OF_DIGITS).decode()
    assert digests_from_response({"ChecksumCRC64NVME": value, "ChecksumCRC32C": "AAAAAA=="}) == []


def test_a_checksum_that_is_not_base64_is_no_digest() -> None:
    assert digest_from_checksum({"ChecksumSHA256": "abcde"}) is None


@pytest.mark.parametrize(
    ("size", "parts", "part_size"),
    [
        (PART_BYTES, 1, PART_BYTES),
        (PART_BYTES + 1, 2, PART_BYTES),
        (2 * PART_BYTES, 2, PART_BYTES),
        (2 * PART_BYTES, 3, None),
        (2 * PART_BYTES, 1, None),
        (10_000 * PART_BYTES, 10_000, PART_BYTES),
        (10_000 * PART_BYTES + 1, 5_001, 2 * PART_BYTES),
        (10_000 * PART_BYTES + 1, 10_001, None),
        (5 << 40, 10_000, None),
        (5 << 40, 5_120, 1 << 30),
    ],
)
def test_the_part_size_grows_with_the_file(size: int, parts: int, part_size: int | None) -> None:
    assert known_part_size(size, parts) == part_size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=1, max_size=200), part_size=st.integers(1, 64))
def test_an_etag_of_parts_of_any_size_matches(
    tmp_path: Path, content: bytes, part_size: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert matches(digest_of(multipart_etag(content, part_size)), str(path), part_size)


@pytest.mark.parametrize("position", [0, 99, 100, 249])
def test_a_changed_byte_in_any_part_does_not_match(tmp_path: Path, position: int) -> None:
    content = bytearray(250)
    digest = digest_of(multipart_etag(bytes(content), 100))
    content[position] = 1
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not matches(digest, str(path), 100)


def test_another_number_of_parts_does_not_match(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(250))
    digest = multipart_etag(bytes(250), 100).strip('"').partition("-")[0]
    assert not matches(digest_of(f"{digest}-4"), str(path), 100)


def test_an_etag_of_one_part_is_not_the_md5_of_the_file(abc: str) -> None:
    digest = digest_of(multipart_etag(b"abc", 8))
    assert digest.part_count == 1
    assert matches(digest, abc, 8)
    assert not matches(digest_of(f"{MD5_OF_ABC}-1"), abc, 8)


@pytest.mark.parametrize("part_size", [None, 8], ids=["whole", "one part"])
def test_an_empty_file_matches_its_digest(tmp_path: Path, part_size: int | None) -> None:
    path = tmp_path / "empty"
    path.touch()
    digest = hashlib.md5(b"").digest()
    etag = digest.hex() if part_size is None else f"{hashlib.md5(digest).hexdigest()}-1"
    assert matches(digest_of(etag), str(path), part_size)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    digest = digest_of(MD5_OF_ABC)
    tracemalloc.start()
    try:
        assert not matches(digest, str(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


SHA256_OF_ABC = CHECKSUMS_OF_ABC["ChecksumSHA256"]


@pytest.mark.parametrize(
    ("etag", "checksum_type", "is_digest"),
    [
        ("plain", None, True),
        ("parts-2", None, False),
        ("parts-2", "COMPOSITE", False),
        ("parts-2", "FULL_OBJECT", True),
    ],
)
def test_a_checksum_without_a_part_count_needs_the_type_full_object(
    etag: str, checksum_type: str | None, is_digest: bool
) -> None:
    response = {"ChecksumSHA256": SHA256_OF_ABC, "ETag": etag, "ChecksumType": checksum_type}
    assert (digest_from_checksum(response) is not None) == is_digest


def test_without_an_etag_a_checksum_is_of_all_bytes() -> None:
    digest = digest_from_checksum({"ChecksumSHA256": SHA256_OF_ABC})
    assert digest is not None
    assert digest.part_count is None


@pytest.mark.parametrize("name", CHECKSUMS_OF_ABC)
def test_a_checksum_covers_all_blocks(name: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192  # two blocks
    (tmp_path / "file").write_bytes(content)
    whole = {"ChecksumCRC32": zlib.crc32(content).to_bytes(4, "big")}
    whole["ChecksumSHA1"] = hashlib.sha1(content).digest()
    whole["ChecksumSHA256"] = hashlib.sha256(content).digest()
    digest = digest_from_checksum({name: base64.b64encode(whole[name]).decode()})
    assert digest is not None
    assert matches(digest, str(tmp_path / "file"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), part_size=st.integers(1, 64), wrong=st.booleans())
def test_digests_of_all_bytes_and_of_parts_are_compared_together(
    tmp_path: Path, content: bytes, part_size: int, wrong: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    of_parts = multipart_etag(content, part_size) if content else NO_CONTENT_IN_ONE_PART
    whole = hashlib.md5(content + b"x" * wrong).hexdigest()
    expected = [digest_of(of_parts), digest_of(whole)]
    assert compare_digests(expected, str(path), part_size) == [True, not wrong]


NO_CONTENT_IN_ONE_PART = f"{hashlib.md5(hashlib.md5().digest()).hexdigest()}-1"


def test_a_file_of_unknown_size_is_read_to_its_end() -> None:
    version = Path("/proc/version")
    assert version.stat().st_size == 0
    assert matches(digest_of(hashlib.md5(version.read_bytes()).hexdigest()), str(version))
    assert not matches(digest_of(hashlib.md5().hexdigest()), str(version))


def test_only_quotes_are_removed_from_an_etag() -> None:
    assert digest_from_etag(f'"X{MD5_OF_ABC}X"') is None


def test_the_digest_of_an_etag_is_named_so() -> None:
    assert digest_of(MD5_OF_ABC).name == "ETag"


@pytest.mark.parametrize("encryption", ["aws:kms", "aws:kms:dsse"])
def test_the_etag_of_a_response_under_kms_is_no_digest(encryption: str) -> None:
    response = {"ETag": MD5_OF_ABC, "ServerSideEncryption": encryption}
    assert digests_from_response(response) == []


def test_parts_may_be_larger_than_the_blocks_that_are_read(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2735  # 700,160 bytes: three parts, and blocks of 262,144
    (tmp_path / "file").write_bytes(content)
    found = [
        digest_of(multipart_etag(content, 300_000)),
        digest_of(hashlib.md5(content).hexdigest()),
    ]
    assert compare_digests(found, str(tmp_path / "file"), 300_000) == [True, True]


def test_a_file_that_has_become_a_device_is_not_read() -> None:
    digest = digest_from_etag(hashlib.md5(b"").hexdigest())
    assert digest
    with pytest.raises(OSError, match="not a regular file"):
        compare_digests([digest], os.devnull, 8)


def test_without_awscrt_a_crc32_cannot_be_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nipype_datasink.s3.comparison.has_crt", lambda: False)
    crc = CHECKSUMS["CRC32"]()
    crc.update(b"abc")
    assert crc.digest() == zlib.crc32(b"abc").to_bytes(4, "big")
    assert isinstance(crc, Crc)
    assert not crc.can_be_combined


@pytest.mark.parametrize("part_size", [None, 2])
def test_every_byte_is_reported(part_size: int | None, abc: str) -> None:
    read: list[int] = []
    etag = MD5_OF_ABC if part_size is None else multipart_etag(b"abc", part_size)
    assert compare_digests([digest_of(etag)], abc, part_size, on_read=read.append) == [True]
    assert sum(read) == 3


def test_parts_are_read_in_as_many_threads_as_asked_for(
    abc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = mock.Mock(wraps=hash_parts)
    monkeypatch.setattr("nipype_datasink.s3.comparison.hash_parts", calls)
    assert has_same_bytes([digest_of(multipart_etag(b"abc", 2))], abc, 2, threads=3)
    assert calls.call_args.kwargs["threads"] == 3
