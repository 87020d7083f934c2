"""The benchmark: its server speaks S3, and wrong uploads are detected."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
import pytest

from benchmarks.certificate import Certificate, make_certificate
from benchmarks.correctness import check_copy, check_upload
from benchmarks.measurements import Measurement, summarise
from benchmarks.report import best_peer
from benchmarks.server import BUCKET, Server, running
from benchmarks.slow_disk import mounted, unavailable_reason
from benchmarks.sources import Sources
from tests.native import compile_null_server, compile_slow_disk
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

ROOT = Path(__file__).parents[1]
MIB = 1 << 20

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_null_server(tmp_path_factory.mktemp("nulls3"))


@pytest.fixture(scope="module")
def slow_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_slow_disk(tmp_path_factory.mktemp("slowdisk"))


@pytest.fixture
def server(program: Path) -> Iterator[Server]:
    with running(program) as started:
        yield started


@pytest.fixture
def client(server: Server) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )


def test_objects_keep_all_metadata_but_not_their_bytes(client: S3Client) -> None:
    put = client.put_object(
        Bucket=BUCKET, Key="a/é &+.txt", Body=b"hello", ServerSideEncryption="AES256"
    )

    head = client.head_object(Bucket=BUCKET, Key="a/é &+.txt", ChecksumMode="ENABLED")
    plain = client.head_object(Bucket=BUCKET, Key="a/é &+.txt")
    (listed,) = client.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert put["ETag"] == head["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert (head["ContentLength"], head["ServerSideEncryption"]) == (5, "AES256")
    assert put["ChecksumCRC32"] == head["ChecksumCRC32"]
    assert not plain.get("ChecksumCRC32")
    assert (listed["Key"], listed["Size"], listed["ETag"]) == ("a/é &+.txt", 5, put["ETag"])


def test_checksum_of_a_multipart_object_is_of_the_whole_object(client: S3Client) -> None:
    checksums = pytest.importorskip("awscrt.checksums")
    parts = [bytes([number]) * size for number, size in ((1, 5 * MIB), (2, 5 * MIB), (3, 77))]
    begun = client.create_multipart_upload(Bucket=BUCKET, Key="x")
    where: dict[str, Any] = {"Bucket": BUCKET, "Key": "x", "UploadId": begun["UploadId"]}
    for number, part in enumerate(parts, 1):
        client.upload_part(**where, PartNumber=number, Body=part, ChecksumAlgorithm="CRC64NVME")

    client.complete_multipart_upload(**where, MultipartUpload={"Parts": []})

    head = client.head_object(Bucket=BUCKET, Key="x", ChecksumMode="ENABLED")
    crc = checksums.crc64nvme(b"".join(parts)).to_bytes(8, "big")
    md5 = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert head["ChecksumCRC64NVME"] == base64.b64encode(crc).decode()
    assert (head["ETag"], head["ContentLength"]) == (f'"{md5}-3"', 10 * MIB + 77)
    first = client.head_object(Bucket=BUCKET, Key="x", PartNumber=1)
    assert first["ContentLength"] == 5 * MIB


def test_body_in_signed_chunks_is_decoded_and_its_trailer_kept(
    server: Server, client: S3Client
) -> None:
    body = (
        b"5;chunk-signature=0\r\nhello\r\n6;chunk-signature=0\r\n world\r\n0;chunk-signature=0\r\n"
        b"x-amz-checksum-crc32:DUoRhQ==\r\nx-amz-trailer-signature:0\r\n\r\n"
    )
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"}
    url = f"{server.endpoint}/{BUCKET}/chunks"
    with urlopen(Request(url, data=body, headers=headers, method="PUT")):
        pass

    head = client.head_object(Bucket=BUCKET, Key="chunks", ChecksumMode="ENABLED")
    assert head["ETag"] == f'"{hashlib.md5(b"hello world").hexdigest()}"'
    assert (head["ContentLength"], head["ChecksumCRC32"]) == (11, "DUoRhQ==")


def test_listings_are_paginated_in_byte_order(server: Server, client: S3Client) -> None:
    server.fill("m/", 1_500)
    for key in ("a", "m", "z/1", "z/2"):
        client.put_object(Bucket=BUCKET, Key=key)
    client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "z/1"}]})

    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET))
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    assert keys == ["a", "m", *(f"m/{number:06}" for number in range(1_500)), "z/2"]
    assert [page["KeyCount"] for page in pages] == [1_000, 503]
    after = client.list_objects_v2(Bucket=BUCKET, Prefix="m/", StartAfter="m/001497")
    assert [item["Key"] for item in after["Contents"]] == ["m/001498", "m/001499"]
    folders = client.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    assert [item["Key"] for item in folders["Contents"]] == ["a", "m"]
    assert [item["Prefix"] for item in folders["CommonPrefixes"]] == ["m/", "z/"]


def test_requests_are_counted(server: Server, client: S3Client) -> None:
    server.take_counts()
    client.put_object(Bucket=BUCKET, Key="x")
    client.list_objects_v2(Bucket=BUCKET)
    client.delete_object(Bucket=BUCKET, Key="x")

    assert server.take_counts() == {"PutObject": 1, "ListObjectsV2": 1, "DeleteObject": 1}
    assert server.take_counts() == {}


def test_round_trip_times_are_added_to_connections_and_responses(program: Path) -> None:
    with running(program, rtt=40) as server:
        connection = HTTPConnection(server.endpoint.removeprefix("http://"))
        usage = []
        for _ in range(2):
            begin = time.monotonic()
            connection.request("HEAD", f"/{BUCKET}")
            connection.getresponse().read()
            usage.append(time.monotonic() - begin)
        connection.close()

    assert usage[0] >= 0.08
    assert usage[1] >= 0.04


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.parametrize(
    ("version", "trips", "resumed_trips"),
    [(ssl.TLSVersion.TLSv1_3, 2, 2), (ssl.TLSVersion.TLSv1_2, 3, 2)],
    ids=["1.3", "1.2"],
)
def test_tls_costs_the_round_trips_of_its_handshake(
    program: Path,
    certificate: Certificate,
    version: ssl.TLSVersion,
    trips: int,
    resumed_trips: int,
) -> None:
    rtt = 40
    context = ssl.create_default_context(cafile=str(certificate.ca))
    context.minimum_version = context.maximum_version = version
    session, usage = None, []
    with running(program, rtt=rtt, certificate=certificate) as server:
        port = int(server.endpoint.rpartition(":")[2])
        for _ in range(2):
            begin = time.monotonic()
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as tls,
            ):
                connected = time.monotonic()
                tls.sendall(b"HEAD /bench HTTP/1.1\r\n\r\n")
                assert tls.recv(1 << 16).startswith(b"HTTP/1.1 200")
                usage.append((connected - begin, time.monotonic() - connected))
                assert tls.session_reused == (session is not None)
                session = tls.session

    for (connecting, answering), wanted in zip(usage, (trips, resumed_trips), strict=True):
        assert wanted * rtt / 1000 <= connecting
        assert rtt / 1000 <= answering


def test_files_arrive_over_tls_as_boto3_sends_them(
    program: Path, certificate: Certificate, tmp_path: Path
) -> None:
    (path := tmp_path / "file").write_bytes(b"x" * MIB + b"end")
    with running(program, certificate=certificate) as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            verify=server.ca,
        )
        client.upload_file(str(path), BUCKET, "file")  # in chunks of AWS, in chunks of HTTP
        client.put_object(Bucket=BUCKET, Key="again", Body=path.read_bytes())

        heads = [
            client.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
            for key in ("file", "again")
        ]
        assert server.take_counts() == {"PutObject": 2, "HeadObject": 2}
    assert {head["ETag"] for head in heads} == {f'"{hashlib.md5(path.read_bytes()).hexdigest()}"'}
    assert len({head["ChecksumCRC32"] for head in heads}) == 1


def test_requests_to_a_slow_disk_are_counted_and_wait(slow_disk: Path, tmp_path: Path) -> None:
    if reason := unavailable_reason(slow_disk):
        pytest.skip(reason)
    milliseconds = 40
    with mounted(slow_disk, tmp_path, milliseconds * 1000) as disk:
        disk.take_counts()
        begin = time.monotonic()
        (disk.mount / "a").write_bytes(b"x")
        written = time.monotonic() - begin
        counts = disk.take_counts()
        (disk.mount / "a").rename(disk.mount / "b")
        (disk.mount / "folder").mkdir()

        assert counts.pop("getattr") >= 1  # of the mount point, too, if nobody has looked at it
        assert counts == {"create": 1, "write": 1, "flush": 1}
        assert written >= 3 * milliseconds / 1000  # no such name, create, flush
        assert disk.take_counts()["rename"] == 1
        assert disk.take_counts() == {}
        assert (disk.real / "b").read_bytes() == b"x"
    assert not os.path.ismount(disk.mount)


@pytest.mark.parametrize("wrong", ["missing", "more", "size", "bytes"])
def test_wrong_upload_ends_the_benchmark(wrong: str, client: S3Client, tmp_path: Path) -> None:
    source = Sources(2, 3).make(tmp_path)
    for path in source.iterdir():
        client.upload_file(str(path), BUCKET, f"right/{path.name}")
    check_upload(client, source, "right")

    first = min(source.iterdir())
    bodies = {"size": b"four", "bytes": b"???", "more": first.read_bytes()}
    if wrong == "missing":
        client.delete_object(Bucket=BUCKET, Key=f"right/{first.name}")
    else:
        key = "right/more" if wrong == "more" else f"right/{first.name}"
        client.put_object(Bucket=BUCKET, Key=key, Body=bodies[wrong])

    with pytest.raises(SystemExit, match="WRONG"):
        check_upload(client, source, "right")


def test_wrong_copy_ends_the_benchmark(tmp_path: Path) -> None:
    source = Sources(2, 3).make(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    check_copy(source, copy)

    min(copy.iterdir()).write_bytes(b"???")

    with pytest.raises(SystemExit, match="WRONG"):
        check_copy(source, copy)


def test_summary_has_medians_and_best_peer_is_neither_nipype_nor_this_library() -> None:
    times = {"nipype": [9.0, 1.0, 8.0], "crt": [1.0], "s5cmd": [4.0, 2.0], "rclone": [5.0]}
    measurements = [
        Measurement(row="x", tool=tool, seconds=seconds, cpu=1, memory=seconds)
        for tool, runs_of_tool in times.items()
        for seconds in runs_of_tool
    ]

    summaries = summarise(measurements)["x"]

    assert [one.seconds for one in summaries.values()] == [8.0, 1.0, 3.0, 5.0]
    assert summaries["nipype"].range == (1.0, 9.0)
    assert summaries["nipype"].memory == 9.0
    assert best_peer(summaries) == 3.0
    assert best_peer({"nipype": summaries["nipype"], "crt": summaries["crt"]}) is None
