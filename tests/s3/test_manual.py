"""The user's manual of nipype's DataSink, sentence by sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Node, Workflow
from nipype.interfaces.utility import Function, IdentityInterface

from nipype_datasink import DataSink
from tests.conftest import contents, tree
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

ROOT_ACCOUNT = """\
AWSAccessKeyID=ABCDEFGHIJKLMNOP
AWSSecretKey=zyx123wvu456/ABC890+gHiJk
"""
IAM_USER = """\
User Name,Access Key Id,Secret Access Key
"username",ABCDEFGHIJKLMNOP,zyx123wvu456/ABC890+gHiJk
"""


@pytest.fixture
def ds(workdir: Path, bucket: Bucket, endpoint: str) -> DataSink:
    """A sink as in the manual, with one file to sink."""
    (workdir / "realigned_file1.nii.gz").write_bytes(b"image")
    ds = DataSink()
    ds.inputs.base_directory = "s3://mybucket/path/to/output/dir"
    ds.inputs.s3_endpoint_url = endpoint
    ds.inputs.motion = str(workdir / "realigned_file1.nii.gz")
    return ds


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The authorization headers of all requests."""
    from botocore.httpsession import URLLib3Session

    seen: set[str] = set()
    send = URLLib3Session.send

    def note(self: URLLib3Session, request: Any) -> Any:
        header = request.headers.get("Authorization", b"")
        seen.add(header if isinstance(header, str) else header.decode())
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", note)
    return seen


def test_a_base_directory_on_s3_names_bucket_and_folder(ds: DataSink, bucket: Bucket) -> None:
    key = "path/to/output/dir/motion/realigned_file1.nii.gz"
    assert ds.run().outputs.out_file == [f"s3://mybucket/{key}"]
    assert contents(bucket) == {key: b"image"}


def test_nothing_stays_on_disk_without_a_local_copy(ds: DataSink, workdir: Path) -> None:
    ds.run()
    assert list(tree(workdir)) == ["realigned_file1.nii.gz"]


def test_containers_substitutions_subfolders_and_dots_route_as_on_disk(
    ds: DataSink, workdir: Path, bucket: Bucket
) -> None:
    source = workdir / "_subject_id_sub001" / "_run_2" / "a_mc.par"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"par")
    ds.inputs.container = "sub001"
    ds.inputs.substitutions = [("_subject_id_sub001/", ""), ("_mc", "_motion")]
    ds.inputs.regexp_substitutions = [(r"_run_(\d)", r"run-\1")]
    setattr(ds.inputs, "motion.parameters", [str(source)])
    setattr(ds.inputs, "motion.@plain", str(source))
    setattr(ds.inputs, "@top", str(source))
    outputs = ds.run().outputs.out_file
    base = "path/to/output/dir/sub001/"
    names = ["motion/realigned_file1.nii.gz"] + [
        f"{folder}run-2/a_motion.par" for folder in ("motion/parameters/", "motion/", "")
    ]
    assert sorted(contents(bucket)) == sorted(base + name for name in names)
    ds.inputs.base_directory = str(workdir / "disk")
    on_disk = ds.run().outputs.out_file
    assert outputs == [
        item.replace(f"{workdir}/disk", "s3://mybucket/path/to/output/dir") for item in on_disk
    ]


@pytest.mark.parametrize("content", [ROOT_ACCOUNT, IAM_USER], ids=["root account", "IAM user"])
def test_every_request_is_signed_with_the_credentials_files_of_the_manual(
    ds: DataSink, workdir: Path, content: str, signatures: set[str], bucket: Bucket
) -> None:
    (workdir / "credentials.csv").write_text(content)
    ds.inputs.creds_path = str(workdir / "credentials.csv")
    ds.run()
    assert signatures
    assert all("Credential=ABCDEFGHIJKLMNOP/" in signature for signature in signatures)
    assert ds._return_aws_keys() == ("ABCDEFGHIJKLMNOP", "zyx123wvu456/ABC890+gHiJk")


def test_without_a_credentials_file_the_environment_is_used(
    ds: DataSink, signatures: set[str]
) -> None:
    ds.run()
    assert signatures
    assert all(f"Credential={ACCESS_KEY}/" in signature for signature in signatures)
    assert ds._return_aws_keys() == (ACCESS_KEY, SECRET_KEY)


@pytest.fixture
def mixed(ds: DataSink, workdir: Path) -> DataSink:
    """Two files, one of which is sent in parts."""
    (workdir / "large.nii").write_bytes(bytes(9 << 20))
    ds.inputs.motion = [ds.inputs._outputs["motion"], str(workdir / "large.nii")]
    return ds


def encryption(bucket: Bucket) -> list[str | None]:
    return [item.Object().server_side_encryption for item in bucket.objects.all()]


@pytest.mark.needs("AES256")
def test_encryption_is_aes_256_on_every_object(mixed: DataSink, bucket: Bucket) -> None:
    mixed.inputs.encrypt_bucket_keys = True
    mixed.run()
    assert encryption(bucket) == ["AES256", "AES256"]


def test_encryption_is_off_by_default(mixed: DataSink, bucket: Bucket) -> None:
    mixed.run()
    assert encryption(bucket) == [None, None]


@pytest.mark.needs("AES256")
def test_attributes_are_set_as_the_manual_sets_them(
    ds: DataSink, workdir: Path, bucket: Bucket, signatures: set[str]
) -> None:
    (workdir / "credentials.csv").write_text(IAM_USER)
    ds.creds_path = str(workdir / "credentials.csv")
    ds.encrypt_bucket_keys = True
    ds.local_copy = str(workdir / "local_backup")
    ds.run()
    assert all("Credential=ABCDEFGHIJKLMNOP/" in signature for signature in signatures)
    assert encryption(bucket) == ["AES256"]
    assert (workdir / "local_backup/motion/realigned_file1.nii.gz").read_bytes() == b"image"


def test_a_bucket_set_as_attribute_gets_the_files(ds: DataSink, bucket: Bucket) -> None:
    ds.inputs.base_directory = "s3://nosuchbucket/out"
    ds.bucket = bucket
    ds.run()
    assert list(contents(bucket)) == ["out/motion/realigned_file1.nii.gz"]


@pytest.mark.parametrize("name", ["creds_path", "encrypt_bucket_keys", "local_copy", "bucket"])
def test_attributes_and_inputs_are_one(name: str) -> None:
    ds = DataSink()
    value: Any = True if name == "encrypt_bucket_keys" else "value"
    setattr(ds, name, value)
    assert getattr(ds.inputs, name) == value
    other = DataSink()
    setattr(other.inputs, name, value)
    assert getattr(other, name) == value
    assert name not in other.inputs._outputs


@pytest.mark.parametrize("of_inputs", [True, False], ids=["ds.inputs.local_copy", "ds.local_copy"])
def test_a_local_copy_is_written_beside_the_one_on_s3(
    ds: DataSink, workdir: Path, bucket: Bucket, of_inputs: bool
) -> None:
    place = str(workdir / "local_backup")
    target = ds.inputs if of_inputs else ds
    target.local_copy = place
    assert ds.run().outputs.out_file == [
        "s3://mybucket/path/to/output/dir/motion/realigned_file1.nii.gz",
        f"{place}/motion/realigned_file1.nii.gz",
    ]
    assert len(contents(bucket)) == 1
    assert (workdir / "local_backup/motion/realigned_file1.nii.gz").read_bytes() == b"image"


def test_an_injected_bucket_replaces_the_named_one(
    ds: DataSink, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    ds.inputs.base_directory = "s3://nosuchbucket/path/to/output/dir"
    ds.inputs.bucket = bucket
    key = "path/to/output/dir/motion/realigned_file1.nii.gz"
    assert ds.run().outputs.out_file == [f"s3://mybucket/{key}"]
    assert contents(bucket) == {key: b"image"}


def realign(subject_id: str) -> list[str]:
    """Write a file as a realigner would."""
    from pathlib import Path

    path = Path("realigned_file1.nii.gz").absolute()
    path.write_text(subject_id)
    return [str(path)]


def test_a_workflow_sinks_where_the_manual_says(
    workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    inputnode = Node(IdentityInterface(fields=["subject_id"]), name="inputnode")
    inputnode.inputs.subject_id = "sub001"
    realigner = Node(
        Function(input_names=["subject_id"], output_names=["realigned_files"], function=realign),
        name="realigner",
    )
    ds = Node(DataSink(), name="datasink")
    ds.inputs.base_directory = "s3://mybucket/path/to/output/dir"
    ds.inputs.s3_endpoint_url = endpoint
    workflow = Workflow(name="workflow", base_dir=str(workdir))
    workflow.config["execution"]["crashdump_dir"] = str(workdir)
    workflow.connect(inputnode, "subject_id", realigner, "subject_id")
    workflow.connect(inputnode, "subject_id", ds, "container")
    workflow.connect(realigner, "realigned_files", ds, "motion")
    (done,) = [node for node in workflow.run().nodes() if node.name == "datasink"]
    key = "path/to/output/dir/sub001/motion/realigned_file1.nii.gz"
    assert contents(bucket) == {key: b"sub001"}
    assert done.result.outputs.out_file == [f"s3://mybucket/{key}"]
