"""Stores with faults: what they keep of a file, and how they answer."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import md5
from io import BytesIO
from pathlib import Path
from typing import Any

from awscrt.checksums import crc64nvme
from botocore.exceptions import ClientError

from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.upload_response import UploadResponse
from tests.s3.scripted_store import COMPLETED, Reply, Request, Script, error_reply


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


LARGE = bytes(range(128)) * (PART_BYTES // 128) + b"x"


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


# Names that boto3 gives to the headers of a response.
FIELDS = {
    "ETag": "ETag",
    "x-amz-checksum-crc32": "ChecksumCRC32",
    "x-amz-checksum-crc64nvme": "ChecksumCRC64NVME",
    "x-amz-checksum-type": "ChecksumType",
    "x-amz-server-side-encryption": "ServerSideEncryption",
}


class FaultyStoreClient:
    """boto3's client for a store with a fault, without a network."""

    def __init__(self, fault: Fault) -> None:
        self.script = Script()
        self.store = FaultyStore(self.script, fault)

    def upload(self, transfer: FileTransfer) -> UploadResponse:
        """Send a file, in parts if it is large; return the response."""
        path = f"/mybucket/{transfer.key}"
        content = Path(transfer.source).read_bytes()
        if len(content) <= PART_BYTES:
            reply = self.script.reply(Request("PUT", path, "", {}, content))
            headers = {"content-length": str(len(reply.body))}
            return UploadResponse.from_put_object(fields_of(reply), headers, reply.status)
        for at in range(0, len(content), PART_BYTES):
            part = content[at : at + PART_BYTES]
            self.script.reply(Request("PUT", path, f"partNumber={at}&uploadId=u", {}, part))
        reply = self.script.reply(Request("POST", path, "uploadId=u", {}, b""))
        found = re.search("<ETag>(.*)</ETag>", reply.body)
        return UploadResponse.from_complete_multipart_upload({"ETag": found and found[1]})

    def head_object(self, *, Key: str, **_: Any) -> Mapping[str, Any]:  # noqa: N803 - boto3's name
        return self._response("HEAD", Key, "HeadObject")

    def get_object(self, *, Key: str, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        return self._response("GET", Key, "GetObject")

    def _response(self, method: str, key: str, operation: str) -> Mapping[str, Any]:
        reply = self.script.reply(Request(method, f"/mybucket/{key}", "", {}, b""))
        if reply.status >= 300:
            code = re.search("<Code>(.*)</Code>", reply.body if method == "GET" else "")
            error: Any = {"Code": code[1] if code else str(reply.status)}
            raise ClientError({"Error": error}, operation)
        body = reply.body.encode()
        return {"ContentLength": len(body), "Body": BytesIO(body), **fields_of(reply)}


def fields_of(reply: Reply) -> dict[str, str]:
    return {FIELDS[name]: value for name, value in reply.headers.items()}
