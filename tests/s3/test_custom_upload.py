"""Buckets that users bring along: mocks, fakes and boto3's own, copied, pickled and hashed."""

from __future__ import annotations

import copy
import gc
import hashlib
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
from nipype import JoinNode, Node, Workflow
from nipype.interfaces import io as upstream
from nipype.interfaces.utility import IdentityInterface

from nipype_datasink import CredentialsError, DataSink, S3Error
from nipype_datasink.parallel import parallel_map
from nipype_datasink.s3 import pickling
from nipype_datasink.s3.pickling import Reference, reference_to, unpickle_bucket
from tests.conftest import contents
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


class Refusal(Exception):
    """What a fake says of an object that is not there."""


class FakeObject:
    """An object with nothing but an ETag."""

    def __init__(self, etag: str | None) -> None:
        self._etag = etag

    @property
    def e_tag(self) -> str:
        if self._etag is None:
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return f'"{self._etag}"'


class Fake:
    """A bucket with nothing but what nipype uses of one."""

    def __init__(self, name: str = "mybucket", **there: bytes) -> None:
        self.name = name
        self.etags = {
            key.replace("__", "/"): hashlib.md5(data).hexdigest() for key, data in there.items()
        }
        self.uploads: list[tuple[str, str, dict[str, str]]] = []

    def Object(self, *, key: str) -> FakeObject:  # noqa: N802 - boto3's name
        return FakeObject(self.etags.get(key))

    def upload_file(
        self,
        source: str,
        key: str,
        *,
        ExtraArgs: dict[str, str],  # noqa: N803
        Callback: Callable[[int], None],  # noqa: N803
    ) -> None:
        content = Path(source).read_bytes()
        self.uploads.append((source, key, dict(ExtraArgs)))
        self.etags[key] = hashlib.md5(content).hexdigest()
        Callback(len(content))


@pytest.fixture
def images(workdir: Path) -> list[str]:
    """Two files below a folder of an iterable, and a folder."""
    for name in ("_run_1/a.nii.gz", "_run_1/b.txt", "d/x", "d/sub/y"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(name)
    return [str(workdir / "_run_1/a.nii.gz"), str(workdir / "_run_1/b.txt")]


def configured(kind: Any, bucket: Any, images: list[str], **inputs: Any) -> Any:
    sink = kind(base_directory="s3://mybucket/out", container="sub001", bucket=bucket)
    sink.inputs.trait_set(**inputs)
    setattr(sink.inputs, "motion.@par", images)
    sink.inputs.qa = str(Path(images[0]).parents[1] / "d")
    return sink


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"encrypt_bucket_keys": True},
        {"parameterization": False},
        {"substitutions": [("_run_", "run-"), ("s3://mybucket/out/sub001", "s3://mybucket/s1")]},
        {"regexp_substitutions": [(r"/[^/]*\.txt$", "/table.txt")]},
        {"strip_dir": "/_run_1"},
    ],
    ids=lambda inputs: next(iter(inputs), "plain"),
)
def test_a_fake_is_called_as_nipype_calls_it(images: list[str], inputs: dict[str, Any]) -> None:
    theirs, ours = Fake(), Fake()
    expected = configured(upstream.DataSink, theirs, images, **inputs).run().outputs.out_file
    assert configured(DataSink, ours, images, **inputs).run().outputs.out_file == expected
    assert sorted(ours.uploads) == sorted(theirs.uploads)
    assert len(ours.uploads) == 4


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nipype's own
def test_a_mock_is_called_as_nipype_calls_it(images: list[str]) -> None:
    theirs, ours = MagicMock(), MagicMock()
    for kind, bucket in ((upstream.DataSink, theirs), (DataSink, ours)):
        bucket.name = "mybucket"
        bucket.Object.return_value.e_tag = '"0"'
        configured(kind, bucket, images, encrypt_bucket_keys=True).run()

    def calls(bucket: MagicMock) -> list[tuple[Any, ...]]:
        return sorted(
            (*call.args, call.kwargs["ExtraArgs"]["ServerSideEncryption"], *sorted(call.kwargs))
            for call in bucket.upload_file.call_args_list
        )

    assert calls(ours) == calls(theirs)
    assert len(calls(ours)) == 4
    touched = {name.partition("(")[0] for name, _, _ in ours.mock_calls}
    assert touched <= {name.partition("(")[0] for name, _, _ in theirs.mock_calls}


def test_a_bare_mock_receives(images: list[str]) -> None:
    bucket = MagicMock()
    outputs = configured(DataSink, bucket, images).run().outputs.out_file
    keys = [call.args[1] for call in bucket.upload_file.call_args_list]
    assert [f"s3://mybucket/{key}" for key in keys[:2]] == outputs[:2]


def test_the_callback_of_a_fake_takes_bytes(images: list[str]) -> None:
    bucket = MagicMock()
    configured(DataSink, bucket, images).run()
    bucket.upload_file.call_args.kwargs["Callback"](5)


def test_a_fake_that_holds_the_file_is_sent_nothing(images: list[str]) -> None:
    bucket = Fake(out__sub001__qa__d__x=b"d/x")
    configured(DataSink, bucket, images).run()
    assert "out/sub001/qa/d/x" not in [key for _, key, _ in bucket.uploads]
    bucket.uploads.clear()
    configured(DataSink, bucket, images).run()
    assert bucket.uploads == []


def test_a_fake_of_another_name_receives(images: list[str]) -> None:
    bucket = Fake("other")
    outputs = configured(DataSink, bucket, images).run().outputs.out_file
    assert outputs[0] == "s3://other/out/sub001/motion/_run_1/a.nii.gz"
    assert bucket.uploads[0][1] == "out/sub001/motion/_run_1/a.nii.gz"


def test_a_fake_that_refuses_one_file_gets_the_others(images: list[str]) -> None:
    bucket = Fake()
    upload = bucket.upload_file

    def refuse(source: str, key: str, **args: Any) -> None:
        if key.endswith("a.nii.gz"):
            raise Refusal("no images")
        upload(source, key, **args)

    bucket.upload_file = refuse  # type: ignore[method-assign]
    with pytest.raises(S3Error, match=r"failed: .*a\.nii\.gz: no images"):
        configured(DataSink, bucket, images).run()
    assert len(bucket.uploads) == 3


def test_companions_and_linked_folders_reach_a_fake(images: list[str], workdir: Path) -> None:
    for name in ("m.img", "m.hdr"):
        (workdir / name).write_text(name)
    (workdir / "d" / "link").symlink_to(workdir / "_run_1")
    bucket = Fake()
    configured(DataSink, bucket, [images[0], str(workdir / "m.img")]).run()
    keys = {key.removeprefix("out/sub001/") for _, key, _ in bucket.uploads}
    assert {"motion/m.img", "motion/m.hdr", "qa/d/link/a.nii.gz", "qa/d/link/b.txt"} < keys


@pytest.mark.parametrize(
    "inputs",
    [{"s3_endpoint_url": "http://127.0.0.1:9"}, {"s3_region": "x"}, {"s3_profile": "nobody"}],
    ids=lambda inputs: next(iter(inputs)),
)
def test_other_settings_of_a_connection_are_ignored_with_a_warning(
    images: list[str], inputs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bucket = Fake()
    configured(DataSink, bucket, images, **inputs).run()
    assert len(bucket.uploads) == 4
    assert f"{next(iter(inputs))} is ignored" in caplog.text


def test_creds_path_is_not_read(images: list[str]) -> None:
    bucket = Fake()
    configured(DataSink, bucket, images, creds_path="/nowhere").run()
    assert len(bucket.uploads) == 4


# Copies, pickles and hashes.


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
def test_a_twin_in_this_process_has_the_very_bucket(
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


def test_a_bucket_that_nobody_holds_is_let_go() -> None:
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
    assert [type(twin.inputs.bucket) for twin in pickle.loads(pickled)] == [Reference] * 2


def test_a_run_with_a_bucket_of_its_own_leaves_nothing_open(
    files: list[str], bucket: Bucket, endpoint: str
) -> None:
    def run() -> int:
        session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
        own = session.resource("s3", endpoint_url=endpoint).Bucket("mybucket")
        DataSink(base_directory="s3://mybucket", bucket=own, infields=["x"], x=files).run()
        del own, session
        gc.collect()
        return len(pickling._known)

    before = run()
    assert run() == before


def test_a_bucket_that_cannot_be_held_weakly_is_shared_too() -> None:
    class Slotted:
        __slots__ = ("name",)
        name: str

        def upload_file(self, *_: object, **__: object) -> None: ...

    bucket = Slotted()
    bucket.name = "mybucket"
    sink = DataSink(base_directory="s3://mybucket", bucket=bucket)
    assert pickle.loads(pickle.dumps(sink)).inputs.bucket is bucket


def test_threads_inject_buckets_at_the_same_time() -> None:
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
def test_the_bucket_itself_is_copied_and_pickled(
    injected: DataSink, bucket: Bucket, protocol: int
) -> None:
    assert copy.deepcopy({"bucket": bucket})["bucket"] is bucket
    assert pickle.loads(pickle.dumps([bucket], protocol))[0] is bucket


def test_other_resources_are_no_buckets(injected: DataSink, bucket: Bucket) -> None:
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        pickle.dumps(bucket.Object("key"))


def test_no_secret_is_in_a_pickle(injected: DataSink) -> None:
    data = pickle.dumps(injected)
    assert b"mybucket" in data
    assert SECRET_KEY.encode() not in data
    assert ACCESS_KEY.encode() not in data


def in_child(check: Callable[[], bool]) -> bool:
    """Return what `check` says in a forked process."""
    child = os.fork()
    if not child:
        ok = False
        try:
            ok = check()
        finally:
            os._exit(0 if ok else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("pickled", "opened_before"),
    [(True, True), (False, True), (False, False)],
    ids=["by pickle", "opened before", "by memory only"],
)
def test_a_forked_child_has_a_client_of_its_own_with_the_same_keys(
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


def elsewhere(code: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that shares nothing with this one."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.needs("any credentials")
def test_another_process_uses_its_own_credentials(
    injected: DataSink, bucket: Bucket, workdir: Path, endpoint: str
) -> None:
    (workdir / "sink").write_bytes(pickle.dumps(injected))
    done = elsewhere(LOAD, str(workdir / "sink"), AWS_ACCESS_KEY_ID="AKIATHERE")
    assert done.stdout.partition("\n")[0].split() == [
        "mybucket",
        endpoint,
        "us-east-1",
        "AKIATHERE",
    ], done.stderr
    assert list(contents(bucket)) == ["out/motion/a.txt"]


def test_another_process_without_credentials_does_not_become_nobody(
    injected: DataSink, bucket: Bucket, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (workdir / "sink").write_bytes(pickle.dumps(injected))
    done = elsewhere(LOAD, str(workdir / "sink"))
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


def test_hashes_are_those_of_name_and_endpoint_in_every_process() -> None:
    first, second = elsewhere(HASH), elsewhere(HASH)
    hashes = first.stdout.split()
    assert len(set(hashes)) == 4, first.stderr
    assert second.stdout.split() == hashes


def test_two_mocks_have_one_hash() -> None:
    hashes = {
        DataSink(base_directory="s3://mybucket", bucket=MagicMock()).inputs.get_hashval()[1]
        for _ in range(2)
    }
    assert len(hashes) == 1


def test_keys_do_not_count_in_hashes(bucket: Bucket, endpoint: str) -> None:
    session = boto3.session.Session("AKIAOTHER", "other", region_name="us-east-1")
    other = session.resource("s3", endpoint_url=endpoint).Bucket("mybucket")
    hashes = {
        DataSink(base_directory="s3://mybucket", bucket=item).inputs.get_hashval()[1]
        for item in (bucket, other)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("joined", [False, True], ids=["Node", "JoinNode"])
def test_a_workflow_carries_the_bucket(
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
    """A fake without a dictionary of its own."""

    __slots__ = ("name", "upload_file", "values")

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


@pytest.mark.parametrize("kind", [SimpleNamespace, Slotted])
def test_another_object_of_a_fakes_class_is_copied_as_ever(kind: Callable[..., Any]) -> None:
    fake = kind(name="mybucket", upload_file=print)
    sink = DataSink(base_directory="s3://mybucket/out", bucket=fake)
    stranger = kind(values=[1])
    for twin in (copy.deepcopy(stranger), pickle.loads(pickle.dumps(stranger))):
        assert twin is not stranger
        assert twin.values == [1]
    assert copy.copy(stranger) is not stranger
    assert b"datasink" not in pickle.dumps(SimpleNamespace(values=[1]))
    assert copy.deepcopy(sink).inputs.bucket is fake


def test_a_forked_child_keeps_what_is_registered_with_the_client(
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


def test_an_empty_fake_is_a_bucket_too(images: list[str]) -> None:
    class Sized(Fake):
        def __len__(self) -> int:
            return len(self.uploads)

    fake = Sized()
    configured(DataSink, fake, images).run()
    assert len(fake.uploads) == 4


def test_what_a_fake_took_is_called_unverified_in_one_line(
    images: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    configured(DataSink, Fake(), images).run()
    assert caplog.text.count("sent, not verified (and 3 more)") == 1


class Hooked(DataSink):
    """Sends each source in its own way."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        bucket.upload_file(src, dst.split("/", 3)[3])


def test_an_overridden_upload_gets_companions_too(
    workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.img", "a.hdr"):
        (workdir / name).write_text(name)
    sink = Hooked(base_directory="s3://mybucket/out", bucket=bucket)
    sink.inputs.x = str(workdir / "a.img")
    sink.run()
    assert contents(bucket) == {"out/x/a.img": b"a.img", "out/x/a.hdr": b"a.hdr"}
    assert "sent, not verified (and 1 more)" in caplog.text


class Ignoring(DataSink):
    """Sends nothing."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        pass


def test_an_overridden_upload_removes_nothing_and_says_so(
    workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    (workdir / "d").mkdir()
    (workdir / "d/a").write_text("a")
    bucket.put_object(Key="out/x/d/old", Body=b"old")
    sink = Ignoring(base_directory="s3://mybucket/out", bucket=bucket, remove_dest_dir=True)
    sink.inputs.x = str(workdir / "d")
    sink.run()
    assert contents(bucket) == {"out/x/d/old": b"old"}
    assert "remove_dest_dir removes nothing here" in caplog.text


class Nipypes(DataSink):
    """Sends as nipype does."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        upstream.DataSink._upload_to_s3(self, bucket, src, dst)


class Own(DataSink):
    """Sends as this library does."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        super()._upload_to_s3(bucket, src, dst)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nipype's own
@pytest.mark.parametrize("kind", [Nipypes, Own])
def test_an_overridden_upload_gets_a_directory_as_nipype_writes_it(
    workdir: Path, bucket: Bucket, kind: type[DataSink]
) -> None:
    (workdir / "d/e").mkdir(parents=True)
    for name in ("a", "e/b"):
        (workdir / "d" / name).write_text(name)
    sink = kind(base_directory="s3://mybucket/out", bucket=bucket)
    sink.inputs.x = str(workdir / "d")
    sink.run()
    assert contents(bucket) == {"out/x/d/a": b"a", "out/x/d/e/b": b"e/b"}
