"""Where we differ from nipype on purpose: what is promised, and what nipype does."""

from __future__ import annotations

import http.server
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from nipype.interfaces.base import TraitError
from nipype.interfaces.io import DataSink as NipypeDataSink

from nipype_datasink import (
    CollisionError,
    CredentialsError,
    DataSink,
    DataSinkError,
    DestinationError,
    MissingSourceError,
    S3Error,
    SettingsError,
    SourceError,
)
from nipype_datasink.s3.client import forget_clients
from tests import fuse
from tests.conftest import contents, tree
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

LONG = "k" * 200


def file(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def sink(kind: type, fields: dict[str, object], **inputs: object) -> list[str]:
    interface = kind(**{"base_directory": os.path.abspath("out"), **inputs})
    for name, value in fields.items():
        setattr(interface.inputs, name, value)
    files: list[str] = interface.run().outputs.out_file
    return files


def ours(fields: dict[str, object], **inputs: object) -> list[str]:
    return sink(DataSink, fields, **inputs)


def nipypes(fields: dict[str, object], **inputs: object) -> list[str]:
    return sink(NipypeDataSink, fields, **inputs)


@pytest.mark.parametrize("source", ["./none", "dangling", "nowhere/none"])
def test_a_missing_source_is_an_error_after_all_else_is_delivered(
    source: str, workdir: Path
) -> None:
    (workdir / "dangling").symlink_to("gone")
    file(workdir / "good")
    copy = str(workdir / "copy")
    with pytest.raises(MissingSourceError, match=f"y: {workdir / source} ") as caught:
        ours({"y": source, "x": "good"}, local_copy=copy)
    places = [str(workdir / "out/x/good"), str(workdir / "copy/x/good")]
    assert [item.transfer.destination for item in caught.value.outcomes] == places
    assert pickle.loads(pickle.dumps(caught.value)).outcomes == caught.value.outcomes
    assert tree(workdir / "out") == tree(workdir / "copy") == {"x": None, "x/good": b"x"}
    assert nipypes({"y": source, "x": "good"}) == places[:1]


def test_a_missing_source_may_be_skipped(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    file(workdir / "good")
    fields: dict[str, object] = {"x": ["./none", "good"], "y": "/gone"}
    assert ours(fields, sink_missing="skip") == nipypes(fields) == [str(workdir / "out/x/good")]
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert warnings == [
        f"2 sources are missing:\n  x: {workdir}/none does not exist\n  y: /gone does not exist"
    ]


def test_a_missing_source_is_an_error_on_s3_after_all_else_is_delivered(
    workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    file(workdir / "good")
    fields: dict[str, object] = {"x": "good", "y": "/none"}
    inputs = {"base_directory": "s3://mybucket/out", "bucket": bucket}
    with pytest.raises(MissingSourceError, match="y: /none does not exist"):
        ours(fields, **inputs)
    assert contents(bucket) == {"out/x/good": b"x"}
    assert ours(fields, sink_missing="skip", **inputs) == ["s3://mybucket/out/x/good"]
    with pytest.raises(Exception, match="none"):
        nipypes({"y": "/none"}, **inputs)


def test_a_failure_names_what_is_missing_too(workdir: Path) -> None:
    file(workdir / "good")
    with pytest.raises(S3Error, match=r"(?s)not tried: .*/x/good.*y: /none does not"):
        ours(
            {"x": "good", "y": "/none"},
            base_directory="s3://mybucket",
            creds_path="/nowhere/credentials.csv",
        )


def test_text_that_is_no_path_is_left_out(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    file(workdir / "good")
    fields: dict[str, object] = {"@id": "sub-01_ses-M00", "x": ["good", "group A"]}
    assert ours(fields) == nipypes(fields) == [str(workdir / "out/x/good")]
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert warnings == [
        "left out of what is sunk: @id: 'sub-01_ses-M00' is not the name of a file; "
        "x: 'group A' is not the name of a file"
    ]


def test_a_missing_source_that_looks_like_a_typo_gets_a_hint(workdir: Path) -> None:
    with pytest.raises(MissingSourceError, match="base_directory"):
        ours({"base_dir": "/nowhere"})


def test_empty_text_sinks_nothing(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    file(workdir / "private")
    elsewhere = tmp_path_factory.mktemp("else")
    with pytest.raises(SourceError, match="x: '' is empty text"):
        ours({"x": ""}, base_directory=str(elsewhere))
    nipypes({"x": ""}, base_directory=str(elsewhere))
    assert (elsewhere / "x" / workdir.name / "private").exists()


@pytest.mark.parametrize("source", ["/dev/null", "pipe", {"a": "b"}], ids=str)
def test_what_is_no_file_does_not_vanish(source: object, workdir: Path) -> None:
    os.mkfifo(workdir / "pipe")
    with pytest.raises(SourceError, match=r"^nothing was written.*\n  x: "):
        ours({"x": source})
    assert nipypes({"x": source}) == []


@pytest.mark.parametrize("value", [3, b"a"], ids=str)
def test_what_is_no_path_is_named(value: object, workdir: Path) -> None:
    with pytest.raises(SourceError, match=r"x: .* is no path but"):
        ours({"x": value})
    with pytest.raises(TypeError):
        nipypes({"x": value})


@pytest.mark.parametrize(
    ("value", "names"),
    [
        pytest.param(None, "", id="none"),
        pytest.param([], "", id="empty-list"),
        pytest.param([[["a"]]], "a", id="deep-list"),
        pytest.param(["a", ["b"]], "ab", id="mixed-list"),
        pytest.param((("b", "a"),), "ba", id="tuples"),
        pytest.param(Path("a"), "a", id="path"),
    ],
)
def test_values_are_flattened(value: object, names: str, workdir: Path) -> None:
    file(workdir / "a")
    file(workdir / "b")
    assert ours({"x": value}) == [str(workdir / "out/x" / name) for name in names]
    with pytest.raises((TypeError, IndexError)):
        nipypes({"x": value})


@pytest.mark.parametrize(("field", "folder"), [("a..b", "a/b"), ("a.", "a")])
def test_an_empty_part_adds_no_folder(field: str, folder: str, workdir: Path) -> None:
    file(workdir / "f")
    assert ours({field: "f"}) == [str(workdir / "out" / folder / "f")]
    with pytest.raises(IndexError):
        nipypes({field: "f"})


def test_two_sources_do_not_share_a_destination(workdir: Path) -> None:
    file(workdir / "1/a", "one")
    file(workdir / "2/a", "two")
    with pytest.raises(CollisionError, match=f"{workdir}/1/a and {workdir}/2/a differ"):
        ours({"x": ["1/a", "2/a"]})
    assert not (workdir / "out").exists()
    nipypes({"x": ["1/a", "2/a"]})
    assert tree(workdir / "out/x") == {"a": b"two"}


def test_names_that_are_one_do_not_overwrite_each_other(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if why := fuse.why_not():
        pytest.skip(why)
    file(workdir / "1/A", "one")
    file(workdir / "2/a", "two")
    fields: dict[str, object] = {"x": ["1/A", "2/a"]}
    real, mount = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("mount")
    with fuse.mounted(real, mount):
        nipypes(fields, base_directory=str(mount))
        assert tree(real) == {"x": None, "x/a": b"two"}
        with pytest.raises(CollisionError, match="are one file there"):
            ours(fields, base_directory=str(mount))
        assert tree(real) == {"x": None, "x/a": b"two"}


def test_names_that_no_disk_takes_are_refused_first(workdir: Path) -> None:
    file(workdir / "a")
    file(workdir / "b")
    fields: dict[str, object] = {"x": ["a", "b"]}
    rules = [("x/b", f"x/{LONG}{LONG}")]
    with pytest.raises(DestinationError, match="of 400 bytes; the file system takes 255"):
        ours(fields, substitutions=rules)
    assert not (workdir / "out").exists()
    with pytest.raises(OSError, match="File name too long"):
        nipypes(fields, substitutions=rules)
    assert tree(workdir / "out") == {"x": None, "x/a": b"x"}


def test_equal_sources_may_share_a_destination(workdir: Path) -> None:
    file(workdir / "1/a")
    file(workdir / "2/a")
    fields: dict[str, object] = {"x": ["1/a", "2/a"]}
    assert ours(fields) == nipypes(fields) == [str(workdir / "out/x/a")] * 2


def test_a_source_that_the_run_delivers_itself_is_missing(workdir: Path) -> None:
    file(workdir / "a")
    fields: dict[str, object] = {"x": "a", "y": "out/x/a"}
    with pytest.raises(MissingSourceError, match="before this same sink delivered it"):
        ours(fields)
    (workdir / "out/x/a").unlink()
    assert nipypes(fields) == [str(workdir / "out/x/a"), str(workdir / "out/y/a")]


def test_a_directory_does_not_swallow_its_destination(workdir: Path) -> None:
    file(workdir / "d/a")
    before = tree(workdir)
    with pytest.raises(SourceError, match="contains its own destination"):
        ours({"x": "d"}, base_directory=str(workdir / "d"))
    assert tree(workdir) == before


def test_a_directory_that_links_to_its_ancestor_is_named(workdir: Path) -> None:
    file(workdir / "d/a")
    (workdir / "d/up").symlink_to(workdir / "d")
    with pytest.raises(SourceError, match=f"{workdir}/d/up links to {workdir}/d, a directory that"):
        ours({"x": "d"})
    assert not (workdir / "out").exists()
    with pytest.raises(Exception, match="up/up/up"):
        nipypes({"x": "d"})


def test_no_file_is_written_in_place(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "a", "new")
    other = file(workdir / "other", "old")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    os.link(other, place)
    replaced: list[str] = []
    replace = os.replace

    def watch(source: str, target: str) -> None:
        replaced.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    ours({"x": "a"})
    assert replaced == [str(place)]
    assert (place.read_text(), other.read_text()) == ("new", "old")


def test_a_link_sunk_into_its_own_place_is_kept(workdir: Path) -> None:
    file(workdir / "real")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    place.symlink_to(workdir / "real")
    assert ours({"x": str(place)}) == [str(place)]
    assert place.is_symlink()
    with pytest.raises(FileNotFoundError):
        nipypes({"x": str(place)})
    assert not place.is_symlink()


def test_a_link_to_the_source_is_replaced_by_the_file(workdir: Path) -> None:
    file(workdir / "a")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    for run in (ours, nipypes):
        place.unlink(missing_ok=True)
        place.symlink_to(workdir / "a")
        run({"x": "a"})
        assert not place.is_symlink()
        assert place.read_text() == "x"


def test_remove_dest_dir_keeps_what_the_run_delivers(workdir: Path) -> None:
    file(workdir / "1/d/a")
    file(workdir / "2/d/b")
    fields: dict[str, object] = {"x": ["1/d", "2/d"]}
    ours(fields, remove_dest_dir=True)
    assert tree(workdir / "out/x/d").keys() == {"a", "b"}
    nipypes(fields, remove_dest_dir=True)
    assert tree(workdir / "out/x/d").keys() == {"b"}


def test_remove_dest_dir_keeps_sources(workdir: Path) -> None:
    source = file(workdir / "out/x/d/a")
    ours({"x": "out/x/d"}, remove_dest_dir=True)
    assert source.exists()
    with pytest.raises(FileNotFoundError):
        nipypes({"x": "out/x/d"}, remove_dest_dir=True)
    assert not source.exists()


def test_remove_dest_dir_does_nothing_where_something_is_wrong(workdir: Path) -> None:
    file(workdir / "d/a")
    old = file(workdir / "out/x/d/old")
    fields: dict[str, object] = {"x": "d", "y": "./none"}
    with pytest.raises(MissingSourceError):
        ours(fields, remove_dest_dir=True)
    assert old.exists()
    ours(fields, remove_dest_dir=True, sink_missing="skip")
    assert not old.exists()
    file(old)
    nipypes(fields, remove_dest_dir=True)
    assert not old.exists()


def test_remove_dest_dir_leaves_what_has_another_type_to_people(workdir: Path) -> None:
    file(workdir / "d/was-file/a")
    old = file(workdir / "out/x/d/was-file")
    with pytest.raises(DestinationError, match="move it away or change the destination"):
        ours({"x": "d"}, remove_dest_dir=True)
    assert old.exists()
    nipypes({"x": "d"}, remove_dest_dir=True)
    assert tree(workdir / "out/x/d").keys() == {"was-file", "was-file/a"}


def test_a_creds_path_that_is_not_there_is_an_error(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else")
    with pytest.raises(CredentialsError):
        DataSink(creds_path="none")._return_aws_keys()
    assert NipypeDataSink(creds_path="none")._return_aws_keys() == ("somebody else", None)


def test_remove_dest_dir_never_empties_the_base(workdir: Path) -> None:
    file(workdir / "d/a")
    old = file(workdir / "out/old")
    inputs = {"remove_dest_dir": True, "substitutions": [("/out/x/d", "/out")]}
    with pytest.raises(DestinationError, match="would empty the base directory"):
        ours({"x": "d"}, **inputs)
    assert old.exists()
    nipypes({"x": "d"}, **inputs)
    assert not old.exists()


def test_only_directories_that_are_needed_are_made(workdir: Path) -> None:
    file(workdir / "a")
    ours({"x": "a"}, container="sub", substitutions=[("sub/x/a", "y/b")])
    assert tree(workdir / "out") == {"sub": None, "y": None, "y/b": b"x"}


def test_a_value_given_with_infields_is_sunk(workdir: Path) -> None:
    file(workdir / "a")
    given: dict[str, object] = {"infields": ["x"], "x": "a"}
    assert ours({}, **given) == [str(workdir / "out/x/a")]
    assert nipypes({}, **given) == []


def test_infields_make_no_field_of_their_own(workdir: Path) -> None:
    file(workdir / "a")
    file(workdir / "x")
    assert ours({"x": "a"}, infields=["x"]) == [str(workdir / "out/x/a")]
    # nipype takes an event of traits, whose value is the field's name, for one more field; but not
    # after all that a process may have done before.
    code = (
        "from nipype.interfaces.io import DataSink\n"
        "sink = DataSink(base_directory='out', infields=['x'])\n"
        "print('fields:', *sink.inputs._outputs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fields: trait_added" in done.stdout


def test_a_companion_keeps_its_own_extension(workdir: Path) -> None:
    for extension in ("img", "hdr", "mat"):
        file(workdir / f"a.{extension}", extension)
    inputs = {"substitutions": [("a.img", "a.nii")]}
    ours({"x": "a.img"}, **inputs)
    assert tree(workdir / "out/x") == {"a.nii": b"img", "a.hdr": b"hdr", "a.mat": b"mat"}
    nipypes({"x": "a.img"}, base_directory=str(workdir / "nipype"), **inputs)
    assert tree(workdir / "nipype/x") == {"a.nii": b"img", "a.mat": b"hdr"}


def test_a_local_copy_is_made_beside_a_local_base(workdir: Path) -> None:
    file(workdir / "a")
    copy = str(workdir / "copy")
    both = [str(workdir / "out/x/a"), f"{copy}/x/a"]
    assert ours({"x": "a"}, local_copy=copy) == both
    assert all(Path(path).read_text() == "x" for path in both)
    assert nipypes({"x": "a"}, local_copy=copy) == both[1:]


@pytest.mark.parametrize("run", [ours, nipypes])
def test_a_local_copy_without_base_is_all_there_is(run: Any, workdir: Path) -> None:
    source = file(workdir / "a")
    interface = {ours: DataSink, nipypes: NipypeDataSink}[run](local_copy=str(workdir / "copy"))
    interface.inputs.x = str(source)
    assert interface.run().outputs.out_file == [str(workdir / "copy/x/a")]


def test_an_unknown_scheme_makes_no_folder(workdir: Path) -> None:
    file(workdir / "a")
    with pytest.raises(SettingsError, match="base_directory 'gs://x' has the unknown scheme"):
        ours({"x": "a"}, base_directory="gs://x")
    assert tree(workdir) == {"a": b"x"}
    nipypes({"x": "a"}, base_directory="gs://x")
    assert (workdir / "gs:/x/x/a").exists()


def test_a_tilde_is_the_home_directory(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(workdir / "a")
    monkeypatch.setenv("HOME", str(workdir / "home"))
    assert ours({"x": "a"}, base_directory="~/out") == [str(workdir / "home/out/x/a")]
    assert nipypes({"x": "a"}, base_directory="~/out") == [str(workdir / "~/out/x/a")]


def test_a_path_made_of_an_address_makes_no_folder(workdir: Path) -> None:
    file(workdir / "a")
    for base in (
        "s3:/bucket",
        os.path.abspath("s3://bucket"),
        " s3://bucket",
        "arn:aws:s3:::bucket",
    ):
        with pytest.raises(SettingsError, match="'s3://bucket' is meant"):
            ours({"x": "a"}, base_directory=base)
    with pytest.raises(SettingsError, match="set base_directory to it"):
        ours({"x": "a"}, container="s3://bucket")
    assert tree(workdir) == {"a": b"x"}
    nipypes({"x": "a"}, base_directory="s3:/bucket")
    assert (workdir / "s3:/bucket/x/a").exists()


def test_an_empty_local_copy_is_no_copy(workdir: Path) -> None:
    file(workdir / "a")
    assert ours({"x": "a"}, local_copy="") == [str(workdir / "out/x/a")]
    assert not (workdir / "x").exists()
    assert nipypes({"x": "a"}, local_copy="") == [str(workdir / "x/a")]


def test_creds_path_needs_no_profile(
    workdir: Path, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = file(workdir / "keys", f"AWSAccessKeyId={ACCESS_KEY}\nAWSSecretKey={SECRET_KEY}\n")
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    file(workdir / "a")
    inputs = {"base_directory": "s3://mybucket", "creds_path": str(keys)}
    assert ours({"x": "a"}, s3_endpoint_url=endpoint, **inputs) == ["s3://mybucket/x/a"]
    with pytest.raises(UnboundLocalError):
        nipypes({"x": "a"}, **inputs)


def test_objects_have_the_type_of_their_name(workdir: Path, bucket: Bucket, endpoint: str) -> None:
    file(workdir / "a.html")
    ours({"x": "a.html"}, base_directory="s3://mybucket", s3_endpoint_url=endpoint)
    assert bucket.Object("x/a.html").content_type == "text/html"
    nipypes({"y": "a.html"}, base_directory="s3://mybucket", bucket=bucket)
    assert "octet-stream" in bucket.Object("y/a.html").content_type


def test_an_absolute_container_stays_below_s3(
    workdir: Path, bucket: Bucket, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    file(workdir / "a")
    inputs = {"base_directory": "s3://mybucket/o", "container": str(workdir / "sub")}
    (place,) = ours({"x": "a"}, s3_endpoint_url=endpoint, **inputs)
    assert place == f"s3://mybucket/o{workdir}/sub/x/a"
    assert sum("is a whole path" in item.getMessage() for item in caplog.records) == 1


def test_names_are_shown_escaped(workdir: Path) -> None:
    with pytest.raises(MissingSourceError) as caught:
        ours({"x": "/gone\nERROR\x1b[2J"})
    assert "\nERROR" not in str(caught.value)
    assert r"/gone\nERROR\x1b[2J" in str(caught.value)


def test_substitutions_are_logged_as_nipype_does(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file(workdir / "a")
    logs = []
    for run in (ours, nipypes):
        caplog.clear()
        run({"x": "a"}, substitutions=[("/a", "/b")])
        logs.append([m for m in map(logging.LogRecord.getMessage, caplog.records) if "sub:" in m])
    assert logs[0] == logs[1] == [f"sub: {workdir}/out/x/a -> {workdir}/out/x/b"]


def test_a_base_directory_is_not_taken_for_infields(workdir: Path) -> None:
    with pytest.raises(SettingsError, match="base_directory='out'"):
        DataSink("out")
    assert {"o", "u", "t"} <= set(NipypeDataSink("out").inputs.copyable_trait_names())


def test_an_attribute_of_the_sink_is_an_input(workdir: Path) -> None:
    file(workdir / "a")
    made = [DataSink(), NipypeDataSink()]
    for each in made:
        each.base_directory = str(workdir / "out")
        each.inputs.x = str(workdir / "a")
    assert [each.run().outputs.out_file for each in made] == [
        [str(workdir / "out/x/a")],
        [str(workdir / "x/a")],
    ]


def test_places_may_be_paths(workdir: Path) -> None:
    file(workdir / "a")
    inputs: dict[str, object] = {
        "base_directory": workdir / "out",
        "container": Path("sub"),
    }
    assert ours({"x": "a"}, **inputs) == [str(workdir / "out/sub/x/a")]
    with pytest.raises(TraitError):
        nipypes({"x": "a"}, **inputs)


def test_trouble_with_s3_ends_the_local_copy_and_then_says_so(
    workdir: Path, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "b")
    inputs = {"base_directory": "s3://no-such-bucket/p", "local_copy": str(workdir / "copy")}
    with pytest.raises(S3Error) as caught:
        ours({"x": ["a", "b"]}, s3_endpoint_url=endpoint, s3_max_concurrency=1, **inputs)
    message = str(caught.value)
    assert "the bucket does not exist" in message
    assert "not everything arrived at s3://no-such-bucket/p" in message
    for name in "ab":
        assert f"not tried: s3://no-such-bucket/p/x/{name}" in message
    assert tree(workdir / "copy/x") == {"a": b"x", "b": b"x"}

    def refuse(self: object, name: str) -> None:
        raise OSError("no such bucket")

    monkeypatch.setattr(NipypeDataSink, "_fetch_bucket", refuse)
    with pytest.raises(UnboundLocalError):
        nipypes({"x": "a"}, **inputs)


def test_trouble_with_one_object_names_it_and_what_arrived(
    workdir: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    file(workdir / "b")
    client = bucket.meta.client
    put = client.put_object

    def refuse(**arguments: Any) -> Any:
        if arguments["Key"].endswith("b"):
            raise ClientError({"Error": {"Code": "InvalidTag", "Message": "bad tag"}}, "PutObject")
        return put(**arguments)

    monkeypatch.setattr(client, "put_object", refuse)
    with pytest.raises(S3Error, match="bad tag") as caught:
        ours({"x": ["a", "b"]}, base_directory="s3://mybucket/p", bucket=bucket)
    assert "failed: s3://mybucket/p/x/b" in str(caught.value)
    assert "sent: s3://mybucket/p/x/a" in str(caught.value)
    assert contents(bucket) == {"p/x/a": b"x"}


def test_s3_holds_what_a_directory_would(workdir: Path, bucket: Bucket) -> None:
    for name in ("a.img", "a.hdr", "d/b", "else/c"):
        file(workdir / name)
    (workdir / "d/link").symlink_to(workdir / "else")
    bucket.put_object(Key="p/x/d/old", Body=b"old")
    fields: dict[str, object] = {"x": ["a.img", "d"]}
    inputs = {"base_directory": "s3://mybucket/p", "bucket": bucket, "remove_dest_dir": True}
    nipypes(fields, **inputs)
    assert contents(bucket).keys() == {"p/x/a.img", "p/x/d/b", "p/x/d/old"}
    ours(fields, **inputs)
    assert contents(bucket).keys() == {"p/x/a.hdr", "p/x/a.img", "p/x/d/b", "p/x/d/link/c"}


@pytest.mark.parametrize(
    ("base", "key", "nipypes_key"),
    [
        pytest.param("s3://other/p", "p/x/a", "s3://other/p/x/a", id="injected-bucket"),
        pytest.param("s3://mybucket/p//q", "p/q/x/a", "p//q/x/a", id="double-slash"),
        pytest.param(
            "s3://mybucket/p/s3://mybucket/q", "p/s3:/mybucket/q/x/a", "p//q/x/a", id="repeated"
        ),
    ],
)
def test_keys_are_right(
    base: str, key: str, nipypes_key: str, workdir: Path, bucket: Bucket
) -> None:
    file(workdir / "a")
    assert ours({"x": "a"}, base_directory=base, bucket=bucket) == [f"s3://mybucket/{key}"]
    assert contents(bucket).keys() == {key}
    bucket.objects.all().delete()
    nipypes({"x": "a"}, base_directory=base, bucket=bucket)
    assert contents(bucket).keys() == {nipypes_key}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nipype's files
def test_large_objects_are_recognised(
    workdir: Path, bucket: Bucket, requests: Counter[str]
) -> None:
    file(workdir / "a", "x" * (9 << 20))
    inputs = {"base_directory": "s3://mybucket/p", "bucket": bucket}
    sent = []
    for run in (ours, ours, nipypes):
        requests.clear()
        run({"x": "a"}, **inputs)
        sent.append(requests["UploadPart"])
    assert sent == [2, 0, 2]


def test_objects_under_a_kms_key_are_recognised(
    workdir: Path, bucket: Bucket, requests: Counter[str]
) -> None:
    file(workdir / "a")
    arguments = {"ServerSideEncryption": "aws:kms", "ChecksumAlgorithm": "SHA256"}
    sent = []
    for _ in range(2):
        requests.clear()
        ours({"x": "a"}, base_directory="s3://mybucket/p", bucket=bucket, s3_upload_args=arguments)
        sent.append(requests["PutObject"])
    assert sent == [1, 0]


class Refusal(http.server.BaseHTTPRequestHandler):
    """Refuses everything, and remembers who asked."""

    asked: list[str | None]

    def refuse(self) -> None:
        self.asked.append(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b"<Error><Code>AccessDenied</Code></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = refuse  # noqa: N815 - names of http.server

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """Who asked a store that refuses everything."""
    handler = type("Handler", (Refusal,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield handler.asked  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()
    forget_clients()


def test_who_is_refused_does_not_come_back_as_nobody(
    workdir: Path, credentials: None, refusing: list[str | None]
) -> None:
    file(workdir / "a")
    with pytest.raises(S3Error, match="access is denied; check the credentials"):
        ours({"x": "a"}, base_directory="s3://mybucket/p")
    assert refusing
    assert None not in refusing
    with pytest.raises(UnboundLocalError):
        nipypes({"x": "a"}, base_directory="s3://mybucket/p", local_copy=str(workdir / "copy"))
    assert None in refusing


SECRETS = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "HTTP_PROXY",
    "https_proxy",
]


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_of_the_environment_stay_out_of_results(
    name: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "http://me:hidden-word@proxy:3128" if "proxy" in name.lower() else "hidden-word"
    monkeypatch.setenv(name, secret)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "public-word")
    results = {}
    for kind in (DataSink, NipypeDataSink):
        results[kind] = pickle.dumps(kind(base_directory=str(workdir)).run().runtime.dictcopy())
    assert b"hidden-word" not in results[DataSink]
    assert b"public-word" in results[DataSink]
    assert b"hidden-word" in results[NipypeDataSink]
    assert os.environ[name] == secret


@pytest.mark.filterwarnings("ignore")  # of rdflib and of files that prov leaves open
def test_provenance_tells_which_bucket_was_injected(
    workdir: Path, bucket: Bucket, provenance: None
) -> None:
    file(workdir / "a")

    def written(kind: type) -> Any:
        interface = kind(base_directory="s3://mybucket/p", bucket=bucket)
        interface.inputs.x = "a"
        return interface.run().provenance

    endpoint = bucket.meta.client.meta.endpoint_url
    assert f"bucket mybucket at {endpoint}" in written(DataSink).get_provn()
    assert written(NipypeDataSink) is None


def test_a_typo_is_sunk_with_a_warning(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    file(workdir / "a")
    place = [str(workdir / "out/base_dir/a")]
    assert nipypes({"base_dir": "a"}) == place
    assert caplog.messages == []
    assert ours({"base_dir": "a"}) == place
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert warnings == ["input 'base_dir' is sunk as a folder; is 'base_directory' meant?"]


BAD_INPUTS: list[Any] = [
    pytest.param({"x": ["no.ne", 3], "y": "./gone"}, {}, SourceError, ["no.ne", "int", "gone"]),
    pytest.param({"x": "pipe"}, {}, SourceError, ["x: ", "pipe is a pipe"]),
    pytest.param({"x": "socket"}, {}, SourceError, ["x: ", "socket is a socket"]),
    pytest.param({"x": "/dev/null"}, {}, SourceError, ["x: ", "/dev/null is a device"]),
    pytest.param({"x": {"a": "b"}}, {}, SourceError, ["x: ", "dict"]),
    pytest.param({"x": 3}, {}, SourceError, ["x: ", "int"]),
    pytest.param({"x": b"a"}, {}, SourceError, ["x: ", "bytes"]),
    pytest.param({"x": ""}, {}, SourceError, ["x: ", "empty text"]),
    pytest.param({"x": ["good", "d/good"]}, {}, CollisionError, ["d/good differ", "substitution"]),
    pytest.param(
        {"x": "d"}, {"base_directory": "d"}, SourceError, ["x: ", "choose a base_directory"]
    ),
    pytest.param({"x": "loop"}, {}, SourceError, ["loop/up links to", "contains it"]),
    pytest.param(
        {"x": "good"}, {"base_directory": "s3://"}, SettingsError, ["base_directory 's3://'", "wri"]
    ),
    pytest.param(
        {"x": "good"}, {"base_directory": "s3://a_/b"}, SettingsError, ["'a_' cannot", "3 to 255"]
    ),
    pytest.param(
        {"x": "good"},
        {"base_directory": f"s3://bucket/{'/'.join([LONG] * 6)}"},
        DestinationError,
        ["x/good", "key of 1,212 bytes", "substitution"],
    ),
    pytest.param(
        {"x": "good"},
        {"base_directory": "s3://bucket", "container": "../.."},
        DestinationError,
        ["s3://bucket/../..", "leaves its bucket"],
    ),
    pytest.param(
        {"x": "good"},
        {"base_directory": "s3://bucket/p", "substitutions": [("x/good", "../../good")]},
        DestinationError,
        ["s3://bucket/p/../../good", "leaves its bucket"],
    ),
    pytest.param(
        {"x": "good"}, {"base_directory": "o\0"}, SettingsError, ["base_directory 'o\\x00'", "NUL"]
    ),
    pytest.param(
        {"x": "good"},
        {"substitutions": [("x/good", "x/g\0")]},
        DestinationError,
        ["out/x/g\\x00'", "NUL"],
    ),
    pytest.param(
        {"x": "good"}, {"base_directory": "gs://b"}, SettingsError, ["'gs://b'", "s3://bucket"]
    ),
    pytest.param(
        {"x": "good"},
        {"local_copy": "gs://b"},
        SettingsError,
        ["local_copy 'gs://b'", "use a directory"],
    ),
    pytest.param(
        {"x": "good"},
        {"local_copy": "s3://bucket/p"},
        SettingsError,
        ["local_copy 's3://bucket/p'", "must be a directory"],
    ),
    pytest.param(
        {"x": "good"},
        {"regexp_substitutions": [("a", "b"), ("(", "c")]},
        SettingsError,
        ["regexp_substitutions: ('(', 'c')"],
    ),
    pytest.param(
        {"x": "good"},
        {"regexp_substitutions": [("a", "b"), ("a", r"\7")]},
        SettingsError,
        [r"regexp_substitutions: ('a', '\\7')"],
    ),
    pytest.param(
        {"x": "good"},
        {"base_directory": "s3://bucket/p", "s3_upload_args": {"Colour": "red"}},
        SettingsError,
        ["s3_upload_args", "'Colour'", "StorageClass"],
    ),
    pytest.param(
        {"x": "good"},
        {"base_directory": "s3://bucket/p", "s3_upload_args": {"SSECustomerKey": "hidden"}},
        SettingsError,
        ["s3_upload_args", "'SSECustomerKey'", "SSEKMSKeyId"],
    ),
    pytest.param(
        {"x": "good"},
        {"base_directory": "s3://bucket/p", "s3_upload_args": {"ChecksumSHA256": "x"}},
        SettingsError,
        ["s3_upload_args", "'ChecksumSHA256'"],
    ),
    pytest.param(
        {"x": "good"},
        {"base_directory": "s3://bucket/p", "creds_path": "c", "s3_profile": "p"},
        SettingsError,
        ["creds_path and s3_profile", "set one of them"],
    ),
    pytest.param(
        {"x": "good"},
        {"substitutions": [("x/good", "dir")]},
        DestinationError,
        ["good cannot become the file", "out/dir", "substitution"],
    ),
    pytest.param(
        {"x": "d"},
        {"substitutions": [("x/d", "file")]},
        DestinationError,
        ["needs the directory", "out/file is not a directory", "move it away"],
    ),
]


@pytest.mark.parametrize(("fields", "inputs", "error", "words"), BAD_INPUTS)
def test_a_bad_input_is_named_and_nothing_is_written(
    fields: dict[str, object],
    inputs: dict[str, object],
    error: type[DataSinkError],
    words: list[str],
    workdir: Path,
) -> None:
    for name in ("good", "d/good", "loop/a", "out/file", "out/dir/a"):
        file(workdir / name, name)
    os.mkfifo(workdir / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    (workdir / "dangling").symlink_to("nowhere")
    (workdir / "loop/up").symlink_to(workdir / "loop")

    def found() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_mtime_ns) for path in workdir.rglob("*"))

    before = found()
    with pytest.raises(error) as caught:
        ours(fields, **{"local_copy": str(workdir / "copy"), **inputs})
    assert [word for word in words if word not in str(caught.value)] == []
    assert "hidden" not in str(caught.value)
    assert found() == before
