"""Test the interface: it behaves as nipype's class, and honours overridden methods."""

from __future__ import annotations

import copy
import logging
import pickle
import signal
from collections.abc import Callable
from inspect import getattr_static, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import nipype.interfaces.io as upstream
import pytest
from nipype import MapNode, Node
from nipype.interfaces.base import Undefined, isdefined

import nipype_datasink
from nipype_datasink import (
    DataSink,
    DestinationError,
    MissingSourceError,
    S3Error,
    SettingsError,
    SourceError,
)
from nipype_datasink.s3.choice import choose_transport
from nipype_datasink.s3.client import forget_clients, open_bucket
from tests.conftest import contents, tree
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

OVERRIDDEN_METHODS = [
    "_check_s3_base_dir",
    "_fetch_bucket",
    "_get_dst",
    "_list_outputs",
    "_return_aws_keys",
    "_run_interface",
    "_substitute",
    "_upload_to_s3",
    "run",
]
SOME_INPUTS: list[Any] = [
    pytest.param({}, {}, id="none"),
    pytest.param({"base_directory": "/o", "container": "c"}, {"x": "/a"}, id="field"),
    pytest.param(
        {"substitutions": [("a", "b")], "regexp_substitutions": [("c", "d")], "strip_dir": "/w"},
        {"x": ["/a", "/b"]},
        id="substitutions",
    ),
    pytest.param(
        {"creds_path": "/c", "encrypt_bucket_keys": True, "local_copy": "/l"}, {}, id="s3"
    ),
]


def file(path: Path, content: str = "x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def make_sink(kind: type, inputs: dict[str, Any], fields: dict[str, Any]) -> Any:
    interface = kind(**inputs)
    for name, value in fields.items():
        setattr(interface.inputs, name, value)
    return interface


def test_is_a_direct_subclass_that_nipype_recognizes() -> None:
    assert DataSink.__bases__ == (upstream.DataSink,)
    assert DataSink.__name__ == DataSink.__qualname__ == "DataSink"
    assert isinstance(DataSink(), upstream.DataSink)
    assert ".io" in str(DataSink.__bases__)
    assert "datasink" in str(DataSink).lower()


def test_is_pickled_by_its_real_module() -> None:
    assert DataSink.__module__ == "nipype_datasink.interface"
    assert pickle.loads(pickle.dumps(DataSink)) is nipype_datasink.DataSink
    assert type(pickle.loads(pickle.dumps(DataSink()))) is DataSink


@pytest.mark.parametrize("name", ["__init__", *OVERRIDDEN_METHODS])
def test_overridden_methods_have_the_signatures_of_nipype(name: str) -> None:
    ours, theirs = (
        [(each.name, each.kind, each.default) for each in signature(method).parameters.values()]
        for method in (getattr(DataSink, name), getattr(upstream.DataSink, name))
    )
    assert ours == theirs


def test_all_other_attributes_are_inherited() -> None:
    names = {name for name in dir(upstream.DataSink) if not name.startswith("__")}
    changed = {
        name
        for name in names
        if getattr_static(DataSink, name) is not getattr_static(upstream.DataSink, name)
    }
    assert changed == {"input_spec", *OVERRIDDEN_METHODS}


@pytest.mark.parametrize("arguments", [{}, {"force_run": False}, {"infields": ["x"]}], ids=str)
def test_a_new_sink_has_the_attributes_of_a_nipype_sink(arguments: dict[str, Any]) -> None:
    ours, theirs = (vars(kind(**arguments)) for kind in (DataSink, upstream.DataSink))
    del ours["inputs"], theirs["inputs"]
    assert ours == theirs


@pytest.mark.parametrize(("inputs", "fields"), SOME_INPUTS)
def test_hash_equals_that_of_nipype(inputs: dict[str, Any], fields: dict[str, Any]) -> None:
    ours, theirs = (make_sink(kind, inputs, fields) for kind in (DataSink, upstream.DataSink))
    assert ours.inputs.get_hashval() == theirs.inputs.get_hashval()


def test_infields_do_not_add_trait_events_to_the_hash() -> None:
    value, _ = DataSink(infields=["x"]).inputs.get_hashval()
    assert "trait_added" not in str(value)


def test_new_inputs_do_not_change_the_hash() -> None:
    before = DataSink().inputs.get_hashval()
    sink = DataSink(
        s3_endpoint_url="http://x",
        s3_region="r",
        s3_profile="p",
        s3_upload_args={"StorageClass": "GLACIER"},
        s3_max_concurrency=3,
        s3_transfer_client="classic",
        local_hardlink=True,
    )
    assert sink.inputs.get_hashval() == before


@pytest.mark.parametrize("value", ["fast", ""])
def test_unknown_transfer_client_is_an_error(value: str) -> None:
    with pytest.raises(Exception, match="s3_transfer_client"):
        DataSink(s3_transfer_client=value)


def test_infields_define_fields() -> None:
    sink = DataSink(infields=["x", "y.@z"])
    assert list(sink.inputs._outputs) == ["x", "y.@z"]
    assert sink.inputs.x is Undefined
    assert {"x", "y.@z"} <= set(sink.inputs.copyable_trait_names())


def test_value_passed_with_infields_is_kept(workdir: Path) -> None:
    source = file(workdir / "a")
    sink = DataSink(infields=["x"], x=source, base_directory=str(workdir / "out"))
    assert sink.inputs.x == source
    assert sink.run().outputs.out_file == [str(workdir / "out/x/a")]


def test_inputs_saved_by_nipypes_sink_can_be_loaded(workdir: Path) -> None:
    theirs = upstream.DataSink(infields=["x"], base_directory=str(workdir / "out"))
    theirs.inputs.x = file(workdir / "a")
    theirs.save_inputs_to_json("inputs.json")
    for sink in (
        DataSink(from_file="inputs.json"),
        DataSink(**theirs.inputs.get_traitsfree()),
    ):
        assert sink.run().outputs.out_file == [str(workdir / "out/x/a")]


def test_open_file_is_an_error_without_its_content(workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"))
    with open(file(workdir / "a", "Doe,John\n")) as opened:
        sink.inputs.x = opened
        with pytest.raises(SourceError, match="is an open file; give its path") as caught:
            sink.run()
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    "make_copy",
    [
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda item: pickle.loads(pickle.dumps(item)), id="pickle"),
        pytest.param(lambda item: copy.deepcopy(pickle.loads(pickle.dumps(item))), id="both"),
    ],
)
@pytest.mark.parametrize("infields", [None, ["x", "y.@z"]], ids=["fields", "infields"])
def test_copies_keep_fields_and_values(make_copy: Any, infields: list[str] | None) -> None:
    sink = DataSink(infields=infields, base_directory="/o", s3_upload_args={"Tagging": "a=b"})
    setattr(sink.inputs, "y.@z", ["/a"])
    other = make_copy(sink)
    assert dict(other.inputs._outputs) == dict(sink.inputs._outputs)
    assert other.inputs.base_directory == "/o"
    assert other.inputs.s3_upload_args == {"Tagging": "a=b"}
    assert other.inputs.get_hashval() == sink.inputs.get_hashval()
    other.inputs.x = "/b"
    assert other.inputs._outputs["x"] == "/b"
    assert sink.inputs._outputs.get("x", Undefined) is Undefined


def test_infields_may_contain_a_known_input(workdir: Path) -> None:
    source = file(workdir / "a")
    sink = DataSink(infields=["container", "x"], base_directory=str(workdir / "out"))
    sink.inputs.container = "sub001"
    sink.inputs.x = source
    assert sink.run().outputs.out_file == [str(workdir / "out/sub001/x/a")]
    assert tree(workdir / "out").keys() == {"sub001", "sub001/x", "sub001/x/a"}


def test_known_inputs_in_infields_may_be_passed_to_the_constructor(workdir: Path) -> None:
    sink = DataSink(
        infields=["container", "x"],
        base_directory=str(workdir),
        container="c",
        x=file(workdir / "a"),
    )
    assert sink.run().outputs.out_file == [str(workdir / "c/x/a")]


def test_a_mapnode_sinks_each_of_its_values(workdir: Path) -> None:
    sources = [file(workdir / name) for name in "ab"]
    node = MapNode(
        DataSink(infields=["x"], base_directory=str(workdir / "out")),
        iterfield=["x"],
        name="sink",
        base_dir=str(workdir),
    )
    node.inputs.x = sources
    assert node.run().outputs.out_file == [[str(workdir / "out/x" / name)] for name in "ab"]


@pytest.mark.parametrize(("force", "runs"), [(True, 2), (False, 1)])
def test_force_run_decides_whether_a_node_runs_again(
    force: bool, runs: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    run = DataSink._run_interface

    def count(self: DataSink, runtime: Any) -> Any:
        done.append(runtime)
        return run(self, runtime)

    monkeypatch.setattr(DataSink, "_run_interface", count)
    source = file(workdir / "a")
    for _ in range(2):
        node = Node(DataSink(force_run=force), name="sink", base_dir=str(workdir / "work"))
        node.inputs.base_directory = str(workdir / "out")
        node.inputs.x = source
        node.run()
    assert len(done) == runs


def test_outputs_dictionary_may_be_set_directly(workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"))
    sink.inputs._outputs = {"x.@y": file(workdir / "a")}
    assert sink.run().outputs.out_file == [str(workdir / "out/x/a")]


def test_a_folder_may_have_the_name_of_an_input(workdir: Path) -> None:
    outputs = {"container": file(workdir / "a"), "s3_region": file(workdir / "b")}
    sink = DataSink(base_directory=str(workdir / "out"))
    sink.inputs._outputs = outputs
    assert sink.run().outputs.out_file == [
        str(workdir / "out/container/a"),
        str(workdir / "out/s3_region/b"),
    ]


def test_iterator_can_be_planned_and_then_run(workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"))
    sink.inputs.x = (file(workdir / name) for name in "ab")
    assert len(sink.plan().deliveries) == 2
    assert tree(workdir / "out") == {}
    assert len(sink.run().outputs.out_file) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("local_copy", "/l"), ("creds_path", "/c"), ("encrypt_bucket_keys", True), ("bucket", "b")],
)
def test_inputs_may_be_set_as_attributes(name: str, value: object) -> None:
    sink = DataSink()
    setattr(sink, name, value)
    assert getattr(sink.inputs, name) == value
    setattr(sink.inputs, name, other := type(value)())
    assert getattr(sink, name) == other


def test_plan_equals_the_result_and_writes_nothing(workdir: Path) -> None:
    file(workdir / "d/a")
    sink = DataSink(base_directory=str(workdir / "out"), container="c")
    sink.inputs.x = str(workdir / "d")
    before = tree(workdir)
    plan = sink.plan()
    assert tree(workdir) == before
    assert [item.destination for item in plan.deliveries] == sink.run().outputs.out_file
    assert str(plan) == (f"x: {workdir}/d/a -> {workdir}/out/c/x/d/a (1 byte)\n1 file, 1 byte")


def test_plan_for_s3_sends_no_request(workdir: Path, requests: dict[str, int]) -> None:
    sink = DataSink(base_directory="s3://bucket/p", s3_endpoint_url="http://127.0.0.1:9")
    sink.inputs.x = file(workdir / "a")
    assert [item.destination for item in sink.plan().deliveries] == ["s3://bucket/p/x/a"]
    assert requests == {}


class Redirected(DataSink):
    """A sink that overrides the routing methods."""

    def _get_dst(self, src: str) -> str:
        return super()._get_dst(src).upper()

    def _substitute(self, pathstr: str) -> str:
        return super()._substitute(pathstr).replace("/x/", "/y/")


@pytest.mark.parametrize("base", ["local", "s3"])
def test_overridden_routing_methods_are_called(base: str, workdir: Path) -> None:
    root = "s3://bucket/p" if base == "s3" else str(workdir / "out")
    sink = Redirected(base_directory=root, substitutions=[("A.NII", "B.NII")])
    sink.inputs.x = file(workdir / "a.nii")
    assert [item.destination for item in sink.plan().deliveries] == [f"{root}/y/B.NII"]


def test_routing_methods_patched_on_the_class_are_called(workdir: Path) -> None:
    sink = DataSink(base_directory="/o")
    sink.inputs.x = file(workdir / "a")
    with (
        mock.patch.object(DataSink, "_get_dst", return_value="b"),
        mock.patch.object(DataSink, "_substitute", side_effect=lambda path: f"{path}.c"),
    ):
        assert sink.plan().deliveries[0].destination == "/o/x/b.c"


@pytest.mark.parametrize("parameterization", [True, False])
@pytest.mark.parametrize("strip_dir", [None, "/w"])
@pytest.mark.parametrize("source", ["/w/_a/b", "/w/_a/d/", "/b", "/w/_d/"])
def test_get_dst_returns_the_same_as_nipype(
    source: str, strip_dir: str | None, parameterization: bool
) -> None:
    inputs: dict[str, Any] = {"parameterization": parameterization}
    if strip_dir:
        inputs["strip_dir"] = strip_dir
    answers = {
        make_sink(kind, inputs, {})._get_dst(source) for kind in (DataSink, upstream.DataSink)
    }
    assert len(answers) == 1


@pytest.mark.parametrize("path", ["/o/a_b/c.nii", "/nothing"])
def test_substitute_returns_the_same_as_nipype(path: str) -> None:
    inputs: dict[str, Any] = {
        "substitutions": [("a_", "A"), ("A", "z")],
        "regexp_substitutions": [("b/(.)", r"\1")],
    }
    ours, theirs = (kind(**inputs)._substitute(path) for kind in (DataSink, upstream.DataSink))
    assert ours == theirs


def test_substitute_keeps_the_bucket() -> None:
    sink = DataSink(substitutions=[("bucket", "x")])
    assert sink._substitute("s3://bucket/bucket/a") == "s3://bucket/x/a"
    assert sink._substitute("/bucket/a") == "/x/a"


@pytest.mark.parametrize("base", ["s3://bucket/p", "S3://Bucket", "/o", "out", None])
def test_check_s3_base_dir_returns_the_same_as_nipype(base: str | None) -> None:
    inputs: dict[str, Any] = {} if base is None else {"base_directory": base}
    answers = [kind(**inputs)._check_s3_base_dir() for kind in (DataSink, upstream.DataSink)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "content",
    [
        None,
        'User Name,Access Key Id,Secret Access Key\n"u",AKIDFILE,secret/file\n',
        "AWSAccessKeyId=AKIDFILE\r\nAWSSecretKey=secret/file\r\n",
    ],
    ids=["environment", "user", "root"],
)
def test_return_aws_keys_returns_the_same_as_nipype(
    content: str | None, workdir: Path, credentials: None
) -> None:
    inputs: dict[str, Any] = (
        {} if content is None else {"creds_path": file(workdir / "keys.csv", content)}
    )
    ours, theirs = (kind(**inputs)._return_aws_keys() for kind in (DataSink, upstream.DataSink))
    assert ours == theirs
    assert ours[0] == (ACCESS_KEY if content is None else "AKIDFILE")


def test_return_aws_keys_without_keys_returns_the_same_as_nipype() -> None:
    assert DataSink()._return_aws_keys() == upstream.DataSink()._return_aws_keys() == (None, None)


def test_fetch_bucket_uses_the_keys_and_settings_of_the_sink(
    endpoint: str, credentials: None
) -> None:
    bucket = DataSink(s3_endpoint_url=endpoint, s3_region="eu-west-1")._fetch_bucket("mybucket")
    keys = bucket.meta.client._request_signer._credentials
    assert (bucket.name, keys.access_key, keys.secret_key) == ("mybucket", ACCESS_KEY, SECRET_KEY)
    assert bucket.meta.client.meta.endpoint_url == endpoint
    assert bucket.meta.client.meta.region_name == "eu-west-1"
    forget_clients()


def test_overridden_keys_are_used(endpoint: str) -> None:
    class Keyed(DataSink):
        def _return_aws_keys(self) -> tuple[str, str]:
            return "AKIDOWN", "own"

    bucket = Keyed(s3_endpoint_url=endpoint, s3_region="us-east-1")._fetch_bucket("mybucket")
    keys = bucket.meta.client._request_signer._credentials
    assert (keys.access_key, keys.secret_key) == ("AKIDOWN", "own")
    forget_clients()


@pytest.mark.parametrize("by", ["subclass", "patch"])
def test_overridden_fetch_bucket_is_called(by: str, workdir: Path, bucket: Bucket) -> None:
    class Fetching(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            return fetch(bucket_name)

    fetch = mock.Mock(return_value=bucket)
    sink = (Fetching if by == "subclass" else DataSink)(base_directory="s3://mybucket/p")
    sink.inputs.x = file(workdir / "a")
    with mock.patch.object(DataSink, "_fetch_bucket", fetch):
        assert sink.run().outputs.out_file == ["s3://mybucket/p/x/a"]
    fetch.assert_called_once_with("mybucket")
    assert contents(bucket) == {"p/x/a": b"x"}


def test_overridden_check_s3_base_dir_chooses_the_bucket(workdir: Path, bucket: Bucket) -> None:
    class Checking(DataSink):
        def _check_s3_base_dir(self) -> tuple[bool, str]:
            return True, "renamed"

    sink = Checking(base_directory="s3://mybucket/p")
    sink.inputs.x = file(workdir / "a")
    with mock.patch.object(Checking, "_fetch_bucket", return_value=bucket) as fetch:
        sink.run()
    fetch.assert_called_once_with("renamed")


@pytest.mark.parametrize("by", ["subclass", "patch"])
def test_overridden_upload_to_s3_is_called(by: str, workdir: Path, bucket: Bucket) -> None:
    class Uploading(DataSink):
        def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
            upload(bucket, src, dst)

    upload = mock.Mock(return_value=None)
    sink = (Uploading if by == "subclass" else DataSink)(base_directory="s3://mybucket/p")
    sink.inputs.bucket = bucket
    sink.inputs.x = [source := file(workdir / "a"), directory := str(workdir / "d")]
    file(workdir / "d/b")
    with mock.patch.object(DataSink, "_upload_to_s3", upload):
        out_file = sink.run().outputs.out_file
    assert [call.args[1:] for call in upload.call_args_list] == [
        (source, "s3://mybucket/p/x/a"),
        (f"{directory}/", "s3://mybucket/p/x/d"),
    ]
    assert out_file == ["s3://mybucket/p/x/a", "s3://mybucket/p/x/d"]
    assert contents(bucket) == {}


def test_upload_to_s3_may_be_called_directly(workdir: Path, bucket: Bucket) -> None:
    file(workdir / "d/a")
    sink = DataSink(encrypt_bucket_keys=True)
    sink._upload_to_s3(bucket, file(workdir / "b"), "s3://mybucket/p/c")
    sink._upload_to_s3(bucket, str(workdir / "d"), "S3://mybucket/p/d")
    assert contents(bucket) == {"p/c": b"x", "p/d/a": b"x"}
    assert bucket.Object("p/c").server_side_encryption == "AES256"


def test_direct_upload_uses_the_chosen_transfer_client(
    workdir: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = mock.Mock(wraps=choose_transport)
    monkeypatch.setattr("nipype_datasink.s3.target.choose_transport", choose)
    sink = DataSink(s3_transfer_client="classic")
    sink._upload_to_s3(bucket, file(workdir / "a"), "s3://mybucket/a")
    assert choose.call_args.args[0] == "classic"


def test_s3_error_opens_no_second_client(
    workdir: Path, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = DataSink(base_directory="s3://nowhere/p", s3_endpoint_url=endpoint)
    sink.inputs.x = file(workdir / "a")
    with (
        mock.patch("nipype_datasink.s3.client.open_bucket", wraps=open_bucket) as opened,
        pytest.raises(S3Error, match="\n  credentials: "),
    ):
        sink.run()
    opened.assert_called_once()
    assert caplog.text.count("no credentials were found") == 1


def test_a_run_logs_one_line_and_one_for_each_substitution(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = workdir / "out"
    sink = DataSink(base_directory=str(out), substitutions=[("a.nii", "b.nii")])
    sink.inputs.x = [file(workdir / "a.nii"), file(workdir / "c.nii")]
    sink.run()
    messages = [item.getMessage() for item in caplog.records if item.levelno >= logging.INFO]
    assert messages[0] == f"sub: {out}/x/a.nii -> {out}/x/b.nii"
    assert messages[1] == f"{out}: 2 new"
    assert len(messages) == 2


def test_out_file_is_a_flat_list_even_of_one_or_no_file(workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"), container="c")
    assert sink.run().outputs.out_file == []
    assert tree(workdir) == {"out": None, "out/c": None}
    sink.inputs.x = file(workdir / "a")
    assert sink.run().outputs.out_file == [str(workdir / "out/c/x/a")]


def test_errors_are_raised_unchanged(workdir: Path) -> None:
    node = Node(DataSink(base_directory=str(workdir / "out")), name="sink", base_dir=str(workdir))
    node.inputs.x = "/nowhere/a"
    with pytest.raises(Exception, match="/nowhere/a does not exist"):
        node.run()
    with pytest.raises(MissingSourceError):
        node.interface.run()


def test_nothing_is_sent_to_a_bucket_with_an_unexpected_name(workdir: Path, bucket: Bucket) -> None:
    class Fetching(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            return bucket

    sink = Fetching(base_directory="s3://written/p")
    sink.inputs.x = file(workdir / "a")
    with pytest.raises(S3Error, match="is 'mybucket', not 'written'"):
        sink.run()
    assert contents(bucket) == {}


def test_overridden_check_s3_base_dir_may_choose_the_disk(workdir: Path) -> None:
    class Local(DataSink):
        def _check_s3_base_dir(self) -> tuple[bool, str]:
            return False, "<N/A>"

    sink = Local(base_directory="s3://mybucket/p")
    sink.inputs.x = file(workdir / "a")
    assert sink.run().outputs.out_file == [str(workdir / "s3:/mybucket/p/x/a")]
    assert (workdir / "s3:/mybucket/p/x/a").read_text() == "x"


def test_overridden_check_s3_base_dir_may_set_inputs(
    workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    class Encrypting(DataSink):
        def _check_s3_base_dir(self) -> tuple[bool, str]:
            self.inputs.encrypt_bucket_keys = True
            self.inputs.container = "sub001"
            return super()._check_s3_base_dir()

    sink = Encrypting(base_directory="s3://mybucket/p", s3_endpoint_url=endpoint)
    sink.inputs.x = file(workdir / "a")
    sink.run()
    assert bucket.Object("p/sub001/x/a").server_side_encryption == "AES256"


def test_overridden_get_dst_may_set_inputs(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Lenient(DataSink):
        def _get_dst(self, src: str) -> str:
            self.inputs.sink_missing = "skip"
            return super()._get_dst(src)

    sink = Lenient(base_directory="out")
    sink.inputs.x = [file(workdir / "a"), str(workdir / "missing")]
    assert sink.run().outputs.out_file == [str(workdir / "out/x/a")]
    assert "1 source is missing" in caplog.text


@pytest.mark.parametrize("kind", [DataSink, lambda: Node(DataSink(), name="sink")])
def test_secret_in_upload_args_is_rejected(kind: Callable[[], Any]) -> None:
    sink = kind()
    with pytest.raises(SettingsError, match="'SSECustomerKey' is not allowed") as caught:
        sink.inputs.s3_upload_args = {"StorageClass": "GLACIER", "SSECustomerKey": "secret of me"}
    assert not isdefined(sink.inputs.s3_upload_args)
    assert "secret of me" not in str(caught.value)
    with pytest.raises(SettingsError, match="is not allowed"):
        DataSink(s3_upload_args={"SSECustomerKey": "secret of me"})


def test_destination_with_dotdot_exists_as_reported(workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"), substitutions=[("x/", "x/../y/")])
    sink.inputs.x = file(workdir / "in/a", "content")
    (reported,) = sink.run().outputs.out_file
    assert reported == str(workdir) + "/out/x/../y/a"
    assert Path(reported).read_text() == "content"


RULES: dict[str, Any] = {
    "container": "sub-01",
    "substitutions": [("_run_1", "run-1")],
    "regexp_substitutions": [(r"\.par$", ".txt")],
}


@pytest.mark.parametrize("base", ["/out", "s3://bucket/out"])
def test_destination_is_that_of_a_file_that_need_not_exist(base: str) -> None:
    sink = DataSink(base_directory=base, **RULES)
    source = "/work/_run_1/realign/a.par"

    assert sink.destination(source, field="motion.@par") == f"{base}/sub-01/motion/run-1/a.txt"


def test_destination_is_where_a_run_delivers(workdir: Path) -> None:
    (folder := workdir / "_run_1" / "qa").mkdir(parents=True)
    path = file(workdir / "_run_1" / "a.par")
    sink = DataSink(base_directory="out", local_copy="copy", **RULES)
    sink.inputs.motion = [path, str(folder)]
    expected = [sink.destination(each, field="motion") for each in (path, folder)]

    assert sink.run().outputs.out_file[::2] == expected


def test_destination_that_cannot_be_is_an_error() -> None:
    sink = DataSink(base_directory="s3://bucket", substitutions=[("a", "/../..")])

    with pytest.raises(DestinationError, match="leaves its bucket"):
        sink.destination("/w/a", field="x")


@pytest.mark.parametrize("where", ["planning.collisions.same_bytes", "delivery.digests._version"])
def test_an_interrupt_before_anything_is_written_is_logged(
    where: str, workdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(f"nipype_datasink.{where}", interrupt)
    for folder in ("one", "two"):
        (workdir / folder).mkdir()
        (workdir / folder / "a").touch()
    sink = DataSink(base_directory=str(workdir / "out"), sink_manifest_dir=str(workdir / "kept"))
    sink.inputs.x = [str(workdir / "one" / "a"), str(workdir / "two" / "a")]
    with pytest.raises(KeyboardInterrupt):
        sink.run()
    line = f"{workdir}/out: interrupted while planning: nothing was written; run again"
    assert caplog.messages == [line]
    assert not (workdir / "out").exists()
