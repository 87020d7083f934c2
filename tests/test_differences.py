"""Intended differences from nipype: run both classes on the same inputs and compare."""

from __future__ import annotations

import http.server
import logging
import os
import pickle
import shutil
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


def make_file(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def run_sink(kind: type, fields: dict[str, object], **inputs: object) -> list[str]:
    interface = kind(**{"base_directory": os.path.abspath("out"), **inputs})
    for name, value in fields.items():
        setattr(interface.inputs, name, value)
    files: list[str] = interface.run().outputs.out_file
    return files


def run_datasink(fields: dict[str, object], **inputs: object) -> list[str]:
    return run_sink(DataSink, fields, **inputs)


def run_nipype(fields: dict[str, object], **inputs: object) -> list[str]:
    return run_sink(NipypeDataSink, fields, **inputs)


@pytest.mark.parametrize("source", ["./none", "dangling", "nowhere/none"])
def test_missing_source_raises_after_the_rest_is_delivered(source: str, workdir: Path) -> None:
    (workdir / "dangling").symlink_to("gone")
    make_file(workdir / "good")
    copy = str(workdir / "copy")
    with pytest.raises(MissingSourceError, match=f"y: {workdir / source} ") as caught:
        run_datasink({"y": source, "x": "good"}, local_copy=copy)
    places = [str(workdir / "out/x/good"), str(workdir / "copy/x/good")]
    assert [item.transfer.destination for item in caught.value.outcomes] == places
    assert pickle.loads(pickle.dumps(caught.value)).outcomes == caught.value.outcomes
    assert tree(workdir / "out") == tree(workdir / "copy") == {"x": None, "x/good": b"x"}
    assert run_nipype({"y": source, "x": "good"}) == places[:1]


def test_missing_sources_can_be_skipped(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_file(workdir / "good")
    fields: dict[str, object] = {"x": ["./none", "good"], "y": "/gone"}
    assert (
        run_datasink(fields, sink_missing="skip")
        == run_nipype(fields)
        == [str(workdir / "out/x/good")]
    )
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert warnings == [
        "2 sources are missing\n"
        f"  missing: x: {workdir}/none does not exist\n  missing: y: /gone does not exist"
    ]


def test_missing_source_raises_after_the_rest_is_delivered_to_s3(
    workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    make_file(workdir / "good")
    fields: dict[str, object] = {"x": "good", "y": "/none"}
    inputs = {"base_directory": "s3://mybucket/out", "bucket": bucket}
    with pytest.raises(MissingSourceError, match="y: /none does not exist"):
        run_datasink(fields, **inputs)
    assert contents(bucket) == {"out/x/good": b"x"}
    assert run_datasink(fields, sink_missing="skip", **inputs) == ["s3://mybucket/out/x/good"]
    with pytest.raises(Exception, match="none"):
        run_nipype({"y": "/none"}, **inputs)


def test_delivery_error_also_names_missing_sources(workdir: Path) -> None:
    make_file(workdir / "good")
    with pytest.raises(S3Error, match=r"(?s)not tried: .*/x/good.*y: /none does not"):
        run_datasink(
            {"x": "good", "y": "/none"},
            base_directory="s3://mybucket",
            creds_path="/nowhere/credentials.csv",
        )


def test_text_that_is_not_a_path_is_ignored_with_a_warning(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_file(workdir / "good")
    fields: dict[str, object] = {"@id": "sub-01_ses-M00", "x": ["good", "group A"]}
    assert run_datasink(fields) == run_nipype(fields) == [str(workdir / "out/x/good")]
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert warnings == [
        "ignored: @id: 'sub-01_ses-M00' is not the name of a file; "
        "x: 'group A' is not the name of a file"
    ]


def test_missing_source_error_suggests_the_misspelled_input(workdir: Path) -> None:
    with pytest.raises(MissingSourceError, match="base_directory"):
        run_datasink({"base_dir": "/nowhere"})


def test_empty_text_is_rejected(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    make_file(workdir / "private")
    elsewhere = tmp_path_factory.mktemp("else")
    with pytest.raises(SourceError, match="x: '' is empty text"):
        run_datasink({"x": ""}, base_directory=str(elsewhere))
    run_nipype({"x": ""}, base_directory=str(elsewhere))
    assert (elsewhere / "x" / workdir.name / "private").exists()


@pytest.mark.parametrize("source", ["/dev/null", "pipe", {"a": "b"}], ids=str)
def test_values_that_are_not_files_are_rejected(source: object, workdir: Path) -> None:
    os.mkfifo(workdir / "pipe")
    with pytest.raises(SourceError, match=r"^nothing was written: x: "):
        run_datasink({"x": source})
    assert run_nipype({"x": source}) == []


@pytest.mark.parametrize("value", [3, b"a"], ids=str)
def test_values_that_are_not_paths_are_rejected(value: object, workdir: Path) -> None:
    with pytest.raises(SourceError, match=r"x: .* is an? .*, not a path"):
        run_datasink({"x": value})
    with pytest.raises(TypeError):
        run_nipype({"x": value})


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
def test_nested_values_are_flattened(value: object, names: str, workdir: Path) -> None:
    make_file(workdir / "a")
    make_file(workdir / "b")
    assert run_datasink({"x": value}) == [str(workdir / "out/x" / name) for name in names]
    with pytest.raises((TypeError, IndexError)):
        run_nipype({"x": value})


@pytest.mark.parametrize(("field", "folder"), [("a..b", "a/b"), ("a.", "a")])
def test_empty_name_parts_add_no_folder(field: str, folder: str, workdir: Path) -> None:
    make_file(workdir / "f")
    assert run_datasink({field: "f"}) == [str(workdir / "out" / folder / "f")]
    with pytest.raises(IndexError):
        run_nipype({field: "f"})


def test_different_sources_with_one_destination_are_rejected(workdir: Path) -> None:
    make_file(workdir / "1/a", "one")
    make_file(workdir / "2/a", "two")
    with pytest.raises(CollisionError, match=f"{workdir}/1/a and {workdir}/2/a differ"):
        run_datasink({"x": ["1/a", "2/a"]})
    assert not (workdir / "out").exists()
    run_nipype({"x": ["1/a", "2/a"]})
    assert tree(workdir / "out/x") == {"a": b"two"}


def test_names_differing_in_case_do_not_overwrite_each_other(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if why := fuse.unavailable_reason():
        pytest.skip(why)
    make_file(workdir / "1/A", "one")
    make_file(workdir / "2/a", "two")
    fields: dict[str, object] = {"x": ["1/A", "2/a"]}
    real, mount = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("mount")
    with fuse.mounted(real, mount):
        run_nipype(fields, base_directory=str(mount))
        assert tree(real) == {"x": None, "x/a": b"two"}
        with pytest.raises(CollisionError, match="as one file: it ignores"):
            run_datasink(fields, base_directory=str(mount))
        assert tree(real) == {"x": None, "x/a": b"two"}


def test_too_long_names_are_rejected_before_writing(workdir: Path) -> None:
    make_file(workdir / "a")
    make_file(workdir / "b")
    fields: dict[str, object] = {"x": ["a", "b"]}
    rules = [("x/b", f"x/{LONG}{LONG}")]
    with pytest.raises(DestinationError, match="of 400 bytes; the file system allows 255"):
        run_datasink(fields, substitutions=rules)
    assert not (workdir / "out").exists()
    with pytest.raises(OSError, match="File name too long"):
        run_nipype(fields, substitutions=rules)
    assert tree(workdir / "out") == {"x": None, "x/a": b"x"}


def test_equal_sources_can_share_a_destination(workdir: Path) -> None:
    make_file(workdir / "1/a")
    make_file(workdir / "2/a")
    fields: dict[str, object] = {"x": ["1/a", "2/a"]}
    assert run_datasink(fields) == run_nipype(fields) == [str(workdir / "out/x/a")] * 2


def test_source_delivered_by_the_same_run_is_missing(workdir: Path) -> None:
    make_file(workdir / "a")
    fields: dict[str, object] = {"x": "a", "y": "out/x/a"}
    with pytest.raises(MissingSourceError, match="does not exist until this sink has delivered it"):
        run_datasink(fields)
    (workdir / "out/x/a").unlink()
    assert run_nipype(fields) == [str(workdir / "out/x/a"), str(workdir / "out/y/a")]


def test_directory_that_contains_its_destination_is_rejected(workdir: Path) -> None:
    make_file(workdir / "d/a")
    before = tree(workdir)
    with pytest.raises(SourceError, match="contains its own destination"):
        run_datasink({"x": "d"}, base_directory=str(workdir / "d"))
    assert tree(workdir) == before


def test_directory_that_links_to_its_ancestor_is_rejected(workdir: Path) -> None:
    make_file(workdir / "d/a")
    (workdir / "d/up").symlink_to(workdir / "d")
    with pytest.raises(SourceError, match=f"{workdir}/d/up links to {workdir}/d, a directory that"):
        run_datasink({"x": "d"})
    assert not (workdir / "out").exists()
    with pytest.raises(Exception, match="up/up/up"):
        run_nipype({"x": "d"})


def test_files_are_replaced_by_renaming(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_file(workdir / "a", "new")
    other = make_file(workdir / "other", "old")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    os.link(other, place)
    replaced: list[str] = []
    replace = os.replace

    def watch(source: str, target: str) -> None:
        replaced.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    run_datasink({"x": "a"})
    assert replaced == [str(place)]
    assert (place.read_text(), other.read_text()) == ("new", "old")


def test_link_sunk_to_its_own_path_is_kept(workdir: Path) -> None:
    make_file(workdir / "real")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    place.symlink_to(workdir / "real")
    assert run_datasink({"x": str(place)}) == [str(place)]
    assert place.is_symlink()
    with pytest.raises(FileNotFoundError):
        run_nipype({"x": str(place)})
    assert not place.is_symlink()


def test_link_to_the_source_is_replaced_by_the_file(workdir: Path) -> None:
    make_file(workdir / "a")
    place = workdir / "out/x/a"
    place.parent.mkdir(parents=True)
    for run in (run_datasink, run_nipype):
        place.unlink(missing_ok=True)
        place.symlink_to(workdir / "a")
        run({"x": "a"})
        assert not place.is_symlink()
        assert place.read_text() == "x"


def test_remove_dest_dir_keeps_files_of_the_same_run(workdir: Path) -> None:
    make_file(workdir / "1/d/a")
    make_file(workdir / "2/d/b")
    fields: dict[str, object] = {"x": ["1/d", "2/d"]}
    run_datasink(fields, remove_dest_dir=True)
    assert tree(workdir / "out/x/d").keys() == {"a", "b"}
    run_nipype(fields, remove_dest_dir=True)
    assert tree(workdir / "out/x/d").keys() == {"b"}


def test_remove_dest_dir_keeps_sources(workdir: Path) -> None:
    source = make_file(workdir / "out/x/d/a")
    run_datasink({"x": "out/x/d"}, remove_dest_dir=True)
    assert source.exists()
    with pytest.raises(FileNotFoundError):
        run_nipype({"x": "out/x/d"}, remove_dest_dir=True)
    assert not source.exists()


def test_remove_dest_dir_removes_nothing_if_a_source_is_missing(workdir: Path) -> None:
    make_file(workdir / "d/a")
    old = make_file(workdir / "out/x/d/old")
    fields: dict[str, object] = {"x": "d", "y": "./none"}
    with pytest.raises(MissingSourceError):
        run_datasink(fields, remove_dest_dir=True)
    assert old.exists()
    run_datasink(fields, remove_dest_dir=True, sink_missing="skip")
    assert not old.exists()
    make_file(old)
    run_nipype(fields, remove_dest_dir=True)
    assert not old.exists()


def test_remove_dest_dir_rejects_a_file_in_place_of_a_folder(workdir: Path) -> None:
    make_file(workdir / "d/was-file/a")
    old = make_file(workdir / "out/x/d/was-file")
    with pytest.raises(DestinationError, match="move it away or change the destination"):
        run_datasink({"x": "d"}, remove_dest_dir=True)
    assert old.exists()
    run_nipype({"x": "d"}, remove_dest_dir=True)
    assert tree(workdir / "out/x/d").keys() == {"was-file", "was-file/a"}


def test_missing_creds_path_is_an_error(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else")
    with pytest.raises(CredentialsError):
        DataSink(creds_path="none")._return_aws_keys()
    assert NipypeDataSink(creds_path="none")._return_aws_keys() == ("somebody else", None)


def test_remove_dest_dir_never_empties_the_base(workdir: Path) -> None:
    make_file(workdir / "d/a")
    old = make_file(workdir / "out/old")
    inputs = {"remove_dest_dir": True, "substitutions": [("/out/x/d", "/out")]}
    with pytest.raises(DestinationError, match="would empty the base directory"):
        run_datasink({"x": "d"}, **inputs)
    assert old.exists()
    run_nipype({"x": "d"}, **inputs)
    assert not old.exists()


def test_only_needed_directories_are_created(workdir: Path) -> None:
    make_file(workdir / "a")
    run_datasink({"x": "a"}, container="sub", substitutions=[("sub/x/a", "y/b")])
    assert tree(workdir / "out") == {"sub": None, "y": None, "y/b": b"x"}


def test_value_given_with_infields_is_sunk(workdir: Path) -> None:
    make_file(workdir / "a")
    given: dict[str, object] = {"infields": ["x"], "x": "a"}
    assert run_datasink({}, **given) == [str(workdir / "out/x/a")]
    assert run_nipype({}, **given) == []


def test_infields_add_no_field_trait_added(workdir: Path) -> None:
    make_file(workdir / "a")
    make_file(workdir / "x")
    assert run_datasink({"x": "a"}, infields=["x"]) == [str(workdir / "out/x/a")]
    # nipype treats the event trait_added of traits as one more field. It does so only in some
    # states of a process, so this runs in a new one.
    code = (
        "from nipype.interfaces.io import DataSink\n"
        "sink = DataSink(base_directory='out', infields=['x'])\n"
        "print('fields:', *sink.inputs._outputs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fields: trait_added" in done.stdout


def test_companions_keep_their_own_extension(workdir: Path) -> None:
    for extension in ("img", "hdr", "mat"):
        make_file(workdir / f"a.{extension}", extension)
    inputs = {"substitutions": [("a.img", "a.nii")]}
    run_datasink({"x": "a.img"}, **inputs)
    assert tree(workdir / "out/x") == {"a.nii": b"img", "a.hdr": b"hdr", "a.mat": b"mat"}
    run_nipype({"x": "a.img"}, base_directory=str(workdir / "nipype"), **inputs)
    assert tree(workdir / "nipype/x") == {"a.nii": b"img", "a.mat": b"hdr"}


@pytest.mark.parametrize("source", ["d/a.hdr", "d"])
def test_a_directory_is_no_companion(source: str, workdir: Path) -> None:
    make_file(workdir / "d/a.hdr", "hdr")
    make_file(workdir / "d/a.img/x")
    run_datasink({"x": source})
    whole = {"d": None, "d/a.hdr": b"hdr", "d/a.img": None, "d/a.img/x": b"x"}
    assert tree(workdir / "out/x") == (whole if source == "d" else {"a.hdr": b"hdr"})
    with pytest.raises(Exception, match="Is a directory"):
        run_nipype({"x": source}, base_directory=str(workdir / "nipype"))


def test_local_base_and_local_copy_are_both_written(workdir: Path) -> None:
    make_file(workdir / "a")
    copy = str(workdir / "copy")
    both = [str(workdir / "out/x/a"), f"{copy}/x/a"]
    assert run_datasink({"x": "a"}, local_copy=copy) == both
    assert all(Path(path).read_text() == "x" for path in both)
    assert run_nipype({"x": "a"}, local_copy=copy) == both[1:]


@pytest.mark.parametrize("run", [run_datasink, run_nipype])
def test_local_copy_without_base_is_the_only_destination(run: Any, workdir: Path) -> None:
    source = make_file(workdir / "a")
    interface = {run_datasink: DataSink, run_nipype: NipypeDataSink}[run](
        local_copy=str(workdir / "copy")
    )
    interface.inputs.x = str(source)
    assert interface.run().outputs.out_file == [str(workdir / "copy/x/a")]


def test_unknown_scheme_is_rejected(workdir: Path) -> None:
    make_file(workdir / "a")
    with pytest.raises(SettingsError, match="base_directory 'gs://x' has the unknown scheme"):
        run_datasink({"x": "a"}, base_directory="gs://x")
    assert tree(workdir) == {"a": b"x"}
    run_nipype({"x": "a"}, base_directory="gs://x")
    assert (workdir / "gs:/x/x/a").exists()


def test_tilde_is_the_home_directory(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_file(workdir / "a")
    monkeypatch.setenv("HOME", str(workdir / "home"))
    assert run_datasink({"x": "a"}, base_directory="~/out") == [str(workdir / "home/out/x/a")]
    assert run_nipype({"x": "a"}, base_directory="~/out") == [str(workdir / "~/out/x/a")]


def test_path_made_from_an_address_is_rejected(workdir: Path) -> None:
    make_file(workdir / "a")
    for base in (
        "s3:/bucket",
        os.path.abspath("s3://bucket"),
        " s3://bucket",
        "arn:aws:s3:::bucket",
    ):
        with pytest.raises(SettingsError, match="for 's3://bucket', set"):
            run_datasink({"x": "a"}, base_directory=base)
    with pytest.raises(SettingsError, match="set base_directory to it"):
        run_datasink({"x": "a"}, container="s3://bucket")
    assert tree(workdir) == {"a": b"x"}
    run_nipype({"x": "a"}, base_directory="s3:/bucket")
    assert (workdir / "s3:/bucket/x/a").exists()


def test_empty_local_copy_means_not_set(workdir: Path) -> None:
    make_file(workdir / "a")
    assert run_datasink({"x": "a"}, local_copy="") == [str(workdir / "out/x/a")]
    assert not (workdir / "x").exists()
    assert run_nipype({"x": "a"}, local_copy="") == [str(workdir / "x/a")]


def test_creds_path_needs_no_profile(
    workdir: Path, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make_file(workdir / "keys", f"AWSAccessKeyId={ACCESS_KEY}\nAWSSecretKey={SECRET_KEY}\n")
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    make_file(workdir / "a")
    inputs = {"base_directory": "s3://mybucket", "creds_path": str(keys)}
    assert run_datasink({"x": "a"}, s3_endpoint_url=endpoint, **inputs) == ["s3://mybucket/x/a"]
    with pytest.raises(UnboundLocalError):
        run_nipype({"x": "a"}, **inputs)


def test_content_type_follows_the_extension(workdir: Path, bucket: Bucket, endpoint: str) -> None:
    make_file(workdir / "a.html")
    run_datasink({"x": "a.html"}, base_directory="s3://mybucket", s3_endpoint_url=endpoint)
    assert bucket.Object("x/a.html").content_type == "text/html"
    run_nipype({"y": "a.html"}, base_directory="s3://mybucket", bucket=bucket)
    assert "octet-stream" in bucket.Object("y/a.html").content_type


def test_absolute_container_stays_below_the_s3_base(
    workdir: Path, bucket: Bucket, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_file(workdir / "a")
    inputs = {"base_directory": "s3://mybucket/o", "container": str(workdir / "sub")}
    (place,) = run_datasink({"x": "a"}, s3_endpoint_url=endpoint, **inputs)
    assert place == f"s3://mybucket/o{workdir}/sub/x/a"
    assert sum("is an absolute path" in item.getMessage() for item in caplog.records) == 1


@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_two_slashes_at_the_start_are_one(workdir: Path, slashes: str) -> None:
    make_file(workdir / "a.txt")
    make_file(workdir / "d/b.txt")
    sources = [f"{slashes}{workdir}/{name}" for name in ("a.txt", "d")]
    (workdir / "out").symlink_to(f"/{workdir}/real")
    (workdir / "real").mkdir()
    inputs: dict[str, object] = {
        "base_directory": f"{slashes}{workdir}/out",
        "container": f"{slashes}{workdir}/out/c",
    }
    theirs = run_sink(NipypeDataSink, {"x": sources}, **inputs)
    expected = tree(workdir / "real")
    (workdir / "real/c").rename(workdir / "theirs")

    files = run_datasink({"x": sources}, **inputs)

    assert files == [f"/{path.lstrip('/')}" for path in theirs]
    assert tree(workdir / "real") == expected
    assert run_datasink({"x": sources}, **inputs, remove_dest_dir=True) == files
    assert tree(workdir / "real") == expected


def test_a_rule_may_write_two_slashes(workdir: Path) -> None:
    make_file(workdir / "a.txt")
    make_file(workdir / "d/b.txt")
    (workdir / "elsewhere").mkdir()
    rules = [(f"{workdir}/out/x/", f"/{workdir}/elsewhere/")]
    sources = [f"{workdir}/{name}" for name in ("a.txt", "d")]
    theirs = run_sink(NipypeDataSink, {"x": sources}, substitutions=rules)
    expected = tree(workdir / "elsewhere")
    shutil.rmtree(workdir / "elsewhere")

    assert run_datasink({"x": sources}, substitutions=rules) == theirs
    assert tree(workdir / "elsewhere") == expected
    assert run_datasink({"x": sources}, substitutions=rules, remove_dest_dir=True) == theirs
    assert tree(workdir / "elsewhere") == expected


def test_control_characters_are_escaped_in_messages(workdir: Path) -> None:
    with pytest.raises(MissingSourceError) as caught:
        run_datasink({"x": "/gone\nERROR\x1b[2J"})
    assert "\nERROR" not in str(caught.value)
    assert r"/gone\nERROR\x1b[2J" in str(caught.value)


def test_substitutions_are_logged_as_in_nipype(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_file(workdir / "a")
    logs = []
    for run in (run_datasink, run_nipype):
        caplog.clear()
        run({"x": "a"}, substitutions=[("/a", "/b")])
        logs.append([m for m in map(logging.LogRecord.getMessage, caplog.records) if "sub:" in m])
    assert logs[0] == logs[1] == [f"sub: {workdir}/out/x/a -> {workdir}/out/x/b"]


def test_positional_base_directory_is_rejected(workdir: Path) -> None:
    with pytest.raises(SettingsError, match="base_directory='out'"):
        DataSink("out")
    assert {"o", "u", "t"} <= set(NipypeDataSink("out").inputs.copyable_trait_names())


def test_inputs_can_be_set_on_the_sink(workdir: Path) -> None:
    make_file(workdir / "a")
    made = [DataSink(), NipypeDataSink()]
    for each in made:
        each.base_directory = str(workdir / "out")
        each.inputs.x = str(workdir / "a")
    assert [each.run().outputs.out_file for each in made] == [
        [str(workdir / "out/x/a")],
        [str(workdir / "x/a")],
    ]


def test_directories_can_be_path_objects(workdir: Path) -> None:
    make_file(workdir / "a")
    inputs: dict[str, object] = {
        "base_directory": workdir / "out",
        "container": Path("sub"),
    }
    assert run_datasink({"x": "a"}, **inputs) == [str(workdir / "out/sub/x/a")]
    with pytest.raises(TraitError):
        run_nipype({"x": "a"}, **inputs)


def test_s3_error_is_raised_after_the_local_copy_is_complete(
    workdir: Path, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(workdir / "a")
    make_file(workdir / "b")
    inputs = {"base_directory": "s3://no-such-bucket/p", "local_copy": str(workdir / "copy")}
    with pytest.raises(S3Error) as caught:
        run_datasink({"x": ["a", "b"]}, s3_endpoint_url=endpoint, s3_max_concurrency=1, **inputs)
    message = str(caught.value)
    assert message.startswith("s3://no-such-bucket/p: the bucket does not exist; check its name\n")
    assert "\n  2 files: 2 not tried\n" in message
    assert tree(workdir / "copy/x") == {"a": b"x", "b": b"x"}

    def fail(self: object, name: str) -> None:
        raise OSError("no such bucket")

    monkeypatch.setattr(NipypeDataSink, "_fetch_bucket", fail)
    with pytest.raises(UnboundLocalError):
        run_nipype({"x": "a"}, **inputs)


def test_s3_error_names_the_failed_object_and_the_sent_ones(
    workdir: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(workdir / "a")
    make_file(workdir / "b")
    client = bucket.meta.client
    put = client.put_object

    def reject_b(**arguments: Any) -> Any:
        if arguments["Key"].endswith("b"):
            raise ClientError({"Error": {"Code": "InvalidTag", "Message": "bad tag"}}, "PutObject")
        return put(**arguments)

    monkeypatch.setattr(client, "put_object", reject_b)
    with pytest.raises(S3Error, match="bad tag") as caught:
        run_datasink({"x": ["a", "b"]}, base_directory="s3://mybucket/p", bucket=bucket)
    assert "failed: s3://mybucket/p/x/b" in str(caught.value)
    assert "\n  2 files: 1 new, 1 failed\n" in str(caught.value)
    assert contents(bucket) == {"p/x/a": b"x"}


def test_s3_holds_the_same_tree_as_a_directory(workdir: Path, bucket: Bucket) -> None:
    for name in ("a.img", "a.hdr", "d/b", "else/c"):
        make_file(workdir / name)
    (workdir / "d/link").symlink_to(workdir / "else")
    bucket.put_object(Key="p/x/d/old", Body=b"old")
    fields: dict[str, object] = {"x": ["a.img", "d"]}
    inputs = {"base_directory": "s3://mybucket/p", "bucket": bucket, "remove_dest_dir": True}
    run_nipype(fields, **inputs)
    assert contents(bucket).keys() == {"p/x/a.img", "p/x/d/b", "p/x/d/old"}
    run_datasink(fields, **inputs)
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
def test_keys_are_the_paths_of_a_local_run(
    base: str, key: str, nipypes_key: str, workdir: Path, bucket: Bucket
) -> None:
    make_file(workdir / "a")
    assert run_datasink({"x": "a"}, base_directory=base, bucket=bucket) == [f"s3://mybucket/{key}"]
    assert contents(bucket).keys() == {key}
    bucket.objects.all().delete()
    run_nipype({"x": "a"}, base_directory=base, bucket=bucket)
    assert contents(bucket).keys() == {nipypes_key}


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # nipype leaves files open
def test_unchanged_multipart_objects_are_not_sent_again(
    workdir: Path, bucket: Bucket, requests: Counter[str]
) -> None:
    make_file(workdir / "a", "x" * (9 << 20))
    inputs = {"base_directory": "s3://mybucket/p", "bucket": bucket}
    sent = []
    for run in (run_datasink, run_datasink, run_nipype):
        requests.clear()
        run({"x": "a"}, **inputs)
        sent.append(requests["UploadPart"])
    assert sent == [2, 0, 2]


def test_unchanged_kms_objects_are_not_sent_again(
    workdir: Path, bucket: Bucket, requests: Counter[str]
) -> None:
    make_file(workdir / "a")
    arguments = {"ServerSideEncryption": "aws:kms", "ChecksumAlgorithm": "SHA256"}
    sent = []
    for _ in range(2):
        requests.clear()
        run_datasink(
            {"x": "a"}, base_directory="s3://mybucket/p", bucket=bucket, s3_upload_args=arguments
        )
        sent.append(requests["PutObject"])
    assert sent == [1, 0]


class RejectEverything(http.server.BaseHTTPRequestHandler):
    """Answer 403 to every request and keep its Authorization header."""

    headers_seen: list[str | None]

    def reject(self) -> None:
        self.headers_seen.append(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b"<Error><Code>AccessDenied</Code></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = reject  # noqa: N815 - names of http.server

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def rejected_headers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """Start a store that rejects all requests; return their Authorization headers."""
    handler = type("Handler", (RejectEverything,), {"headers_seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield handler.headers_seen  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()
    forget_clients()


def test_rejected_credentials_never_become_anonymous(
    workdir: Path, credentials: None, rejected_headers: list[str | None]
) -> None:
    make_file(workdir / "a")
    with pytest.raises(S3Error, match="access is denied; check the credentials"):
        run_datasink({"x": "a"}, base_directory="s3://mybucket/p")
    assert rejected_headers
    assert None not in rejected_headers
    with pytest.raises(UnboundLocalError):
        run_nipype({"x": "a"}, base_directory="s3://mybucket/p", local_copy=str(workdir / "copy"))
    assert None in rejected_headers


SECRETS = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "HTTP_PROXY",
    "https_proxy",
]


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_of_the_environment_are_not_in_results(
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


@pytest.mark.filterwarnings("ignore")  # from rdflib, and prov leaves files open
def test_provenance_names_the_injected_bucket(
    workdir: Path, bucket: Bucket, provenance: None
) -> None:
    make_file(workdir / "a")

    def written(kind: type) -> Any:
        interface = kind(base_directory="s3://mybucket/p", bucket=bucket)
        interface.inputs.x = "a"
        return interface.run().provenance

    endpoint = bucket.meta.client.meta.endpoint_url
    assert f"bucket mybucket at {endpoint}" in written(DataSink).get_provn()
    assert written(NipypeDataSink) is None


def test_misspelled_input_is_sunk_with_a_warning(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_file(workdir / "a")
    place = [str(workdir / "out/base_dir/a")]
    assert run_nipype({"base_dir": "a"}) == place
    assert caplog.messages == []
    assert run_datasink({"base_dir": "a"}) == place
    warnings = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert warnings == ["input 'base_dir' is used as a folder name; did you mean 'base_directory'?"]


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
        {"x": "good"}, {"base_directory": "s3://a_/b"}, SettingsError, ["'a_' is not", "3 to 255"]
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
        ["local_copy 's3://bucket/p'", "is not a directory on disk"],
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
        ["set either creds_path or s3_profile, not both"],
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
def test_bad_input_is_named_and_nothing_is_written(
    fields: dict[str, object],
    inputs: dict[str, object],
    error: type[DataSinkError],
    words: list[str],
    workdir: Path,
) -> None:
    for name in ("good", "d/good", "loop/a", "out/file", "out/dir/a"):
        make_file(workdir / name, name)
    os.mkfifo(workdir / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    (workdir / "dangling").symlink_to("nowhere")
    (workdir / "loop/up").symlink_to(workdir / "loop")

    def found() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_mtime_ns) for path in workdir.rglob("*"))

    before = found()
    with pytest.raises(error) as caught:
        run_datasink(fields, **{"local_copy": str(workdir / "copy"), **inputs})
    assert [word for word in words if word not in str(caught.value)] == []
    assert "hidden" not in str(caught.value)
    assert found() == before
