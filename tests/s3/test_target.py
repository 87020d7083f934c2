"""What a sink writes to a bucket, and with how few requests."""

from __future__ import annotations

import hashlib
import os
import signal
import time
import tracemalloc
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from boto3.s3.transfer import TransferConfig

from nipype_datasink import DataSink, DestinationError, S3Error, Status
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.s3.comparison import PART_BYTES
from tests.conftest import RecordedProgress, contents, tree
from tests.s3.conftest import Answer, response
from tests.s3.scripted_store import ConcurrentRequests, Reply, Request, Script

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

SENDING = ("PutObject", "CreateMultipartUpload", "UploadPart", "DeleteObjects")


def sendings(requests: Counter[str]) -> dict[str, int]:
    return {name: requests[name] for name in SENDING if requests[name]}


def send_as_one_part(bucket: Bucket, key: str, content: bytes) -> None:
    client = bucket.meta.client
    place: Any = {"Bucket": bucket.name, "Key": key}
    upload = {**place, "UploadId": client.create_multipart_upload(**place)["UploadId"]}
    part = client.upload_part(PartNumber=1, Body=content, **upload)
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(MultipartUpload=parts, **upload)


def folder(top: Path, **names: str) -> str:
    for name, content in names.items():
        path = top / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(top)


@pytest.fixture
def large(workdir: Path) -> Path:
    """A file that is sent in three parts."""
    path = workdir / "large.nii"
    path.write_bytes(b"".join(bytes([number]) * (1 << 20) for number in range(17)))
    return path


# Reruns.


def test_a_rerun_sends_nothing_and_lists_once(
    sink: DataSink, files: list[str], requests: Counter[str]
) -> None:
    sink.inputs.motion = files
    first = sink.run().outputs.out_file
    assert sendings(requests) == {"PutObject": 3}
    requests.clear()
    assert sink.run().outputs.out_file == first
    assert requests == {"ListObjectsV2": 1}


def test_a_rerun_recognises_parts(sink: DataSink, large: Path, requests: Counter[str]) -> None:
    sink.inputs.bold = str(large)
    sink.run()
    assert sendings(requests)
    requests.clear()
    sink.run()
    assert requests == {"ListObjectsV2": 1, "HeadObject": 1}


def test_one_changed_byte_sends_that_file_only(
    sink: DataSink, files: list[str], bucket: Bucket, requests: Counter[str]
) -> None:
    sink.inputs.motion = files
    sink.run()
    Path(files[1]).write_text("B.txt")
    requests.clear()
    sink.run()
    assert sendings(requests) == {"PutObject": 1}
    assert contents(bucket)["out/motion/b.txt"] == b"B.txt"


def test_one_changed_byte_in_the_last_part_is_noticed(
    sink: DataSink, large: Path, bucket: Bucket
) -> None:
    sink.inputs.bold = str(large)
    sink.run()
    changed = large.read_bytes()[:-1] + b"!"
    large.write_bytes(changed)
    sink.run()
    assert contents(bucket)["out/bold/large.nii"] == changed


@pytest.mark.needs("part sizes")
@pytest.mark.parametrize("part_size", [5 << 20, 16 << 20], ids=["5 MiB", "16 MiB"])
def test_parts_of_another_size_are_recognised(
    sink: DataSink, large: Path, bucket: Bucket, requests: Counter[str], part_size: int
) -> None:
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_threshold=part_size, multipart_chunksize=part_size)
    bucket.upload_file(str(large), "out/bold/large.nii", Config=config)
    requests.clear()
    sink.inputs.bold = str(large)
    sink.run()
    assert sendings(requests) == {}


def test_a_large_object_sent_whole_is_recognised(
    sink: DataSink, large: Path, bucket: Bucket, requests: Counter[str]
) -> None:
    bucket.put_object(Key="out/bold/large.nii", Body=large.read_bytes())
    requests.clear()
    sink.inputs.bold = str(large)
    sink.run()
    assert sendings(requests) == {}


def test_a_small_object_sent_in_parts_is_recognised(
    sink: DataSink, files: list[str], bucket: Bucket, requests: Counter[str]
) -> None:
    send_as_one_part(bucket, "out/motion/a.txt", b"a.txt")
    requests.clear()
    sink.inputs.motion = files[0]
    sink.run()
    assert sendings(requests) == {}


def test_a_first_part_of_reported_size_zero_proves_nothing(
    sink: DataSink, large: Path, lone_bucket: Bucket, requests: Counter[str]
) -> None:
    def say_empty(request: Any, **_: object) -> Any:
        return response(request.url, Content_Length="0") if "partNumber" in request.url else None

    config = TransferConfig(multipart_chunksize=9 << 20)
    lone_bucket.upload_file(str(large), "out/bold/large.nii", Config=config)
    lone_bucket.meta.client.meta.events.register("before-send.s3.HeadObject", say_empty)
    requests.clear()
    sink.inputs.bucket = lone_bucket
    sink.inputs.bold = str(large)
    sink.run()
    assert sendings(requests)["UploadPart"] == 3


def test_an_empty_object_of_one_part_does_not_disturb_other_files(
    sink: DataSink, files: list[str], bucket: Bucket, requests: Counter[str]
) -> None:
    send_as_one_part(bucket, "out/motion/a.txt", b"")
    Path(files[0]).write_bytes(b"")
    sink.inputs.motion = files
    sink.run()
    assert contents(bucket) == {
        "out/motion/a.txt": b"",
        "out/motion/b.txt": b"b.txt",
        "out/motion/c.txt": b"c.txt",
    }


def test_a_large_file_is_recognised_without_permission_for_head(
    sink: DataSink, large: Path, lone_bucket: Bucket, answer: Answer, requests: Counter[str]
) -> None:
    config = TransferConfig(multipart_chunksize=PART_BYTES)
    lone_bucket.upload_file(str(large), "out/bold/large.nii", Config=config)
    answer("HeadObject", 403, "AccessDenied")
    requests.clear()
    sink.inputs.bucket = lone_bucket
    sink.inputs.bold = str(large)
    sink.run()
    assert sendings(requests) == {}


def test_everything_is_sent_without_permission_to_list_or_read(
    sink: DataSink, files: list[str], lone_bucket: Bucket, answer: Answer, requests: Counter[str]
) -> None:
    answer("ListObjectsV2", 403, "AccessDenied")
    answer("HeadObject", 403, "AccessDenied")
    sink.inputs.bucket = lone_bucket
    sink.inputs.motion = files
    for _ in range(2):
        requests.clear()
        assert len(sink.run().outputs.out_file) == 3
        assert sendings(requests) == {"PutObject": 3}


# Encryption and other arguments.


@pytest.mark.needs("AES256")
def test_an_object_without_encryption_is_sent_again(
    sink: DataSink, files: list[str], bucket: Bucket, requests: Counter[str]
) -> None:
    sink.inputs.motion = files
    bucket.put_object(Key="out/motion/a.txt", Body=b"a.txt", ServerSideEncryption="AES256")
    bucket.put_object(Key="out/motion/b.txt", Body=b"b.txt")
    sink.inputs.encrypt_bucket_keys = True
    requests.clear()
    sink.run()
    assert sendings(requests) == {"PutObject": 2}
    assert requests["HeadObject"] == 2
    encryption = {item.key: item.Object().server_side_encryption for item in bucket.objects.all()}
    assert set(encryption.values()) == {"AES256"}
    requests.clear()
    sink.run()
    assert sendings(requests) == {}


@pytest.mark.needs("KMS")
def test_an_object_encrypted_with_kms_is_recognised_by_its_checksum(
    sink: DataSink, files: list[str], bucket: Bucket, requests: Counter[str]
) -> None:
    sink.inputs.s3_upload_args = {"ServerSideEncryption": "aws:kms", "ChecksumAlgorithm": "SHA256"}
    sink.inputs.motion = files
    sink.run()
    assert bucket.Object("out/motion/a.txt").server_side_encryption == "aws:kms"
    Path(files[1]).write_text("B.txt")
    requests.clear()
    sink.run()
    assert sendings(requests) == {"PutObject": 1}


@pytest.mark.needs("KMS")
def test_objects_of_a_bucket_with_default_kms_encryption_are_recognised(
    sink: DataSink, files: list[str], lone_bucket: Bucket, requests: Counter[str]
) -> None:
    def hide(parsed: dict[str, Any], model: Any, **_: object) -> None:
        for item in parsed.get("Contents", [parsed]):
            item["ETag"] = '"0123456789abcdef0123456789abcdef"'
        if model.name == "PutObject":
            parsed["ServerSideEncryption"] = "aws:kms"

    lone_bucket.meta.client.meta.events.register("after-call.s3", hide)
    for name in ("a.txt", "b.txt"):
        lone_bucket.put_object(
            Key=f"out/motion/{name}",
            Body=b"a.txt",
            ServerSideEncryption="aws:kms",
            ChecksumAlgorithm="SHA256",
        )
    sink.inputs.bucket = lone_bucket
    sink.inputs.motion = files[:2]
    requests.clear()
    sink.run()
    assert sendings(requests) == {"PutObject": 1}


@pytest.mark.needs("KMS")
def test_s3_upload_args_win_over_encrypt_bucket_keys(
    sink: DataSink, files: list[str], bucket: Bucket
) -> None:
    sink.inputs.encrypt_bucket_keys = True
    sink.inputs.s3_upload_args = {"ServerSideEncryption": "aws:kms"}
    sink.inputs.motion = files[0]
    sink.run()
    assert bucket.Object("out/motion/a.txt").server_side_encryption == "aws:kms"


@pytest.mark.needs("storage classes")
def test_s3_upload_args_apply_to_every_object(
    sink: DataSink, files: list[str], large: Path, bucket: Bucket
) -> None:
    sink.inputs.s3_upload_args = {
        "StorageClass": "STANDARD_IA",
        "Metadata": {"study": "x"},
        "ContentType": "application/x-nifti",
        "Tagging": "keep=no",
    }
    sink.inputs.bold = [files[0], str(large)]
    sink.run()
    for key in ("out/bold/a.txt", "out/bold/large.nii"):
        item = bucket.Object(key)
        assert item.storage_class == "STANDARD_IA"
        assert item.metadata == {"study": "x"}
        assert item.content_type == "application/x-nifti"
        tags = bucket.meta.client.get_object_tagging(Bucket=bucket.name, Key=key)["TagSet"]
        assert tags == [{"Key": "keep", "Value": "no"}]


@pytest.mark.needs("AES256")
def test_every_request_carries_request_payer(
    sink: DataSink, files: list[str], lone_bucket: Bucket, workdir: Path
) -> None:
    payers = set()

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        payers.add((model.name, params.get("RequestPayer")))

    lone_bucket.put_object(Key="out/d/in/old")
    lone_bucket.meta.client.meta.events.register("provide-client-params.s3", note)
    sink.inputs.bucket = lone_bucket
    sink.inputs.encrypt_bucket_keys = True
    sink.inputs.remove_dest_dir = True
    sink.inputs.s3_upload_args = {"RequestPayer": "requester"}
    sink.inputs.d = str(Path(files[0]).parent)
    sink.run()
    sink.run()
    assert payers == {
        (name, "requester")
        for name in ("ListObjectsV2", "HeadObject", "PutObject", "DeleteObjects")
    }


# Keys.


def test_empty_files_are_objects(sink: DataSink, workdir: Path, bucket: Bucket) -> None:
    (workdir / "empty").touch()
    sink.inputs.motion = "empty"
    assert sink.run().outputs.out_file == ["s3://mybucket/out/motion/empty"]
    assert contents(bucket) == {"out/motion/empty": b""}


def test_the_keys_equal_the_tree_of_a_local_copy(
    sink: DataSink, workdir: Path, bucket: Bucket
) -> None:
    top = Path(folder(workdir / "d", a="1", sub__b="2", sub__deep__c="3"))
    Path(folder(workdir / "elsewhere", x="4"))
    (top / "link").symlink_to(workdir / "elsewhere")
    (top / "file_link").symlink_to(workdir / "elsewhere" / "x")
    (top / "empty").mkdir()
    for name in ("m.img", "m.hdr", "m.mat", "n.nii", "n.mat", "o.BRIK", "o.HEAD"):
        (workdir / name).write_text(name)
    sink.inputs.qa = str(top)
    setattr(sink.inputs, "mean.@img", ["m.img", "n.nii", "o.BRIK"])
    sink.inputs.local_copy = str(workdir / "copy")
    outputs = sink.run().outputs.out_file
    on_disk = {name: data for name, data in tree(workdir / "copy").items() if data is not None}
    assert contents(bucket) == {f"out/{name}": data for name, data in on_disk.items()}
    assert len(on_disk) == 12
    assert outputs[0::2] == [
        "s3://mybucket/out/qa/d",
        "s3://mybucket/out/mean/m.img",
        "s3://mybucket/out/mean/n.nii",
        "s3://mybucket/out/mean/o.BRIK",
    ]
    assert outputs[1::2] == [
        item.replace("s3://mybucket/out", str(workdir / "copy")) for item in outputs[0::2]
    ]


def test_an_empty_directory_is_reported_without_an_object(
    sink: DataSink, workdir: Path, bucket: Bucket
) -> None:
    (workdir / "d").mkdir()
    sink.inputs.qa = "d"
    assert sink.run().outputs.out_file == ["s3://mybucket/out/qa/d"]
    assert contents(bucket) == {}


@pytest.mark.parametrize(
    "base", ["s3://mybucket", "s3://mybucket/", "S3://mybucket//x/./y/../", "s3://mybucket/a b/ü+%"]
)
def test_a_base_directory_may_be_written_in_many_ways(
    sink: DataSink, files: list[str], bucket: Bucket, base: str
) -> None:
    prefix = {"S3://mybucket//x/./y/../": "x/", "s3://mybucket/a b/ü+%": "a b/ü+%/"}.get(base, "")
    sink.inputs.base_directory = base
    sink.inputs.motion = files[0]
    assert sink.run().outputs.out_file == [f"s3://mybucket/{prefix}motion/a.txt"]
    assert list(contents(bucket)) == [f"{prefix}motion/a.txt"]


def test_paths_that_repeat_a_name_give_correct_keys(
    sink: DataSink, workdir: Path, bucket: Bucket
) -> None:
    folder(workdir / "d" / "d", d__x="1", x="2")
    sink.inputs.base_directory = "s3://mybucket/s3://mybucket/out"
    sink.inputs.d = str(workdir / "d" / "d")
    sink.run()
    assert contents(bucket) == {"s3:/mybucket/out/d/d/d/x": b"1", "s3:/mybucket/out/d/d/x": b"2"}


def test_an_injected_bucket_with_another_name_gets_the_files(
    sink: DataSink, files: list[str], bucket: Bucket
) -> None:
    sink.inputs.base_directory = "s3://elsewhere/out"
    sink.inputs.s3_transfer_client = "auto"
    sink.inputs.bucket = bucket
    sink.inputs.substitutions = [("s3://elsewhere/out/motion", "s3://elsewhere/out/m")]
    sink.inputs.motion = files[0]
    assert sink.run().outputs.out_file == ["s3://mybucket/out/m/a.txt"]
    assert list(contents(bucket)) == ["out/m/a.txt"]


def test_many_files_arrive_with_concurrent_requests(
    sink: DataSink, workdir: Path, bucket: Bucket
) -> None:
    names = {f"f{number:03}": str(number) for number in range(60)}
    sink.inputs.d = folder(workdir / "d", **names)
    sink.inputs.s3_max_concurrency = 8
    sink.run()
    assert contents(bucket) == {f"out/d/d/{name}": text.encode() for name, text in names.items()}


@pytest.mark.slow
def test_memory_is_bounded(sink: DataSink, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.httpsession import URLLib3Session

    def swallow(self: URLLib3Session, request: Any) -> Any:
        body = ""
        if "uploads" in request.url:
            body = "<Result><UploadId>1</UploadId></Result>"
        elif "list-type" in request.url:
            body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        elif request.method == "POST":
            body = '<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>'
        elif request.method == "GET":
            body = "<Error><Code>AccessDenied</Code></Error>"
            return response(request.url, body, status=403)
        elif request.method == "PUT":
            while request.body.read(1 << 20):
                pass
        return response(request.url, body, ETag='"opaque"', Content_Length=str(200 << 20))

    with (workdir / "large").open("wb") as file:
        file.truncate(200 << 20)
    sink.inputs.bold = "large"
    with monkeypatch.context() as patch:
        patch.setattr(URLLib3Session, "send", swallow)
        tracemalloc.start()
        try:
            sink.run()
            assert tracemalloc.get_traced_memory()[1] < 120 << 20
        finally:
            tracemalloc.stop()


def test_files_and_bytes_are_counted_in_each_phase(
    sink: DataSink, bucket: Bucket, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.inputs.x = folder(workdir / "d", same="12", changed="34")
    sink.run()
    bucket.put_object(Key="out/x/d/old", Body=b"")
    folder(workdir / "d", changed="567", new="8", empty="")
    sink.inputs.remove_dest_dir = True
    sink.inputs.sink_manifest_dir = str(workdir / "manifests")
    progress = RecordedProgress()
    monkeypatch.setattr("nipype_datasink.interface.shown_progress", lambda: nullcontext(progress))
    sink.run()
    phases = [(each.phase, each.state(0).done) for each in progress.phases]
    assert phases[: phases.index((Phase.HASHING, Amount(files=4, size=6))) + 1] == [
        (Phase.PLANNING, Amount()),
        (Phase.LISTING, Amount()),
        (Phase.COMPARING, Amount(files=1, size=2)),
        (Phase.SENDING, Amount(files=3, size=4)),
        (Phase.VERIFYING, Amount()),
        (Phase.REMOVING, Amount(files=1)),
        (Phase.HASHING, Amount(files=4, size=6)),
    ]
    assert [each.state(0).total for each in progress.phases[2:4]] == [
        Amount(files=1, size=2),
        Amount(files=3, size=4),
    ]


# Deletion (remove_dest_dir).


@pytest.fixture
def replacing(sink: DataSink, workdir: Path, bucket: Bucket) -> DataSink:
    """A sink of a folder to a prefix that has old objects, and neighbours."""
    for key in ("out/d/d/old", "out/d/d/sub/old", "out/d/dX/keep", "out/d/keep"):
        bucket.put_object(Key=key, Body=b"old")
    sink.inputs.d = folder(workdir / "d", new="1", sub__new="2")
    sink.inputs.remove_dest_dir = True
    return sink


NEIGHBOURS = {"out/d/dX/keep", "out/d/keep"}


def test_an_object_with_the_name_of_the_folder_stays(replacing: DataSink, bucket: Bucket) -> None:
    bucket.put_object(Key="out/d/d", Body=b"old")
    replacing.run()
    assert set(contents(bucket)) == {"out/d/d", "out/d/d/new", "out/d/d/sub/new"} | NEIGHBOURS


def test_only_what_is_below_the_folder_is_deleted(replacing: DataSink, bucket: Bucket) -> None:
    replacing.run()
    assert set(contents(bucket)) == {"out/d/d/new", "out/d/d/sub/new", *NEIGHBOURS}


def test_nothing_is_deleted_without_remove_dest_dir(replacing: DataSink, bucket: Bucket) -> None:
    replacing.inputs.remove_dest_dir = False
    replacing.run()
    assert {"out/d/d/old", "out/d/d/sub/old"} < set(contents(bucket))


def test_single_files_delete_nothing(replacing: DataSink, files: list[str], bucket: Bucket) -> None:
    replacing.inputs.d = files
    replacing.run()
    assert {"out/d/d/old", "out/d/d/sub/old"} < set(contents(bucket))


def test_an_empty_folder_clears_its_prefix(
    replacing: DataSink, workdir: Path, bucket: Bucket
) -> None:
    (workdir / "empty" / "d").mkdir(parents=True)
    replacing.inputs.d = str(workdir / "empty" / "d")
    replacing.run()
    assert set(contents(bucket)) == NEIGHBOURS


def test_what_another_input_delivers_is_not_deleted(
    replacing: DataSink, files: list[str], bucket: Bucket
) -> None:
    setattr(replacing.inputs, "d.d.@more", files[0])
    replacing.run()
    assert contents(bucket)["out/d/d/a.txt"] == b"a.txt"
    assert "out/d/d/old" not in contents(bucket)


def test_many_are_deleted_in_batches(
    replacing: DataSink,
    lone_bucket: Bucket,
    requests: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nipype_datasink.s3.deletion._MAX_OBJECTS_PER_REQUEST", 1)
    replacing.run()
    assert requests["DeleteObjects"] == 2
    assert "out/d/d/sub/old" not in contents(lone_bucket)


def test_nothing_is_deleted_after_a_failure(
    replacing: DataSink, lone_bucket: Bucket, answer: Answer
) -> None:
    answer("PutObject", 403, "AccessDenied", ending="/sub/new")
    replacing.inputs.bucket = lone_bucket
    with pytest.raises(S3Error):
        replacing.run()
    assert {"out/d/d/old", "out/d/d/sub/old"} < set(contents(lone_bucket))


def test_without_permission_to_list_a_folder_is_not_cleared_and_nothing_is_sent(
    replacing: DataSink, lone_bucket: Bucket, answer: Answer, requests: Counter[str]
) -> None:
    answer("ListObjectsV2", 403, "AccessDenied")
    replacing.inputs.bucket = lone_bucket
    with pytest.raises(S3Error, match=r"\n  \d files?: \d not tried\n"):
        replacing.run()
    assert sendings(requests) == {}


def test_objects_that_cannot_be_deleted_are_named(replacing: DataSink, lone_bucket: Bucket) -> None:
    def refuse(parsed: dict[str, Any], **_: object) -> None:
        parsed["Errors"] = [{"Key": "out/d/d/old", "Code": "AccessDenied", "Message": "Locked."}]

    lone_bucket.meta.client.meta.events.register("after-call.s3.DeleteObjects", refuse)
    replacing.inputs.bucket = lone_bucket
    with pytest.raises(S3Error, match=r"(?s)Locked.*failed: s3://mybucket/out/d/d/old") as caught:
        replacing.run()
    failed = [item for item in caught.value.outcomes if item.status is Status.FAILED]
    assert len(failed) == 1


@pytest.mark.parametrize("base", ["s3://mybucket", "s3://mybucket/out"], ids=["bucket", "base"])
def test_the_base_is_never_cleared(
    replacing: DataSink, bucket: Bucket, requests: Counter[str], base: str
) -> None:
    replacing.inputs.base_directory = base
    replacing.inputs.regexp_substitutions = [("/d/d$", "")]
    before = set(contents(bucket))
    requests.clear()
    with pytest.raises(DestinationError):
        replacing.run()
    assert requests == {}
    assert set(contents(bucket)) == before


def test_a_rerun_of_a_cleared_folder_sends_and_deletes_nothing(
    replacing: DataSink, requests: Counter[str]
) -> None:
    replacing.run()
    requests.clear()
    replacing.run()
    assert sendings(requests) == {}


def test_an_unverified_object_is_logged(
    sink: DataSink,
    files: list[str],
    lone_bucket: Bucket,
    answer: Answer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer("GetObject", 403, "AccessDenied", ending="/a.txt")

    def hide(parsed: dict[str, Any], **_: object) -> None:
        parsed["ETag"] = '"opaque"'

    lone_bucket.meta.client.meta.events.register("after-call.s3.PutObject", hide)
    sink.inputs.bucket = lone_bucket
    sink.inputs.motion = files[0]
    sink.run()
    assert "s3://mybucket/out/motion/a.txt: sent, not verified" in caplog.text


def test_parts_have_the_size_that_a_rerun_expects(
    sink: DataSink, large: Path, bucket: Bucket
) -> None:
    sink.inputs.bold = str(large)
    sink.run()
    content = large.read_bytes()
    parts = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert bucket.Object("out/bold/large.nii").e_tag == f'"{digest}-3"'


# Limits.


def test_concurrent_requests_are_limited_by_free_descriptors(
    script: Script,
    workdir: Path,
    credentials: None,
    transfer_client: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nipype_datasink.s3.target.reserved_requests", lambda _: nullcontext(2))
    concurrent = ConcurrentRequests(script)
    sink = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=script.url,
        s3_transfer_client=transfer_client,
    )
    sink.inputs.x = folder(workdir / "in", **{f"f{number}": "x" for number in range(20)})
    sink.run()
    assert concurrent.maximum == 2


@pytest.mark.parametrize("operation", ["ListObjectsV2", "HeadObject", "PutObject"])
def test_a_time_limit_ends_a_run_during_a_request(
    operation: str, script: Script, files: list[str], credentials: None, transfer_client: str
) -> None:
    def too_late(*_: object) -> None:
        raise TimeoutError("too late")

    def hang(_: Request) -> None:
        os.kill(os.getpid(), signal.SIGALRM)
        time.sleep(1)

    script.rule(operation, hang, ending="" if operation == "ListObjectsV2" else "a.txt")
    script.answer("ListObjectsV2", Reply(body=listing(files)))
    sink = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=script.url,
        s3_transfer_client=transfer_client,
        encrypt_bucket_keys=operation == "HeadObject",
    )
    sink.inputs.x = files
    before = signal.signal(signal.SIGALRM, too_late)
    try:
        with pytest.raises(TimeoutError, match="too late"):
            sink.run()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(script.requests_of(operation)) <= len(files)


def listing(files: list[str]) -> str:
    """Return a listing of objects of the sizes of these files, so that each is compared."""
    items = "".join(
        f"<Contents><Key>x/{Path(path).name}</Key><Size>{os.path.getsize(path)}</Size></Contents>"
        for path in files
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
