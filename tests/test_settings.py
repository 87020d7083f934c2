"""Test settings: precedence, warnings about ignored inputs, and errors."""

from __future__ import annotations

import logging
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nipype import Node, config
from nipype.interfaces.base import isdefined

from nipype_datasink import DataSink, SettingsError
from nipype_datasink.settings import Settings
from tests.conftest import contents

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


def file(path: Path, content: str = "x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def test_inputs_that_are_not_set_have_plain_defaults() -> None:
    settings = Settings.from_inputs(DataSink().inputs, [])
    assert settings == Settings(local_hardlink=settings.local_hardlink)
    assert all(isdefined(getattr(settings, each.name)) for each in fields(settings))


def test_bucket_that_is_text_is_an_error(workdir: Path) -> None:
    sink = DataSink(base_directory="s3://mybucket", bucket="mybucket")
    with pytest.raises(SettingsError, match="set it to a boto3 Bucket"):
        sink.plan()


def test_invalid_container_is_an_error(workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir), container="a\0b")
    with pytest.raises(SettingsError, match=r"container 'a.x00b' contains a NUL character"):
        sink.plan()


@pytest.mark.parametrize(
    ("asked", "configured", "linked"),
    [
        (None, "true", True),
        (None, "false", False),
        (True, "false", True),
        (False, "true", False),
    ],
)
def test_local_hardlink_overrides_the_configuration(
    asked: bool | None, configured: str, linked: bool, workdir: Path
) -> None:
    config.set("execution", "try_hard_link_datasink", configured)
    source = file(workdir / "a")
    sink = DataSink(base_directory=str(workdir / "out"))
    sink.inputs.x = source
    if asked is not None:
        sink.inputs.local_hardlink = asked
    (place,) = sink.run().outputs.out_file
    assert os.path.samefile(source, place) is linked


def test_encryption_in_upload_args_overrides_encrypt_bucket_keys(
    workdir: Path, bucket: Bucket
) -> None:
    sink = DataSink(
        base_directory="s3://mybucket",
        bucket=bucket,
        encrypt_bucket_keys=True,
        s3_upload_args={"ServerSideEncryption": "aws:kms"},
    )
    sink.inputs.x = file(workdir / "a")
    sink.run()
    assert bucket.Object("x/a").server_side_encryption == "aws:kms"


@pytest.mark.parametrize("name", ["s3_endpoint_url", "s3_region", "s3_profile"])
def test_settings_ignored_because_of_an_injected_bucket_are_logged(
    name: str, workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    sink = DataSink(base_directory="s3://mybucket", bucket=bucket)
    setattr(sink.inputs, name, "nowhere")
    sink.inputs.x = file(workdir / "a")
    sink.run()
    warnings = [item.getMessage() for item in caplog.records if item.levelno == logging.WARNING]
    assert warnings == [f"{name} is ignored, because bucket is set and has its own"]
    assert contents(bucket) == {"x/a": b"x"}


def test_local_copy_in_the_base_directory_is_ignored(workdir: Path) -> None:
    sink = DataSink(base_directory="out", local_copy=str(workdir / "out"))
    sink.inputs.x = file(workdir / "a")
    assert sink.run().outputs.out_file == [str(workdir / "out/x/a")]


def test_without_base_directory_outputs_go_to_the_working_directory(workdir: Path) -> None:
    sink = DataSink()
    sink.inputs.x = file(workdir / "in/a")
    assert sink.run().outputs.out_file == [str(workdir / "x/a")]


def test_unknown_upload_args_are_an_error_on_disk_too(workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"), s3_upload_args={"Nonsense": "1"})
    sink.inputs.x = file(workdir / "a")
    with pytest.raises(SettingsError, match="'Nonsense'"):
        sink.run()
    assert not (workdir / "out").exists()


@pytest.mark.parametrize("base", ["out", "s3://bucket"])
def test_creds_path_and_s3_profile_together_are_an_error(base: str, workdir: Path) -> None:
    sink = DataSink(base_directory=base, creds_path="/c", s3_profile="p")
    sink.inputs.x = file(workdir / "a")
    with pytest.raises(SettingsError, match="set either creds_path or s3_profile, not both"):
        sink.run()
    assert not (workdir / "out").exists()


@pytest.mark.parametrize(
    "name", ["local_copy", "container", "strip_dir", "creds_path", "s3_profile", "s3_region"]
)
def test_empty_text_means_that_an_input_is_not_set(name: str, workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"))
    setattr(sink.inputs, name, "")
    sink.inputs.x = file(workdir / "in/a")
    assert sink.run().outputs.out_file == [str(workdir / "out/x/a")]
    assert not (workdir / "x").exists()


def test_empty_s3_profile_does_not_contradict_creds_path(workdir: Path) -> None:
    sink = DataSink(base_directory="s3://bucket", creds_path="/c", s3_profile="")
    sink.inputs.x = file(workdir / "a")
    assert sink.plan().transfers


def warnings_of(
    sink: DataSink, workdir: Path, caplog: pytest.LogCaptureFixture, *, node: bool
) -> list[str]:
    sink.inputs.x = file(workdir / "in/a")
    caplog.clear()
    Node(sink, name="sink", base_dir=str(workdir)).run() if node else sink.run()
    return [item.getMessage() for item in caplog.records if item.levelno == logging.WARNING]


@pytest.mark.parametrize("name", ["base_directory", "local_copy"])
def test_relative_directory_in_a_node_logs_a_warning(
    name: str, workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = DataSink(base_directory=str(workdir / "out"))
    setattr(sink.inputs, name, "backup")
    (warning,) = warnings_of(sink, workdir, caplog, node=True)
    assert warning.startswith(f"{name} 'backup' is relative, and a node runs in its own directory")
    assert repr(str(workdir / "sink/backup")) in warning
    assert not warnings_of(sink, workdir, caplog, node=False)


@pytest.mark.parametrize("path", ["{}/copy", "~/copy", ""])
def test_absolute_directory_in_a_node_logs_no_warning(
    path: str, workdir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(workdir))
    sink = DataSink(base_directory=str(workdir / "out"), local_copy=path.format(workdir))
    assert not warnings_of(sink, workdir, caplog, node=True)


@pytest.mark.parametrize("node", [True, False])
def test_absolute_container_in_s3_logs_one_warning(
    workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture, node: bool
) -> None:
    sink = DataSink(base_directory="s3://mybucket/o", bucket=bucket, container="/data/sub")
    (warning,) = warnings_of(sink, workdir, caplog, node=node)
    assert warning.startswith(
        "container '/data/sub' is an absolute path, and becomes part of every"
    )
    assert contents(bucket) == {"o/data/sub/x/a": b"x"}


def test_absolute_container_on_disk_logs_no_warning(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = DataSink(base_directory=str(workdir / "out"), container=str(workdir / "sub"))
    assert not warnings_of(sink, workdir, caplog, node=False)
