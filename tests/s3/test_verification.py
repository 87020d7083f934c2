"""Verifying uploads, to stores that work and to stores with faults."""

from __future__ import annotations

import base64
import hashlib
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from awscrt.checksums import crc64nvme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nipype_datasink import DataSink, FileTransfer, Outcome, S3Error, Status
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import choose_transport
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.comparison import PART_BYTES, digests_from_response
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.upload_response import UploadResponse
from nipype_datasink.s3.verification import (
    DigestSelector,
    Verdict,
    compare_response,
    has_same_bytes,
)
from tests.s3.conftest import Count, transfer_of
from tests.s3.scripted_store import COMPLETED, Reply, Request, Script, error_reply

EQUAL, UNKNOWN = Verdict.EQUAL, Verdict.UNKNOWN
ETAG_DIFFERS, CHECKSUM_DIFFERS = Verdict.ETAG_DIFFERS, Verdict.CHECKSUM_DIFFERS


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def crc64(content: bytes) -> str:
    return encoded(crc64nvme(content).to_bytes(8, "big"))


def crc32(content: bytes) -> str:
    return encoded(zlib.crc32(content).to_bytes(4, "big"))


def sha256(content: bytes) -> str:
    return encoded(hashlib.sha256(content).digest())


def etag(content: bytes, kind: Callable[..., Any] = md5) -> str:
    """Return the ETag of an object that was sent as this library sends it."""
    if len(content) <= PART_BYTES:
        return f'"{kind(content).hexdigest()}"'
    parts = [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]
    digests = b"".join(kind(part).digest() for part in parts)
    return f'"{kind(digests).hexdigest()}-{len(parts)}"'


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
    assert compare_response(answer, abc, 3, selector=DigestSelector()) is verdict


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
    assert compare_response(answer, abc, 3, selector=DigestSelector(), use_etags=False) is verdict


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
    is_equal = compare_response(answer, abc, 3, selector=DigestSelector()) is EQUAL
    strong = any(right for name, right in digests.items() if name != "ChecksumCRC32")
    assert is_equal == (strong and all(digests.values()))
    assert has_same_bytes(digests_from_response(answer), abc) == is_equal


LARGE = bytes(range(128)) * (PART_BYTES // 128) + b"x"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(LARGE)
    return str(path)


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
    assert compare_response(answer, large, len(LARGE), selector=DigestSelector()) is verdict


def test_an_etag_of_parts_is_unknown_for_a_file_sent_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content := bytes(PART_BYTES))
    answer = {"ETag": f'"{"0" * 32}-1"'}
    verdict = compare_response(
        answer, str(tmp_path / "file"), len(content), selector=DigestSelector()
    )
    assert verdict is UNKNOWN


def test_large_files_need_only_the_checksum_after_both_digests_matched(large: str) -> None:
    selector = DigestSelector()
    whole = {"ChecksumCRC64NVME": crc64(LARGE), "ChecksumType": "FULL_OBJECT"}
    other = {**whole, "ETag": f'"{"0" * 32}-2"'}
    assert compare_response(other, large, len(LARGE), selector=selector) is ETAG_DIFFERS
    assert (
        compare_response({**whole, "ETag": etag(LARGE)}, large, len(LARGE), selector=selector)
        is EQUAL
    )
    assert compare_response(other, large, len(LARGE), selector=selector) is EQUAL
    assert compare_response({"ETag": f'"{"0" * 32}-2"'}, large, len(LARGE), selector=selector) is (
        ETAG_DIFFERS
    )


def test_small_files_always_need_both_digests(abc: str) -> None:
    selector = DigestSelector()
    both = {"ETag": etag(b"abc"), "ChecksumCRC64NVME": crc64(b"abc")}
    assert compare_response(both, abc, 3, selector=selector) is EQUAL
    repeated = {**both, "ETag": etag(b"xyz")}
    assert compare_response(repeated, abc, 3, selector=selector) is ETAG_DIFFERS


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


# Stores with faults.


def other_than(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a store does with a file, and how it answers."""

    keep: Callable[[bytes], bytes | None] = lambda content: content
    """Returns the bytes that are stored; None for no object."""

    answer: str = ""
    """Response to the upload: ``empty``, ``page`` or ``page with ETag``; otherwise as S3's."""

    etag: Callable[[bytes, bytes], str] = lambda _sent, kept: etag(kept)
    checksums: Callable[[bytes, bytes], dict[str, str]] = lambda _sent, _kept: {}
    """Headers that state checksums of all bytes."""

    kms: bool = False
    head: Reply | None = None
    read: Reply | None = None
    """Replies to HEAD and GET requests, in place of the right ones."""


DENIED = error_reply("AccessDenied")
SERVER_ERROR = error_reply("InternalError", 500)
PAGE = '<html lang="en">Sign in</html>'


def opaque(_sent: bytes, kept: bytes) -> str:
    return f'"opaque{(len(kept) > PART_BYTES and "-2") or ""}"'


def not_md5(_sent: bytes, kept: bytes) -> str:
    return f'"{"0" * 32}{(len(kept) > PART_BYTES and "-2") or ""}"'


def crc64_of_kept(_sent: bytes, kept: bytes) -> dict[str, str]:
    return {"x-amz-checksum-crc64nvme": crc64(kept), "x-amz-checksum-type": "FULL_OBJECT"}


def crc64_of_sent(sent: bytes, _kept: bytes) -> dict[str, str]:
    return crc64_of_kept(sent, sent)


def crc64_of_other(sent: bytes, _kept: bytes) -> dict[str, str]:
    return crc64_of_kept(sent, other_than(sent))


def crc32_of_sent(sent: bytes, _kept: bytes) -> dict[str, str]:
    return {"x-amz-checksum-crc32": crc32(sent), "x-amz-checksum-type": "FULL_OBJECT"}


def nothing(_: bytes) -> None:
    return None


def all_but_the_end(content: bytes) -> bytes:
    return content[: PART_BYTES if len(content) > PART_BYTES else -1]


VERIFIED, UNVERIFIED, FAILED = "verified", "sent, not verified", "failed"
FAULTS: dict[str, tuple[Fault, str, str]] = {
    # Name: the fault, the outcome of a small file, the outcome of a file in parts.
    "no fault": (Fault(), VERIFIED, VERIFIED),
    "no fault, with checksums": (Fault(checksums=crc64_of_kept), VERIFIED, VERIFIED),
    "other bytes": (Fault(keep=other_than), FAILED, FAILED),
    "other bytes, ETag of the sent": (
        Fault(keep=other_than, etag=lambda sent, _: etag(sent), checksums=crc64_of_kept),
        FAILED,
        FAILED,
    ),
    "other bytes, checksum of the sent": (
        Fault(keep=other_than, checksums=crc64_of_sent),
        FAILED,
        FAILED,
    ),
    "other bytes, CRC32 of the sent, ETag opaque": (
        Fault(keep=other_than, etag=opaque, checksums=crc32_of_sent),
        FAILED,
        FAILED,
    ),
    "other bytes, CRC32 of the sent, ETag opaque, GET denied": (
        Fault(keep=other_than, etag=opaque, checksums=crc32_of_sent, read=DENIED),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "other bytes, ETag opaque": (Fault(keep=other_than, etag=opaque), FAILED, FAILED),
    "other bytes, ETag not MD5": (Fault(keep=other_than, etag=not_md5), FAILED, FAILED),
    "other bytes, their checksum, GET denied": (
        Fault(keep=other_than, etag=opaque, checksums=crc64_of_kept, read=DENIED),
        FAILED,
        FAILED,
    ),
    "right bytes, ETag not MD5": (Fault(etag=not_md5), VERIFIED, VERIFIED),
    "right bytes, ETag not MD5, checksum": (
        Fault(etag=not_md5, checksums=crc64_of_kept),
        VERIFIED,
        VERIFIED,
    ),
    "right bytes, ETag not MD5, GET denied": (
        Fault(etag=not_md5, read=DENIED),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "right bytes, ETag not MD5, GET fails": (
        Fault(etag=not_md5, read=SERVER_ERROR),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "right bytes, ETag opaque": (Fault(etag=opaque), VERIFIED, VERIFIED),
    "right bytes, ETag opaque, GET denied": (
        Fault(etag=opaque, read=DENIED),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "right bytes, KMS, checksum": (
        Fault(etag=not_md5, checksums=crc64_of_kept, kms=True, read=DENIED),
        VERIFIED,
        VERIFIED,
    ),
    "right bytes, wrong checksum": (Fault(checksums=crc64_of_other), VERIFIED, VERIFIED),
    "nothing, ETag opaque": (Fault(keep=nothing, etag=opaque), FAILED, FAILED),
    "nothing, ETag not MD5": (Fault(keep=nothing, etag=not_md5), FAILED, FAILED),
    "nothing, empty answer": (Fault(keep=nothing, answer="empty"), FAILED, FAILED),
    "nothing, a page": (Fault(keep=nothing, answer="page"), FAILED, FAILED),
    "nothing, a page with an ETag": (Fault(keep=nothing, answer="page with ETag"), FAILED, FAILED),
    "nothing, a page for every request": (
        Fault(keep=nothing, answer="page", head=Reply(body=PAGE), read=Reply(body=PAGE)),
        FAILED,
        FAILED,
    ),
    "nothing, empty answer, HEAD denied": (
        Fault(keep=nothing, answer="empty", head=DENIED, read=DENIED),
        FAILED,
        FAILED,
    ),
    "older object, empty answer": (Fault(keep=other_than, answer="empty"), FAILED, FAILED),
    "older object, empty answer, ETag opaque": (
        Fault(keep=other_than, answer="empty", etag=opaque),
        FAILED,
        FAILED,
    ),
    "older object, a page": (Fault(keep=other_than, answer="page"), FAILED, FAILED),
    "right bytes, empty answer": (Fault(answer="empty"), VERIFIED, VERIFIED),
    "right bytes, empty answer, ETag opaque": (
        Fault(answer="empty", etag=opaque),
        VERIFIED,
        VERIFIED,
    ),
    "right bytes, HEAD denied": (Fault(head=DENIED), VERIFIED, UNVERIFIED),
    "right bytes, HEAD fails": (Fault(head=SERVER_ERROR), VERIFIED, UNVERIFIED),
    "a part is lost": (Fault(keep=all_but_the_end), FAILED, FAILED),
    "a part is lost, ETag opaque": (Fault(keep=all_but_the_end, etag=opaque), FAILED, FAILED),
}


class FaultyStore:
    """Answer requests as a store with one fault does."""

    def __init__(self, script: Script, fault: Fault) -> None:
        self.fault = fault
        self._parts: dict[str, dict[str, bytes]] = {}
        self._sent: dict[str, bytes] = {}
        rules = {
            "PutObject": self._put,
            "UploadPart": self._part,
            "CompleteMultipartUpload": self._complete,
            "HeadObject": self._head,
            "GetObject": self._read,
        }
        for operation, rule in rules.items():
            script.rule(operation, rule)

    def kept(self, path: str) -> bytes | None:
        sent = self._sent.get(path)
        return None if sent is None else self.fault.keep(sent)

    def _headers(self, path: str) -> dict[str, str]:
        sent, kept = self._sent[path], self.kept(path)
        headers = {
            "ETag": self.fault.etag(sent, kept or sent),
            **self.fault.checksums(sent, kept or sent),
        }
        if self.fault.kms:
            headers["x-amz-server-side-encryption"] = "aws:kms"
        return headers

    def _put(self, request: Request) -> Reply:
        self._sent[request.path] = request.body
        headers = self._headers(request.path)
        if self.fault.answer:
            body = "" if self.fault.answer == "empty" else PAGE
            headers = {"ETag": '"65f-267"'} if self.fault.answer == "page with ETag" else {}
            return Reply(body=body, headers=headers)
        return Reply(headers=headers)

    def _part(self, request: Request) -> None:
        self._parts.setdefault(request.path, {})[request.query] = request.body

    def _complete(self, request: Request) -> Reply:
        parts = self._parts[request.path]
        self._sent[request.path] = b"".join(parts[name] for name in sorted(parts))
        if self.fault.answer:
            return Reply(body="" if self.fault.answer == "empty" else PAGE)
        return Reply(body=COMPLETED.replace('"opaque-2"', self._headers(request.path)["ETag"]))

    def _head(self, request: Request) -> Reply:
        return self.fault.head or self._object(request)

    def _read(self, request: Request) -> Reply:
        return self.fault.read or self._object(request)

    def _object(self, request: Request) -> Reply:
        kept = self.kept(request.path)
        if kept is None:
            return error_reply("NoSuchKey", 404)
        return Reply(body=kept.decode(), headers=self._headers(request.path))


@pytest.fixture
def send(
    script: Script, credentials: None, monkeypatch: pytest.MonkeyPatch, transfer_client: str
) -> Callable[..., list[Outcome]]:
    """Return a function that sends files to the scripted store."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def send(
        transfers: list[FileTransfer], checksums: str = "when_required", limit: int = 2
    ) -> list[Outcome]:
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", checksums)
        connection = ClientOptions(endpoint_url=script.url, concurrency=limit)
        client = open_bucket("mybucket", connection).meta.client
        bucket = BucketClient(client=client, name="mybucket", upload_args={})
        transport = choose_transport(
            transfer_client, bucket, estimator=ConcurrencyEstimator(limit), progress=Count()
        )
        return transport.send(transfers, CircuitBreaker())

    return send


def name_of(outcome: Outcome) -> str:
    if outcome.status is Status.SENT:
        return VERIFIED if outcome.verified else UNVERIFIED
    assert not outcome.verified
    assert isinstance(outcome.cause, S3Error)
    return FAILED


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("fault", FAULTS)
def test_outcome_of_a_small_file_sent_to_a_faulty_store(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]], fault: str, checksums: str
) -> None:
    FaultyStore(script, FAULTS[fault][0])
    (outcome,) = send([transfer_of(tmp_path / "file", b"some bytes")], checksums)
    assert name_of(outcome) == FAULTS[fault][1]


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("fault", FAULTS)
def test_outcome_of_a_large_file_sent_to_a_faulty_store(
    large: str, script: Script, send: Callable[..., list[Outcome]], fault: str, checksums: str
) -> None:
    FaultyStore(script, FAULTS[fault][0])
    transfer = FileTransfer(source=large, destination="s3://mybucket/key", size=len(LARGE))
    (outcome,) = send([transfer], checksums)
    assert name_of(outcome) == FAULTS[fault][2]


def several(tmp_path: Path, count: int = 5) -> list[FileTransfer]:
    first = transfer_of(tmp_path / "file", b"some bytes")
    return [replace(first, destination=f"s3://mybucket/{number}") for number in range(count)]


def test_one_object_is_read_back_where_etags_are_not_md5(
    tmp_path: Path,
    script: Script,
    send: Callable[..., list[Outcome]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    FaultyStore(script, Fault(etag=not_md5))
    with caplog.at_level(logging.WARNING, logger="nipype.interface"):
        names = [name_of(outcome) for outcome in send(several(tmp_path))]
    assert sorted(names) == [UNVERIFIED] * 4 + [VERIFIED]
    assert len(script.requests_of("GetObject")) == 1
    assert [record.getMessage().count("not the MD5") for record in caplog.records] == [1]


def test_checksums_verify_where_etags_are_not_md5(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]]
) -> None:
    FaultyStore(script, Fault(etag=not_md5, checksums=crc64_of_kept))
    assert {name_of(outcome) for outcome in send(several(tmp_path))} == {VERIFIED}
    assert len(script.requests_of("GetObject")) == 1


@pytest.mark.parametrize("refused", [DENIED, error_reply("InvalidObjectState")])
def test_reading_back_is_tried_once_where_it_is_denied(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]], refused: Reply
) -> None:
    FaultyStore(script, Fault(etag=not_md5, read=refused))
    assert {name_of(outcome) for outcome in send(several(tmp_path))} == {UNVERIFIED}
    assert len(script.requests_of("GetObject")) == 1


def test_a_checksum_mismatch_does_not_affect_other_files(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]]
) -> None:
    store = FaultyStore(script, Fault())
    transfers = several(tmp_path)

    def fault(request: Request) -> Reply | None:
        store.fault = Fault(keep=other_than) if request.path.endswith("/2") else Fault()
        return None

    script._rules.insert(0, ("PutObject", "", fault))
    script._rules.insert(0, ("GetObject", "", fault))
    names = [name_of(outcome) for outcome in send(transfers, limit=1)]
    assert names == [VERIFIED, VERIFIED, FAILED, VERIFIED, VERIFIED]


def test_a_head_response_without_a_length_is_accepted(
    large: str, script: Script, send: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    FaultyStore(script, Fault())
    head = BucketClient.head

    def without(self: BucketClient, key: str, **extra: Any) -> Any:
        return {k: v for k, v in head(self, key, **extra).items() if k != "ContentLength"}

    monkeypatch.setattr(BucketClient, "head", without)
    transfer = FileTransfer(source=large, destination="s3://mybucket/key", size=len(LARGE))
    assert name_of(send([transfer])[0]) == VERIFIED


@pytest.mark.parametrize("confirmed", [False, True])
def test_one_warning_if_the_store_does_not_confirm_encryption(
    confirmed: bool,
    script: Script,
    files: list[str],
    credentials: None,
    transfer_client: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def put(request: Request) -> Reply:
        encryption = {"x-amz-server-side-encryption": "AES256"} if confirmed else {}
        return Reply(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"', **encryption})

    script.rule("PutObject", put)
    sink = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=script.url,
        s3_transfer_client=transfer_client,
        encrypt_bucket_keys=True,
    )
    sink.inputs.x = files
    sink.run()
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    expected = "mybucket: this store does not confirm the encryption that was asked for (AES256)"
    assert warnings == ([] if confirmed else [expected])
