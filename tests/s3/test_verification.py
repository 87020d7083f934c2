"""Verifying uploads by what a store answers."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nipype_datasink import FileTransfer, S3Error
from nipype_datasink.s3 import comparison, digest_selection, verification
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.comparison import (
    PART_BYTES,
    ExpectedDigest,
    digest_from_etag,
    digests_from_response,
)
from nipype_datasink.s3.digest_selection import DigestSelector
from nipype_datasink.s3.part_digests import PartDigests
from nipype_datasink.s3.upload_response import UploadResponse
from nipype_datasink.s3.verification import (
    UploadVerifier,
    Verdict,
    compare_stated,
    has_same_bytes,
)
from tests.s3 import faulty_store
from tests.s3.faulty_store import (
    DENIED,
    FAILED,
    FAULTS,
    LARGE,
    SERVER_ERROR,
    UNVERIFIED,
    VERIFIED,
    Fault,
    FaultyStoreClient,
    all_but_the_end,
    crc32,
    crc64,
    crc64_of_kept,
    crc64_of_other,
    encoded,
    etag,
    not_md5,
    nothing,
    opaque,
    other_than,
    sha256,
)
from tests.s3.scripted_store import Reply, error_reply

EQUAL, UNKNOWN = Verdict.EQUAL, Verdict.UNKNOWN
ETAG_DIFFERS, CHECKSUM_DIFFERS = Verdict.ETAG_DIFFERS, Verdict.CHECKSUM_DIFFERS


ABC = etag(b"abc")
OTHER = f'"{"0" * 32}"'


@pytest.fixture
def abc(tmp_path: Path) -> str:
    (tmp_path / "abc").write_bytes(b"abc")
    return str(tmp_path / "abc")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({}, UNKNOWN),
        ({"ETag": "opaque"}, UNKNOWN),
        ({"ETag": ABC}, EQUAL),
        ({"ETag": ABC, "ServerSideEncryption": "AES256"}, EQUAL),
        ({"ETag": ABC, "ServerSideEncryption": "aws:kms"}, UNKNOWN),
        ({"ETag": OTHER, "ServerSideEncryption": "aws:kms"}, UNKNOWN),
        ({"ETag": OTHER}, ETAG_DIFFERS),
        ({"ETag": f'"{"0" * 32}-1"'}, UNKNOWN),
        ({"ChecksumSHA256": sha256(b"abc")}, EQUAL),
        ({"ChecksumSHA256": sha256(b"abd")}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abc"), "ETag": OTHER}, ETAG_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abd"), "ETag": ABC}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abd"), "ETag": OTHER}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abc"), "ChecksumSHA256": sha256(b"x")}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC32": crc32(b"abc")}, UNKNOWN),
        ({"ChecksumCRC32": crc32(b"abc"), "ETag": ABC}, EQUAL),
        ({"ChecksumCRC32": crc32(b"abd")}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC32": crc32(b"abd"), "ETag": ABC}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": "not base64"}, UNKNOWN),
    ],
)
def test_digests_in_a_response_are_compared_with_the_file(
    answer: dict[str, str], verdict: Verdict, abc: str
) -> None:
    assert (
        compare_stated(digests_from_response(answer), abc, 3, selector=DigestSelector()) is verdict
    )


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"ETag": OTHER}, UNKNOWN),
        ({"ETag": ABC}, UNKNOWN),
        ({"ETag": OTHER, "ChecksumCRC64NVME": crc64(b"abc")}, EQUAL),
        ({"ETag": OTHER, "ChecksumCRC64NVME": crc64(b"abd")}, CHECKSUM_DIFFERS),
    ],
)
def test_etags_are_ignored_where_they_are_not_used(
    answer: dict[str, str], verdict: Verdict, abc: str
) -> None:
    assert (
        compare_stated(
            digests_from_response(answer), abc, 3, selector=DigestSelector(), use_etags=False
        )
        is verdict
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    digests=st.dictionaries(
        st.sampled_from(["ETag", "ChecksumCRC64NVME", "ChecksumSHA256", "ChecksumCRC32"]),
        st.booleans(),
    )
)
def test_a_file_is_verified_only_if_every_digest_is_equal(
    abc: str, digests: dict[str, bool]
) -> None:
    makers = {
        "ETag": etag,
        "ChecksumCRC64NVME": crc64,
        "ChecksumSHA256": sha256,
        "ChecksumCRC32": crc32,
    }
    answer = {name: makers[name](b"abc" if right else b"abd") for name, right in digests.items()}
    is_equal = (
        compare_stated(digests_from_response(answer), abc, 3, selector=DigestSelector()) is EQUAL
    )
    strong = any(right for name, right in digests.items() if name != "ChecksumCRC32")
    assert is_equal == (strong and all(digests.values()))
    assert has_same_bytes(digests_from_response(answer), abc) == is_equal


def composite(content: bytes) -> str:
    """Return the SHA-256 of the SHA-256 of two parts, as S3 answers it."""
    return encoded(bytes.fromhex(etag(content, hashlib.sha256).strip('"')[:64])) + "-2"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"ETag": etag(LARGE)}, EQUAL),
        ({"ETag": f'"{"0" * 32}-2"'}, ETAG_DIFFERS),
        ({"ETag": f'"{"0" * 32}-3"'}, UNKNOWN),
        ({"ETag": "opaque-2", "ChecksumSHA256": composite(LARGE)}, EQUAL),
        ({"ETag": "opaque-2", "ChecksumSHA256": composite(LARGE[:-1] + b"y")}, CHECKSUM_DIFFERS),
        (
            {"ETag": etag(LARGE), "ChecksumCRC64NVME": crc64(b""), "ChecksumType": "FULL_OBJECT"},
            CHECKSUM_DIFFERS,
        ),
    ],
)
def test_digests_of_parts_are_compared_with_the_file(
    answer: dict[str, str], verdict: Verdict, large: str
) -> None:
    assert (
        compare_stated(digests_from_response(answer), large, len(LARGE), selector=DigestSelector())
        is verdict
    )


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [({"ETag": etag(LARGE)}, EQUAL), ({"ETag": f'"{"0" * 32}-2"'}, ETAG_DIFFERS)],
)
def test_a_digest_that_was_computed_while_parts_were_sent_is_used(
    answer: dict[str, str], verdict: Verdict
) -> None:
    computed = digest_from_etag(etag(LARGE))
    selector = DigestSelector()
    found = compare_stated(
        digests_from_response(answer), "/none", len(LARGE), selector=selector, computed=computed
    )
    assert found is verdict


def test_an_etag_of_parts_is_unknown_for_a_file_sent_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content := bytes(PART_BYTES))
    answer = {"ETag": f'"{"0" * 32}-1"'}
    verdict = compare_stated(
        digests_from_response(answer),
        str(tmp_path / "file"),
        len(content),
        selector=DigestSelector(),
    )
    assert verdict is UNKNOWN


def test_digests_of_parts_are_computed_for_the_size_of_the_parts(large: str) -> None:
    digests = digests_from_response({"ETag": etag(LARGE)})
    assert has_same_bytes(digests, large, PART_BYTES)
    assert not has_same_bytes(digests, large, PART_BYTES - 1)


def test_bytes_that_are_read_to_compare_them_are_counted(large: str) -> None:
    counts: list[int] = []
    digests = digests_from_response({"ETag": etag(LARGE)})
    assert has_same_bytes(digests, large, PART_BYTES, on_read=counts.append)
    assert sum(counts) == len(LARGE)


def test_large_files_need_only_the_checksum_after_both_digests_matched(large: str) -> None:
    selector = DigestSelector()
    whole = {"ChecksumCRC64NVME": crc64(LARGE), "ChecksumType": "FULL_OBJECT"}
    other = {**whole, "ETag": f'"{"0" * 32}-2"'}
    found = [
        compare_stated(digests_from_response(answer), large, len(LARGE), selector=selector)
        for answer in (other, {**whole, "ETag": etag(LARGE)}, other)
    ]
    assert found == [ETAG_DIFFERS, EQUAL, EQUAL]


def test_small_files_always_need_both_digests(abc: str) -> None:
    selector = DigestSelector()
    both = {"ETag": ABC, "ChecksumCRC64NVME": crc64(b"abc")}
    assert compare_stated(digests_from_response(both), abc, 3, selector=selector) is EQUAL
    assert (
        compare_stated(digests_from_response({**both, "ETag": OTHER}), abc, 3, selector=selector)
        is ETAG_DIFFERS
    )


def test_a_response_without_digests_needs_no_file() -> None:
    assert (
        compare_stated(digests_from_response({}), "/none", 3, selector=DigestSelector()) is UNKNOWN
    )


@pytest.mark.parametrize(
    ("fields", "headers", "status", "is_from_s3"),
    [
        ({"ETag": ABC}, {}, 200, True),
        ({"ETag": ABC}, {"content-length": "0"}, 200, True),
        ({"ETag": ABC}, {"content-length": "0", "content-type": "text/html"}, 200, True),
        ({"ETag": ABC}, {"content-length": "24"}, 200, False),
        ({"ETag": ABC}, {"content-type": "text/html; charset=utf-8"}, 200, False),
        ({"ETag": ABC}, {"content-length": "0"}, 201, True),
        ({"ETag": ABC}, {"content-length": "0"}, 300, False),
        ({"ETag": ""}, {}, 200, False),
        ({}, {"content-length": "0"}, 200, False),
    ],
)
def test_a_response_from_s3_has_an_etag_and_no_body(
    fields: dict[str, str], headers: dict[str, str], status: int, is_from_s3: bool
) -> None:
    assert UploadResponse.from_put_object(fields, headers, status).is_from_s3 is is_from_s3


class Verification:
    """Uploads to a store with a fault, each verified as in one run."""

    def __init__(
        self, fault: Fault, digests: PartDigests | None = None, **upload_args: str
    ) -> None:
        self.client = FaultyStoreClient(fault)
        self._bucket: Any = BucketClient(
            client=self.client,  # type: ignore[arg-type]
            name="mybucket",
            upload_args=upload_args,
        )
        self._digests = digests or PartDigests(is_needed=False)
        self.begin_run()

    def begin_run(self) -> None:
        """Let the next uploads belong to another run."""
        self._verifier = UploadVerifier(self._bucket, self._digests)

    def __call__(self, path: str, key: str = "key") -> bool:
        size = Path(path).stat().st_size
        transfer = FileTransfer(source=path, destination=f"s3://mybucket/{key}", size=size)
        return self._verifier.verify(transfer, size, self.client.upload(transfer))

    def requests(self, operation: str) -> int:
        return len(self.client.script.requests_of(operation))


def outcome(fault: Fault, path: str) -> str:
    try:
        return VERIFIED if Verification(fault)(path) else UNVERIFIED
    except S3Error:
        return FAILED


@pytest.mark.parametrize("fault", FAULTS)
def test_outcome_of_a_small_file(fault: str, abc: str) -> None:
    assert outcome(FAULTS[fault][0], abc) == FAULTS[fault][1]


@pytest.fixture
def in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file that is sent in two parts; small ones, so that the tests take little time."""
    for module in (comparison, digest_selection, verification, faulty_store):
        monkeypatch.setattr(module, "PART_BYTES", 1024)
    (tmp_path / "file").write_bytes(b"x" * 1025)
    return str(tmp_path / "file")


@pytest.mark.parametrize("fault", FAULTS)
def test_outcome_of_a_large_file(fault: str, in_parts: str) -> None:
    assert outcome(FAULTS[fault][0], in_parts) == FAULTS[fault][2]


def test_the_size_decides_whether_the_object_is_looked_up(in_parts: str) -> None:
    verify = Verification(Fault())
    assert verify(in_parts)
    assert verify.requests("HeadObject") == 1
    os.truncate(in_parts, comparison.PART_BYTES)
    assert verify(in_parts)
    assert verify.requests("HeadObject") == 1


class RecordingDigests(PartDigests):
    """Notes whose digests are taken, and which digests were needed."""

    def __init__(self, computed: ExpectedDigest | None) -> None:
        super().__init__(is_needed=False)
        self.computed = computed
        self.taken: list[FileTransfer] = []
        self.needed: list[list[str]] = []

    def take(self, transfer: FileTransfer) -> ExpectedDigest | None:
        self.taken.append(transfer)
        return self.computed

    def record(self, needed: Sequence[ExpectedDigest]) -> None:
        self.needed.append([digest.name for digest in needed])


def test_the_digest_of_the_file_is_taken(in_parts: str) -> None:
    digests = RecordingDigests(digest_from_etag(f'"{"0" * 32}-2"'))
    verify = Verification(Fault(read=DENIED), digests)
    assert not verify(in_parts)  # by the wrong digest: that of the file would be equal
    (transfer,) = digests.taken
    assert transfer.source == in_parts


@pytest.mark.parametrize(
    ("fault", "needed"),
    [
        (Fault(), ["ETag"]),
        (Fault(etag=opaque), []),
        (Fault(checksums=crc64_of_kept), ["CRC64NVME"]),
        (Fault(etag=not_md5), []),
    ],
)
@pytest.mark.parametrize("size", [1025, 1024], ids=["large", "small"])
def test_what_a_large_file_needs_is_recorded(
    in_parts: str, size: int, fault: Fault, needed: list[str]
) -> None:
    os.truncate(in_parts, size)
    digests = RecordingDigests(None)
    verify = Verification(fault, digests)
    for _ in range(2):
        verify(in_parts)
    assert digests.needed[-1] == needed


@pytest.mark.parametrize(
    ("fault", "compared"),
    [(Fault(checksums=crc64_of_kept), ["CRC64NVME"]), (Fault(), ["ETag"])],
    ids=["checksums", "none"],
)
def test_a_later_run_compares_only_what_large_files_need(
    in_parts: str, monkeypatch: pytest.MonkeyPatch, fault: Fault, compared: list[str]
) -> None:
    verify = Verification(fault)
    assert verify(in_parts)
    verify.begin_run()
    compare = mock.Mock(wraps=comparison.compare_digests)
    monkeypatch.setattr("nipype_datasink.s3.part_digests.compare_digests", compare)
    assert verify(in_parts)
    (call,) = compare.call_args_list
    assert [digest.name for digest in call.args[0]] == compared


def test_a_response_without_a_length_is_accepted(
    in_parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = Verification(Fault())
    head_object = verify.client.head_object

    def without_length(**options: Any) -> dict[str, Any]:
        return {k: v for k, v in head_object(**options).items() if k != "ContentLength"}

    monkeypatch.setattr(verify.client, "head_object", without_length)
    assert verify(in_parts)


MISMATCH = "checksum mismatch after upload: the store holds other bytes than were sent"
NOT_FOUND = "the store confirmed the upload, but the object does not exist"
NOT_FROM_S3 = "the response is not from S3; check s3_endpoint_url"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(keep=other_than), MISMATCH),
        (Fault(checksums=crc64_of_other, read=DENIED), MISMATCH),
        (Fault(keep=nothing, etag=opaque), NOT_FOUND),
        (Fault(etag=opaque, read=error_reply("NoSuchBucket", 404)), NOT_FOUND),
        (Fault(answer="empty", read=DENIED, etag=opaque), NOT_FROM_S3),
        (Fault(answer="page", head=DENIED, read=DENIED), NOT_FROM_S3),
    ],
)
def test_error_of_a_small_file(fault: Fault, message: str, abc: str) -> None:
    with pytest.raises(S3Error) as caught:
        Verification(fault)(abc)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(keep=other_than), MISMATCH),
        (Fault(keep=nothing), NOT_FOUND),
        (Fault(answer="empty", head=SERVER_ERROR), NOT_FROM_S3),
        (Fault(answer="page", keep=all_but_the_end), NOT_FROM_S3),
        (
            Fault(keep=all_but_the_end),
            "the object has 1,024 bytes after the upload, the file 1,025",
        ),
    ],
)
def test_error_of_a_large_file(fault: Fault, message: str, in_parts: str) -> None:
    with pytest.raises(S3Error) as caught:
        Verification(fault)(in_parts)
    assert str(caught.value) == message


def test_one_object_is_read_where_etags_are_not_md5(
    abc: str, caplog: pytest.LogCaptureFixture
) -> None:
    verify = Verification(Fault(etag=not_md5))
    assert [verify(abc, key) for key in "123"] == [True, False, False]
    assert verify.requests("GetObject") == 1
    assert [record.getMessage() for record in caplog.records] == [
        "mybucket: this store's ETags are not the MD5 of the bytes; they are not used to verify "
        "files in this run"
    ]


@pytest.mark.parametrize(
    ("fault", "verified"),
    [(Fault(etag=not_md5), False), (Fault(etag=not_md5, checksums=crc64_of_kept), True)],
    ids=["no other digest", "checksum"],
)
def test_a_thread_that_waits_for_the_result_of_another_reads_no_object(
    fault: Fault, verified: bool, abc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second thread finds that an ETag differs while the first reads an object back."""
    verify = Verification(fault)
    compared = [threading.Event(), threading.Event()]
    second: list[bool] = []
    thread = threading.Thread(target=lambda: second.append(verify(abc, "2")))
    compare = compare_stated

    def compare_and_record(*args: Any, **options: Any) -> Verdict:
        verdict = compare(*args, **options)
        compared[threading.current_thread() is thread].set()
        return verdict

    def read_late(**options: Any) -> Any:
        thread.start()
        assert compared[1].wait(60)
        return get_object(**options)

    get_object = verify.client.get_object
    monkeypatch.setattr(verification, "compare_stated", compare_and_record)
    monkeypatch.setattr(verify.client, "get_object", read_late)
    assert verify(abc, "1")
    thread.join(60)
    assert second == [verified]
    assert verify.requests("GetObject") == 1


def test_etags_that_are_opaque_need_no_warning(abc: str, caplog: pytest.LogCaptureFixture) -> None:
    verify = Verification(Fault(etag=opaque))
    assert [verify(abc, key) for key in "123"] == [True, False, False]
    assert verify.requests("GetObject") == 1
    assert not caplog.records


def test_every_response_that_is_not_from_s3_is_checked_by_reading(abc: str) -> None:
    verify = Verification(Fault(etag=opaque, answer="empty"))
    assert [verify(abc, key) for key in "123"] == [True] * 3
    assert verify.requests("GetObject") == 3


@pytest.mark.parametrize(
    ("read", "requests"),
    [(DENIED, 1), (error_reply("InvalidObjectState"), 1), (SERVER_ERROR, 3)],
    ids=["denied", "archived", "server error"],
)
def test_reading_is_tried_again_unless_it_is_denied(read: Reply, requests: int, abc: str) -> None:
    verify = Verification(Fault(etag=opaque, read=read))
    assert [verify(abc, key) for key in "123"] == [False] * 3
    assert verify.requests("GetObject") == requests


@pytest.mark.parametrize(("larger", "requests"), [(0, 1), (1, 0)])
def test_objects_above_a_limit_are_not_read_if_no_digest_differs(
    larger: int, requests: int, abc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nipype_datasink.s3.verification._MAX_READ_BACK_BYTES", 3 - larger)
    verify = Verification(Fault(etag=opaque))
    assert verify(abc) is not larger
    assert verify.requests("GetObject") == requests


def test_a_checksum_of_all_bytes_saves_the_md5_of_large_files(
    in_parts: str, tmp_path: Path
) -> None:
    """The store's ETag of the second file is wrong, and not looked at."""
    verify = Verification(Fault(checksums=crc64_of_kept))
    assert verify(in_parts)
    verify.client.store.fault = Fault(checksums=crc64_of_kept, etag=not_md5)
    assert verify(in_parts)
    assert verify.requests("GetObject") == 0


def test_a_missing_encryption_is_warned_about_once(
    abc: str, caplog: pytest.LogCaptureFixture
) -> None:
    verify = Verification(Fault(), ServerSideEncryption="AES256")
    assert verify(abc, "1")
    assert verify(abc, "2")
    assert [record.getMessage() for record in caplog.records] == [
        "mybucket: this store does not confirm the encryption that was asked for (AES256)"
    ]


def test_a_confirmed_encryption_is_not_warned_about(
    abc: str, caplog: pytest.LogCaptureFixture
) -> None:
    verify = Verification(Fault(kms=True, read=DENIED), ServerSideEncryption="aws:kms")
    assert not verify(abc)
    assert not caplog.records
