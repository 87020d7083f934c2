"""Buckets that users inject are copied, pickled and hashed, in this process and in others."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.handlers import disable_signing
from nipype import JoinNode, Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from nipype_datasink import CredentialsError, DataSink
from nipype_datasink.parallel import parallel_map
from nipype_datasink.s3 import pickling
from nipype_datasink.s3.pickling import BucketReference, reference_to, unpickle_bucket
from tests.conftest import contents, in_child
from tests.forks import RunPython
from tests.s3.fakes import Fake
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


@pytest.fixture
def injected(bucket: Bucket, files: list[str]) -> DataSink:
    """A sink of one file with a bucket of boto3."""
    sink = DataSink(base_directory="s3://mybucket/out", bucket=bucket)
    sink.inputs.motion = files[0]
    return sink


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda sink: pickle.loads(pickle.dumps(sink))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_in_this_process_has_the_same_bucket(
    injected: DataSink, bucket: Bucket, twin: Callable[[DataSink], DataSink]
) -> None:
    other = twin(injected)
    assert other.inputs.bucket is bucket
    other.run()
    assert list(contents(bucket)) == ["out/motion/a.txt"]


@pytest.mark.parametrize("make", [MagicMock, Fake], ids=["mock", "fake"])
def test_a_deep_copy_shares_a_bucket_of_any_kind(make: Callable[[], Any]) -> None:
    bucket = make()
    sink = DataSink(base_directory="s3://mybucket", bucket=bucket)
    assert copy.deepcopy(sink).inputs.bucket is bucket


def test_a_bucket_without_references_is_garbage_collected() -> None:
    bucket = Fake()
    alive = weakref.ref(bucket)
    sink = DataSink(base_directory="s3://mybucket", bucket=bucket)
    twins = [copy.deepcopy(sink), pickle.loads(pickle.dumps(sink))]
    del sink, bucket
    gc.collect()
    assert all(twin.inputs.bucket is alive() for twin in twins)
    pickled = pickle.dumps(twins)
    del twins
    gc.collect()
    assert alive() is None
    assert [type(twin.inputs.bucket) for twin in pickle.loads(pickled)] == [BucketReference] * 2


def test_runs_with_new_buckets_keep_none_of_them(
    files: list[str], bucket: Bucket, endpoint: str
) -> None:
    def run() -> int:
        session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
        own = session.resource("s3", endpoint_url=endpoint).Bucket("mybucket")
        DataSink(base_directory="s3://mybucket", bucket=own, infields=["x"], x=files).run()
        del own, session
        gc.collect()
        return len(pickling._buckets)

    before = run()
    assert run() == before


def test_a_bucket_without_weak_references_is_shared_too() -> None:
    class Slotted:
        __slots__ = ("name",)
        name: str

        def upload_file(self, *_: object, **__: object) -> None: ...

    bucket = Slotted()
    bucket.name = "mybucket"
    sink = DataSink(base_directory="s3://mybucket", bucket=bucket)
    assert pickle.loads(pickle.dumps(sink)).inputs.bucket is bucket


def test_threads_can_inject_buckets_at_the_same_time() -> None:
    def inject(_: int) -> None:
        for _ in range(300):
            bucket = Fake()
            assert pickle.loads(pickle.dumps(reference_to(bucket))).token
            assert unpickle_bucket(reference_to(bucket)) is bucket

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        parallel_map(inject, range(8), threads=8)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bucket_is_pickled_by_reference_with_every_protocol(
    injected: DataSink, bucket: Bucket, protocol: int
) -> None:
    assert copy.deepcopy({"bucket": bucket})["bucket"] is bucket
    assert pickle.loads(pickle.dumps([bucket], protocol))[0] is bucket


def test_other_resources_of_boto3_cannot_be_pickled(injected: DataSink, bucket: Bucket) -> None:
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        pickle.dumps(bucket.Object("key"))


def test_no_secret_is_in_a_pickle(injected: DataSink) -> None:
    data = pickle.dumps(injected)
    assert b"mybucket" in data
    assert SECRET_KEY.encode() not in data
    assert ACCESS_KEY.encode() not in data


@pytest.mark.parametrize(
    ("pickled", "opened_before"),
    [(True, True), (False, True), (False, False)],
    ids=["by pickle", "opened before", "by memory only"],
)
def test_a_forked_child_has_its_own_client_with_the_same_keys(
    injected: DataSink,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    pickled: bool,
    opened_before: bool,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    data = pickle.dumps(injected) if pickled else b""
    if opened_before:
        injected._open_bucket()

    def check() -> bool:
        sink = pickle.loads(data) if pickled else injected
        clients = [sink._open_bucket().meta.client for _ in range(2)]
        keys = clients[0]._request_signer._credentials
        sink.run()
        return (
            bucket.meta.client not in clients
            and clients[0] is clients[1]
            and (keys.access_key, keys.secret_key) == (ACCESS_KEY, SECRET_KEY)
        )

    assert in_child(check)
    assert list(contents(bucket)) == ["out/motion/a.txt"]
    assert injected._open_bucket() is bucket


def test_an_unsigned_bucket_stays_unsigned_in_a_child(
    endpoint: str, files: list[str], credentials: None
) -> None:
    session = boto3.session.Session(region_name="us-east-1")
    config = Config(signature_version=UNSIGNED)
    bucket = session.resource("s3", endpoint_url=endpoint, config=config).Bucket("mybucket")
    sink = DataSink(base_directory="s3://mybucket/out", bucket=bucket)

    def check() -> bool:
        return sink._open_bucket().meta.client.meta.config.signature_version is UNSIGNED

    assert in_child(check)


LOAD = """
import pickle, sys
sink = pickle.load(open(sys.argv[1], "rb"))
client = sink._open_bucket().meta.client
keys = client._request_signer._credentials
print(sink.inputs.bucket.name, client.meta.endpoint_url, client.meta.region_name, keys.access_key)
sink.run()
"""


@pytest.mark.needs("any credentials")
def test_another_process_uses_its_own_credentials(
    injected: DataSink,
    bucket: Bucket,
    workdir: Path,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    fork_python: RunPython,
) -> None:
    (workdir / "sink").write_bytes(pickle.dumps(injected))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATHERE")
    done = fork_python("-c", LOAD, str(workdir / "sink"))
    assert done.stdout.partition("\n")[0].split() == [
        "mybucket",
        endpoint,
        "us-east-1",
        "AKIATHERE",
    ], done.stderr
    assert list(contents(bucket)) == ["out/motion/a.txt"]


@pytest.mark.needs("any credentials")
def test_a_bucket_whose_credentials_are_only_in_the_worker_is_signed_there(
    injected: DataSink,
    workdir: Path,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    fork_python: RunPython,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    session = boto3.session.Session(region_name="us-east-1")
    assert session.get_credentials() is None
    injected.inputs.bucket = session.resource("s3", endpoint_url=endpoint).Bucket("mybucket")
    (workdir / "sink").write_bytes(pickle.dumps(injected))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATHERE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    done = fork_python("-c", LOAD, str(workdir / "sink"))
    assert done.stdout.partition("\n")[0].endswith(" AKIATHERE"), done.stderr


def test_a_bucket_made_anonymous_by_a_handler_is_anonymous_elsewhere(
    injected: DataSink, bucket: Bucket
) -> None:
    assert reference_to(bucket).signed
    events = bucket.meta.client.meta.events
    events.register("choose-signer.s3.*", disable_signing)  # as nipype's own `_fetch_bucket` does
    try:
        assert not reference_to(bucket).signed
    finally:
        events.unregister("choose-signer.s3.*", disable_signing)


def test_another_process_without_credentials_never_becomes_anonymous(
    injected: DataSink,
    bucket: Bucket,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    fork_python: RunPython,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (workdir / "sink").write_bytes(pickle.dumps(injected))
    done = fork_python("-c", LOAD, str(workdir / "sink"))
    assert CredentialsError.__name__ in done.stderr
    assert "'mybucket'" in done.stderr
    assert contents(bucket) == {}


HASH = """
import boto3
from unittest.mock import MagicMock
from nipype_datasink import DataSink
resource = boto3.session.Session("a", "b", region_name="us-east-1").resource
for name, port in (("one", 1), ("one", 2), ("two", 1)):
    bucket = resource("s3", endpoint_url=f"http://127.0.0.1:{port}").Bucket(name)
    print(DataSink(base_directory="s3://one/x", bucket=bucket).inputs.get_hashval()[1])
print(DataSink(base_directory="s3://one/x", bucket=MagicMock()).inputs.get_hashval()[1])
"""


def test_a_hash_depends_on_name_and_endpoint_in_every_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exec(HASH, {})
    hashes = capsys.readouterr().out.split()
    assert len(set(hashes)) == 4
    # Not in a fork, whose hashes of texts would be the same.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HASH],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == hashes, done.stderr


def test_two_mocks_have_the_same_hash() -> None:
    hashes = {
        DataSink(base_directory="s3://mybucket", bucket=MagicMock()).inputs.get_hashval()[1]
        for _ in range(2)
    }
    assert len(hashes) == 1


def test_a_hash_does_not_depend_on_the_access_key(bucket: Bucket, endpoint: str) -> None:
    session = boto3.session.Session("AKIAOTHER", "other", region_name="us-east-1")
    other = session.resource("s3", endpoint_url=endpoint).Bucket("mybucket")
    hashes = {
        DataSink(base_directory="s3://mybucket", bucket=item).inputs.get_hashval()[1]
        for item in (bucket, other)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("joined", [False, True], ids=["Node", "JoinNode"])
def test_an_injected_bucket_works_in_a_workflow(
    workdir: Path, bucket: Bucket, files: list[str], joined: bool
) -> None:
    source = Node(IdentityInterface(fields=["path"]), name="source")
    source.iterables = ("path", files)
    sink: Any = (
        JoinNode(
            DataSink(infields=["motion"]), joinsource="source", joinfield="motion", name="sink"
        )
        if joined
        else Node(DataSink(infields=["motion"]), name="sink")
    )
    sink.inputs.base_directory = "s3://mybucket/out"
    sink.inputs.bucket = bucket
    sink.inputs.parameterization = False
    workflow = Workflow(name="workflow", base_dir=str(workdir))
    workflow.config["execution"]["crashdump_dir"] = str(workdir)
    workflow.connect(source, "path", sink, "motion")
    workflow.run()
    assert sorted(contents(bucket)) == [f"out/motion/{name}.txt" for name in "abc"]


class Slotted:
    """A fake without ``__dict__`` and weak references."""

    __slots__ = ("name", "upload_file", "values")

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


@pytest.mark.parametrize("kind", [SimpleNamespace, Slotted])
def test_other_objects_of_a_fakes_class_are_copied_as_usual(kind: Callable[..., Any]) -> None:
    fake = kind(name="mybucket", upload_file=print)
    sink = DataSink(base_directory="s3://mybucket/out", bucket=fake)
    stranger = kind(values=[1])
    for twin in (copy.deepcopy(stranger), pickle.loads(pickle.dumps(stranger))):
        assert twin is not stranger
        assert twin.values == [1]
    assert copy.copy(stranger) is not stranger
    assert b"datasink" not in pickle.dumps(SimpleNamespace(values=[1]))
    assert copy.deepcopy(sink).inputs.bucket is fake


def test_a_forked_child_keeps_the_handlers_of_the_client(
    injected: DataSink, bucket: Bucket, lone_bucket: Bucket
) -> None:
    def mark(params: dict[str, Any], **_: object) -> None:
        params["Metadata"] = {"by": "handler"}

    lone_bucket.meta.client.meta.events.register("before-parameter-build.s3.PutObject", mark)
    injected.inputs.bucket = lone_bucket
    assert in_child(lambda: bool(injected.run()))
    assert bucket.Object("out/motion/a.txt").metadata == {"by": "handler"}


def test_a_forked_child_shares_refreshed_credentials_but_no_socket(
    injected: DataSink, bucket: Bucket
) -> None:
    def check() -> bool:
        ours: Any = injected._open_bucket().meta.client
        theirs: Any = bucket.meta.client
        return (
            ours._request_signer._credentials is theirs._request_signer._credentials
            and ours._endpoint.http_session._manager is not theirs._endpoint.http_session._manager
        )

    assert in_child(check)
