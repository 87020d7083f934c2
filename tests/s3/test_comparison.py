"""Whether what lies in S3 is this file: ETags, checksums and parts."""

from __future__ import annotations

import base64
import hashlib
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nipype_datasink.s3.comparison import (
    PART_SIZE,
    ExpectedDigest,
    etag_proof,
    matches,
    part_size_of,
    proofs,
    which_hold,
)

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


def checksum_proof(response: dict[str, Any]) -> ExpectedDigest | None:
    """Return what the checksums of an answer say; its ETag says nothing."""
    assert etag_proof(response.get("ETag", "")) is None
    return next(iter(proofs(response)), None)


def proof_of(etag: str) -> ExpectedDigest:
    proof = etag_proof(etag)
    assert proof is not None
    return proof


@pytest.mark.parametrize(
    "etag", [f'"{MD5_OF_ABC}"', MD5_OF_ABC, MD5_OF_ABC.upper()], ids=["quoted", "bare", "upper"]
)
@pytest.mark.parametrize("encryption", [None, "AES256"])
def test_a_plain_etag_is_the_md5(etag: str, encryption: str | None, abc: str) -> None:
    proof = etag_proof(etag, encryption)
    assert proof is not None
    assert proof.parts is None
    assert matches(proof, abc)


def test_another_files_etag_does_not_hold(abc: str) -> None:
    assert not matches(proof_of(hashlib.md5(b"abd").hexdigest()), abc)


@pytest.mark.parametrize(
    "etag",
    ["", '""', "x", MD5_OF_ABC[:-1], f"{MD5_OF_ABC}0", f"{MD5_OF_ABC}-", f"{MD5_OF_ABC}-x"],
    ids=["none", "empty", "no hash", "short", "long", "no number", "no digits"],
)
def test_an_etag_of_another_form_says_nothing(etag: str) -> None:
    assert etag_proof(etag) is None


@pytest.mark.parametrize("encryption", ["aws:kms", "aws:kms:dsse"])
@pytest.mark.parametrize("etag", [MD5_OF_ABC, f"{MD5_OF_ABC}-2"], ids=["whole", "parts"])
def test_an_etag_under_kms_says_nothing(etag: str, encryption: str) -> None:
    assert etag_proof(etag, encryption) is None


@pytest.mark.parametrize("name", CHECKSUMS_OF_ABC)
def test_a_stored_checksum_is_a_proof(name: str, abc: str, tmp_path: Path) -> None:
    proof = checksum_proof({name: CHECKSUMS_OF_ABC[name], "ETag": '"x"'})
    assert proof is not None
    assert matches(proof, abc)
    other = tmp_path / "other"
    other.write_bytes(b"abd")
    assert not matches(proof, str(other))


@pytest.mark.parametrize("name", CHECKSUMS_OF_ABC)
def test_a_checksum_of_checksums_is_a_proof_by_parts(name: str, tmp_path: Path) -> None:
    digests = {
        "ChecksumCRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
        "ChecksumSHA1": lambda data: hashlib.sha1(data).digest(),
        "ChecksumSHA256": lambda data: hashlib.sha256(data).digest(),
    }
    digest = digests[name]
    value = base64.b64encode(digest(digest(b"ab") + digest(b"c"))).decode()
    proof = checksum_proof({name: f"{value}-2"})
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert proof is not None
    assert proof.parts == 2
    assert matches(proof, str(path), 2)
    assert not matches(proof, str(path), 1)


def test_every_checksum_counts_but_32_bits_prove_nothing() -> None:
    found = proofs(CHECKSUMS_OF_ABC)
    assert [proof.name for proof in found] == ["CRC32", "SHA1", "SHA256"]
    assert [proof.strong for proof in found] == [False, True, True]


@pytest.mark.parametrize(
    "response",
    [{}, {"ETag": '"opaque"'}, {"ChecksumXXHASH64": "AAAAAAAAAAA="}],
    ids=["nothing", "an ETag of its own", "an unknown algorithm"],
)
def test_other_answers_carry_no_proof(response: dict[str, object]) -> None:
    assert proofs(response) == []


# The check value of the Rocksoft model: https://www.nvmexpress.org, NVM Command Set, 5.2.1.3.4
CRC64NVME_OF_DIGITS = (0xAE8B14860A799888).to_bytes(8, "big")


# The check value of CRC-32C: RFC 3720, B.4, and https://reveng.sourceforge.io/crc-catalogue/
CRC32C_OF_DIGITS = (0xE3069283).to_bytes(4, "big")


def test_the_crcs_of_awscrt_are_proofs(tmp_path: Path) -> None:
    (tmp_path / "digits").write_bytes(b"123456789")
    response = {
        "ETag": hashlib.md5(b"123456789").hexdigest(),
        "ChecksumCRC32": base64.b64encode(zlib.crc32(b"123456789").to_bytes(4, "big")).decode(),
        "ChecksumCRC32C": base64.b64encode(CRC32C_OF_DIGITS).decode(),
        "ChecksumCRC64NVME": base64.b64encode(CRC64NVME_OF_DIGITS).decode(),
    }
    found = proofs(response)
    assert [len(proof.digest) for proof in found] == [16, 8, 4, 4]
    assert which_hold(found, str(tmp_path / "digits")) == [True] * 4
    assert which_hold(found, __file__) == [False] * 4


def test_without_awscrt_crc64nvme_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nipype_datasink.s3.comparison.has_crt", lambda: False)
    value = base64.b64encode(CRC64NVME_OF_DIGITS).decode()
    assert proofs({"ChecksumCRC64NVME": value, "ChecksumCRC32C": "AAAAAA=="}) == []


def test_a_checksum_that_is_no_base64_carries_no_proof() -> None:
    assert checksum_proof({"ChecksumSHA256": "abcde"}) is None


@pytest.mark.parametrize(
    ("size", "parts", "part_size"),
    [
        (PART_SIZE, 1, PART_SIZE),
        (PART_SIZE + 1, 2, PART_SIZE),
        (2 * PART_SIZE, 2, PART_SIZE),
        (2 * PART_SIZE, 3, None),
        (2 * PART_SIZE, 1, None),
        (10_000 * PART_SIZE, 10_000, PART_SIZE),
        (10_000 * PART_SIZE + 1, 5_001, 2 * PART_SIZE),
        (10_000 * PART_SIZE + 1, 10_001, None),
        (5 << 40, 10_000, None),
        (5 << 40, 5_120, 1 << 30),
    ],
)
def test_our_part_size_grows_with_the_file(size: int, parts: int, part_size: int | None) -> None:
    assert part_size_of(size, parts) == part_size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=1, max_size=200), part_size=st.integers(1, 64))
def test_parts_of_any_size_are_recomputed(tmp_path: Path, content: bytes, part_size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert matches(proof_of(multipart_etag(content, part_size)), str(path), part_size)


@pytest.mark.parametrize("position", [0, 99, 100, 249])
def test_one_changed_byte_in_any_part_is_noticed(tmp_path: Path, position: int) -> None:
    content = bytearray(250)
    proof = proof_of(multipart_etag(bytes(content), 100))
    content[position] = 1
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not matches(proof, str(path), 100)


def test_as_many_parts_as_the_proof_has_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(250))
    digest = multipart_etag(bytes(250), 100).strip('"').partition("-")[0]
    assert not matches(proof_of(f"{digest}-4"), str(path), 100)


def test_a_single_part_is_no_plain_md5(abc: str) -> None:
    proof = proof_of(multipart_etag(b"abc", 8))
    assert proof.parts == 1
    assert matches(proof, abc, 8)
    assert not matches(proof_of(f"{MD5_OF_ABC}-1"), abc, 8)


@pytest.mark.parametrize("part_size", [None, 8], ids=["whole", "one part"])
def test_an_empty_file_is_compared_too(tmp_path: Path, part_size: int | None) -> None:
    path = tmp_path / "empty"
    path.touch()
    digest = hashlib.md5(b"").digest()
    etag = digest.hex() if part_size is None else f"{hashlib.md5(digest).hexdigest()}-1"
    assert matches(proof_of(etag), str(path), part_size)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    proof = proof_of(MD5_OF_ABC)
    tracemalloc.start()
    try:
        assert not matches(proof, str(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


SHA256_OF_ABC = CHECKSUMS_OF_ABC["ChecksumSHA256"]


@pytest.mark.parametrize(
    ("etag", "kind", "readable"),
    [
        ("plain", None, True),
        ("parts-2", None, False),
        ("parts-2", "COMPOSITE", False),
        ("parts-2", "FULL_OBJECT", True),
    ],
)
def test_a_bare_checksum_of_parts_needs_to_be_called_one_of_the_whole(
    etag: str, kind: str | None, readable: bool
) -> None:
    response = {"ChecksumSHA256": SHA256_OF_ABC, "ETag": etag, "ChecksumType": kind}
    assert (checksum_proof(response) is not None) == readable


def test_without_an_etag_a_checksum_is_one_of_the_whole() -> None:
    proof = checksum_proof({"ChecksumSHA256": SHA256_OF_ABC})
    assert proof is not None
    assert proof.parts is None


@pytest.mark.parametrize("name", CHECKSUMS_OF_ABC)
def test_a_checksum_is_one_of_all_blocks(name: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192  # two blocks
    (tmp_path / "file").write_bytes(content)
    whole = {"ChecksumCRC32": zlib.crc32(content).to_bytes(4, "big")}
    whole["ChecksumSHA1"] = hashlib.sha1(content).digest()
    whole["ChecksumSHA256"] = hashlib.sha256(content).digest()
    proof = checksum_proof({name: base64.b64encode(whole[name]).decode()})
    assert proof is not None
    assert matches(proof, str(tmp_path / "file"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), part_size=st.integers(1, 64), wrong=st.booleans())
def test_digests_of_the_whole_and_of_parts_are_made_in_one_reading(
    tmp_path: Path, content: bytes, part_size: int, wrong: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    of_parts = multipart_etag(content, part_size) if content else NO_CONTENT_IN_ONE_PART
    whole = hashlib.md5(content + b"x" * wrong).hexdigest()
    found = [proof_of(of_parts), proof_of(whole)]
    assert which_hold(found, str(path), part_size) == [True, not wrong]


NO_CONTENT_IN_ONE_PART = f"{hashlib.md5(hashlib.md5().digest()).hexdigest()}-1"


def test_a_file_is_read_to_its_end_whatever_its_length_is_said_to_be() -> None:
    version = Path("/proc/version")
    assert version.stat().st_size == 0
    assert matches(proof_of(hashlib.md5(version.read_bytes()).hexdigest()), str(version))
    assert not matches(proof_of(hashlib.md5().hexdigest()), str(version))
