"""What proves that a store holds a file, and stores that say what is not so."""

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
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.comparison import PART_SIZE, proofs
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.errors import CircuitBreaker
from nipype_datasink.s3.verification import Agreement, Answer, Verdict, judge, proves
from tests.s3.conftest import Count, transfer_of
from tests.s3.script import DONE, Reply, Request, Script, refusal

PROVED, SILENT = Verdict.PROVED, Verdict.SILENT
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
    if len(content) <= PART_SIZE:
        return f'"{kind(content).hexdigest()}"'
    parts = [content[at : at + PART_SIZE] for at in range(0, len(content), PART_SIZE)]
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
        ({}, SILENT),
        ({"ETag": "opaque"}, SILENT),
        ({"ETag": ABC}, PROVED),
        ({"ETag": ABC, "ServerSideEncryption": "AES256"}, PROVED),
        ({"ETag": ABC, "ServerSideEncryption": "aws:kms"}, SILENT),
        ({"ETag": OTHER, "ServerSideEncryption": "aws:kms"}, SILENT),
        ({"ETag": OTHER}, ETAG_DIFFERS),
        ({"ETag": f'"{"0" * 32}-1"'}, SILENT),
        ({"ChecksumSHA256": sha256(b"abc")}, PROVED),
        ({"ChecksumSHA256": sha256(b"abd")}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abc"), "ETag": OTHER}, ETAG_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abd"), "ETag": ABC}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abd"), "ETag": OTHER}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": crc64(b"abc"), "ChecksumSHA256": sha256(b"x")}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC32": crc32(b"abc")}, SILENT),
        ({"ChecksumCRC32": crc32(b"abc"), "ETag": ABC}, PROVED),
        ({"ChecksumCRC32": crc32(b"abd")}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC32": crc32(b"abd"), "ETag": ABC}, CHECKSUM_DIFFERS),
        ({"ChecksumCRC64NVME": "not base64"}, SILENT),
    ],
)
def test_an_answer_proves_denies_or_says_nothing(
    answer: dict[str, str], verdict: Verdict, abc: str
) -> None:
    assert judge(answer, abc, 3, agreement=Agreement()) is verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"ETag": OTHER}, SILENT),
        ({"ETag": ABC}, SILENT),
        ({"ETag": OTHER, "ChecksumCRC64NVME": crc64(b"abc")}, PROVED),
        ({"ETag": OTHER, "ChecksumCRC64NVME": crc64(b"abd")}, CHECKSUM_DIFFERS),
    ],
)
def test_etags_that_do_not_count_say_nothing(
    answer: dict[str, str], verdict: Verdict, abc: str
) -> None:
    assert judge(answer, abc, 3, agreement=Agreement(), etags=False) is verdict


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    digests=st.dictionaries(
        st.sampled_from(["ETag", "ChecksumCRC64NVME", "ChecksumSHA256", "ChecksumCRC32"]),
        st.booleans(),
    )
)
def test_one_wrong_digest_is_enough_against_any_number_of_right_ones(
    abc: str, digests: dict[str, bool]
) -> None:
    makers = {
        "ETag": etag,
        "ChecksumCRC64NVME": crc64,
        "ChecksumSHA256": sha256,
        "ChecksumCRC32": crc32,
    }
    answer = {name: makers[name](b"abc" if right else b"abd") for name, right in digests.items()}
    proved = judge(answer, abc, 3, agreement=Agreement()) is PROVED
    strong = any(right for name, right in digests.items() if name != "ChecksumCRC32")
    assert proved == (strong and all(digests.values()))
    assert proves(proofs(answer), abc) == proved


LARGE = bytes(range(128)) * (PART_SIZE // 128) + b"x"


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
        ({"ETag": etag(LARGE)}, PROVED),
        ({"ETag": f'"{"0" * 32}-2"'}, ETAG_DIFFERS),
        ({"ETag": f'"{"0" * 32}-3"'}, SILENT),
        ({"ETag": "opaque-2", "ChecksumSHA256": composite(LARGE)}, PROVED),
        ({"ETag": "opaque-2", "ChecksumSHA256": composite(LARGE[:-1] + b"y")}, CHECKSUM_DIFFERS),
        (
            {"ETag": etag(LARGE), "ChecksumCRC64NVME": crc64(b""), "ChecksumType": "FULL_OBJECT"},
            CHECKSUM_DIFFERS,
        ),
    ],
)
def test_an_answer_about_parts_is_judged_by_their_digests(
    answer: dict[str, str], verdict: Verdict, large: str
) -> None:
    assert judge(answer, large, len(LARGE), agreement=Agreement()) is verdict


def test_an_etag_of_other_parts_than_ours_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content := bytes(PART_SIZE))
    answer = {"ETag": f'"{"0" * 32}-1"'}
    verdict = judge(answer, str(tmp_path / "file"), len(content), agreement=Agreement())
    assert verdict is SILENT


def test_a_store_whose_two_digests_agreed_once_is_believed_by_one(large: str) -> None:
    agreement = Agreement()
    whole = {"ChecksumCRC64NVME": crc64(LARGE), "ChecksumType": "FULL_OBJECT"}
    other = {**whole, "ETag": f'"{"0" * 32}-2"'}
    assert judge(other, large, len(LARGE), agreement=agreement) is ETAG_DIFFERS
    assert judge({**whole, "ETag": etag(LARGE)}, large, len(LARGE), agreement=agreement) is PROVED
    assert judge(other, large, len(LARGE), agreement=agreement) is PROVED
    assert judge({"ETag": f'"{"0" * 32}-2"'}, large, len(LARGE), agreement=agreement) is (
        ETAG_DIFFERS
    )


def test_a_small_file_needs_both_digests_whatever_agreed_before(abc: str) -> None:
    agreement = Agreement()
    both = {"ETag": etag(b"abc"), "ChecksumCRC64NVME": crc64(b"abc")}
    assert judge(both, abc, 3, agreement=agreement) is PROVED
    repeated = {**both, "ETag": etag(b"xyz")}
    assert judge(repeated, abc, 3, agreement=agreement) is ETAG_DIFFERS


@pytest.mark.parametrize(
    ("fields", "headers", "status", "is_own"),
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
def test_an_answer_of_s3_has_an_etag_and_no_body(
    fields: dict[str, str], headers: dict[str, str], status: int, is_own: bool
) -> None:
    assert Answer.of_put(fields, headers, status).is_own is is_own


# Stores that lie.


def other_than(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What a store does with a file, and what it says of it."""

    keep: Callable[[bytes], bytes | None] = lambda content: content
    """What is there afterwards."""

    answer: str = ""
    """To the upload: ``empty``, ``page``, ``page with ETag``; otherwise as S3 does."""

    etag: Callable[[bytes, bytes], str] = lambda _sent, kept: etag(kept)
    checksums: Callable[[bytes, bytes], dict[str, str]] = lambda _sent, _kept: {}
    """Headers that tell checksums of the whole."""

    kms: bool = False
    head: Reply | None = None
    read: Reply | None = None
    """Instead of what is there."""


DENIED = refusal("AccessDenied")
TROUBLE = refusal("InternalError", 500)
PAGE = '<html lang="en">Sign in</html>'


def opaque(_sent: bytes, kept: bytes) -> str:
    return f'"opaque{(len(kept) > PART_SIZE and "-2") or ""}"'


def no_md5(_sent: bytes, kept: bytes) -> str:
    return f'"{"0" * 32}{(len(kept) > PART_SIZE and "-2") or ""}"'


def of_kept(_sent: bytes, kept: bytes) -> dict[str, str]:
    return {"x-amz-checksum-crc64nvme": crc64(kept), "x-amz-checksum-type": "FULL_OBJECT"}


def of_sent(sent: bytes, _kept: bytes) -> dict[str, str]:
    return of_kept(sent, sent)


def of_others(sent: bytes, _kept: bytes) -> dict[str, str]:
    return of_kept(sent, other_than(sent))


def crc32_of_sent(sent: bytes, _kept: bytes) -> dict[str, str]:
    return {"x-amz-checksum-crc32": crc32(sent), "x-amz-checksum-type": "FULL_OBJECT"}


def nothing(_: bytes) -> None:
    return None


def all_but_the_end(content: bytes) -> bytes:
    return content[: PART_SIZE if len(content) > PART_SIZE else -1]


VERIFIED, UNVERIFIED, FAILED = "verified", "sent, not verified", "failed"
LIES: dict[str, tuple[Lie, str, str]] = {
    # What it does: small files, files in parts.
    "none": (Lie(), VERIFIED, VERIFIED),
    "none, with checksums": (Lie(checksums=of_kept), VERIFIED, VERIFIED),
    "other bytes": (Lie(keep=other_than), FAILED, FAILED),
    "other bytes, ETag of ours": (
        Lie(keep=other_than, etag=lambda sent, _: etag(sent), checksums=of_kept),
        FAILED,
        FAILED,
    ),
    "other bytes, checksum of ours": (Lie(keep=other_than, checksums=of_sent), FAILED, FAILED),
    "other bytes, CRC32 of ours, ETag opaque": (
        Lie(keep=other_than, etag=opaque, checksums=crc32_of_sent),
        FAILED,
        FAILED,
    ),
    "other bytes, CRC32 of ours, ETag opaque, no reading": (
        Lie(keep=other_than, etag=opaque, checksums=crc32_of_sent, read=DENIED),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "other bytes, ETag opaque": (Lie(keep=other_than, etag=opaque), FAILED, FAILED),
    "other bytes, ETag no MD5": (Lie(keep=other_than, etag=no_md5), FAILED, FAILED),
    "other bytes, their checksum, no reading": (
        Lie(keep=other_than, etag=opaque, checksums=of_kept, read=DENIED),
        FAILED,
        FAILED,
    ),
    "right bytes, ETag no MD5": (Lie(etag=no_md5), VERIFIED, VERIFIED),
    "right bytes, ETag no MD5, checksum": (Lie(etag=no_md5, checksums=of_kept), VERIFIED, VERIFIED),
    "right bytes, ETag no MD5, no reading": (
        Lie(etag=no_md5, read=DENIED),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "right bytes, ETag no MD5, trouble with reading": (
        Lie(etag=no_md5, read=TROUBLE),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "right bytes, ETag opaque": (Lie(etag=opaque), VERIFIED, VERIFIED),
    "right bytes, ETag opaque, no reading": (
        Lie(etag=opaque, read=DENIED),
        UNVERIFIED,
        UNVERIFIED,
    ),
    "right bytes, KMS, checksum": (
        Lie(etag=no_md5, checksums=of_kept, kms=True, read=DENIED),
        VERIFIED,
        VERIFIED,
    ),
    "right bytes, wrong checksum": (Lie(checksums=of_others), VERIFIED, VERIFIED),
    "nothing, ETag opaque": (Lie(keep=nothing, etag=opaque), FAILED, FAILED),
    "nothing, ETag no MD5": (Lie(keep=nothing, etag=no_md5), FAILED, FAILED),
    "nothing, empty answer": (Lie(keep=nothing, answer="empty"), FAILED, FAILED),
    "nothing, a page": (Lie(keep=nothing, answer="page"), FAILED, FAILED),
    "nothing, a page with an ETag": (Lie(keep=nothing, answer="page with ETag"), FAILED, FAILED),
    "nothing, a page for everything": (
        Lie(keep=nothing, answer="page", head=Reply(body=PAGE), read=Reply(body=PAGE)),
        FAILED,
        FAILED,
    ),
    "nothing, empty answer, no looking": (
        Lie(keep=nothing, answer="empty", head=DENIED, read=DENIED),
        FAILED,
        FAILED,
    ),
    "an older object, empty answer": (Lie(keep=other_than, answer="empty"), FAILED, FAILED),
    "an older object, empty answer, ETag opaque": (
        Lie(keep=other_than, answer="empty", etag=opaque),
        FAILED,
        FAILED,
    ),
    "an older object, a page": (Lie(keep=other_than, answer="page"), FAILED, FAILED),
    "right bytes, empty answer": (Lie(answer="empty"), VERIFIED, VERIFIED),
    "right bytes, empty answer, ETag opaque": (
        Lie(answer="empty", etag=opaque),
        VERIFIED,
        VERIFIED,
    ),
    "right bytes, no looking": (Lie(head=DENIED), VERIFIED, UNVERIFIED),
    "right bytes, trouble with looking": (Lie(head=TROUBLE), VERIFIED, UNVERIFIED),
    "a part is lost": (Lie(keep=all_but_the_end), FAILED, FAILED),
    "a part is lost, ETag opaque": (Lie(keep=all_but_the_end, etag=opaque), FAILED, FAILED),
}


class Liar:
    """Keeps what it is sent, as far as a lie lets it."""

    def __init__(self, script: Script, lie: Lie) -> None:
        self.lie = lie
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
        return None if sent is None else self.lie.keep(sent)

    def _headers(self, path: str) -> dict[str, str]:
        sent, kept = self._sent[path], self.kept(path)
        headers = {
            "ETag": self.lie.etag(sent, kept or sent),
            **self.lie.checksums(sent, kept or sent),
        }
        if self.lie.kms:
            headers["x-amz-server-side-encryption"] = "aws:kms"
        return headers

    def _put(self, request: Request) -> Reply:
        self._sent[request.path] = request.body
        headers = self._headers(request.path)
        if self.lie.answer:
            body = "" if self.lie.answer == "empty" else PAGE
            headers = {"ETag": '"65f-267"'} if self.lie.answer == "page with ETag" else {}
            return Reply(body=body, headers=headers)
        return Reply(headers=headers)

    def _part(self, request: Request) -> None:
        self._parts.setdefault(request.path, {})[request.query] = request.body

    def _complete(self, request: Request) -> Reply:
        parts = self._parts[request.path]
        self._sent[request.path] = b"".join(parts[name] for name in sorted(parts))
        if self.lie.answer:
            return Reply(body="" if self.lie.answer == "empty" else PAGE)
        return Reply(body=DONE.replace('"opaque-2"', self._headers(request.path)["ETag"]))

    def _head(self, request: Request) -> Reply:
        return self.lie.head or self._object(request)

    def _read(self, request: Request) -> Reply:
        return self.lie.read or self._object(request)

    def _object(self, request: Request) -> Reply:
        kept = self.kept(request.path)
        if kept is None:
            return refusal("NoSuchKey", 404)
        return Reply(body=kept.decode(), headers=self._headers(request.path))


@pytest.fixture
def send(
    script: Script, credentials: None, monkeypatch: pytest.MonkeyPatch, transfer_client: str
) -> Callable[..., list[Outcome]]:
    """Sends files to the scripted store."""
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
@pytest.mark.parametrize("lie", LIES)
def test_a_small_file_is_told_as_what_it_is(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]], lie: str, checksums: str
) -> None:
    Liar(script, LIES[lie][0])
    (outcome,) = send([transfer_of(tmp_path / "file", b"some bytes")], checksums)
    assert name_of(outcome) == LIES[lie][1]


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("lie", LIES)
def test_a_file_in_parts_is_told_as_what_it_is(
    large: str, script: Script, send: Callable[..., list[Outcome]], lie: str, checksums: str
) -> None:
    Liar(script, LIES[lie][0])
    transfer = FileTransfer(source=large, destination="s3://mybucket/key", size=len(LARGE))
    (outcome,) = send([transfer], checksums)
    assert name_of(outcome) == LIES[lie][2]


def several(tmp_path: Path, count: int = 5) -> list[FileTransfer]:
    first = transfer_of(tmp_path / "file", b"some bytes")
    return [replace(first, destination=f"s3://mybucket/{number}") for number in range(count)]


def test_one_object_tells_what_the_etags_of_a_store_are_worth(
    tmp_path: Path,
    script: Script,
    send: Callable[..., list[Outcome]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    Liar(script, Lie(etag=no_md5))
    with caplog.at_level(logging.WARNING, logger="nipype.interface"):
        names = [name_of(outcome) for outcome in send(several(tmp_path))]
    assert sorted(names) == [UNVERIFIED] * 4 + [VERIFIED]
    assert len(script.asked("GetObject")) == 1
    assert [record.getMessage().count("not the MD5") for record in caplog.records] == [1]


def test_a_store_whose_etags_say_nothing_is_believed_by_its_checksums(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]]
) -> None:
    Liar(script, Lie(etag=no_md5, checksums=of_kept))
    assert {name_of(outcome) for outcome in send(several(tmp_path))} == {VERIFIED}
    assert len(script.asked("GetObject")) == 1


@pytest.mark.parametrize("refused", [DENIED, refusal("InvalidObjectState")])
def test_a_role_that_may_not_read_is_asked_once(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]], refused: Reply
) -> None:
    Liar(script, Lie(etag=no_md5, read=refused))
    assert {name_of(outcome) for outcome in send(several(tmp_path))} == {UNVERIFIED}
    assert len(script.asked("GetObject")) == 1


def test_other_bytes_make_nothing_of_other_files_worse(
    tmp_path: Path, script: Script, send: Callable[..., list[Outcome]]
) -> None:
    liar = Liar(script, Lie())
    transfers = several(tmp_path)

    def lie(request: Request) -> Reply | None:
        liar.lie = Lie(keep=other_than) if request.path.endswith("/2") else Lie()
        return None

    script._rules.insert(0, ("PutObject", "", lie))
    script._rules.insert(0, ("GetObject", "", lie))
    names = [name_of(outcome) for outcome in send(transfers, limit=1)]
    assert names == [VERIFIED, VERIFIED, FAILED, VERIFIED, VERIFIED]


def test_a_head_without_a_length_denies_nothing(
    large: str, script: Script, send: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Liar(script, Lie())
    head = BucketClient.head

    def without(self: BucketClient, key: str, **extra: Any) -> Any:
        return {k: v for k, v in head(self, key, **extra).items() if k != "ContentLength"}

    monkeypatch.setattr(BucketClient, "head", without)
    transfer = FileTransfer(source=large, destination="s3://mybucket/key", size=len(LARGE))
    assert name_of(send([transfer])[0]) == VERIFIED


@pytest.mark.parametrize("told", [False, True])
def test_an_encryption_that_is_not_confirmed_is_warned_of_once(
    told: bool,
    script: Script,
    files: list[str],
    credentials: None,
    transfer_client: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def put(request: Request) -> Reply:
        encryption = {"x-amz-server-side-encryption": "AES256"} if told else {}
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
    assert warnings == ([] if told else [expected])
