"""Test the command line."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from nipype_datasink.cli import main
from nipype_datasink.demo import series
from tests.conftest import contents, tree

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


def demo(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", *arguments])


@pytest.fixture
def one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "_SERIES", series._SERIES[:1])


def test_demo_runs_without_arguments_and_leaves_no_files(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, one_series: None
) -> None:
    (workdir / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(workdir / "tmp"))
    before = dict(os.environ)

    result = demo()

    assert result.exit_code == 0, result.output
    assert tree(workdir) == {"tmp": None}
    assert dict(os.environ) == before


def test_demo_prints_what_was_delivered_and_that_nothing_is_resent(
    workdir: Path, one_series: None
) -> None:
    output = demo().output

    assert "s3://mybucket/path/to/output/dir" in output
    assert re.search(r"mean_fine\.nii +[\d.]+ MiB  AES256", output)
    assert re.search(r"local copy  11 files, equal to the bucket byte for byte", output)
    assert re.search(r"second run  11 files, 0 sent, .* 0 of them writes\)", output)


def test_demo_writes_to_the_users_bucket(
    workdir: Path, endpoint: str, bucket: Bucket, one_series: None
) -> None:
    bucket.put_object(Key="try/mine.txt", Body=b"mine")

    result = demo("--to", "s3://mybucket/try", "--endpoint-url", endpoint, "--directory", "kept")

    assert result.exit_code == 0, result.output
    stored = contents(bucket)
    assert stored.pop("try/mine.txt") == b"mine"
    copies = {name: data for name, data in tree(Path("kept/local_copy")).items() if data}
    assert stored == {f"try/{name}": data for name, data in copies.items()}
    assert {"sub001/motion/sub001_motion.txt", "sub001/mean/mean.hdr"} < set(copies)


def test_missing_bucket_is_an_error_of_one_line(
    workdir: Path, endpoint: str, credentials: None, one_series: None
) -> None:
    result = demo("--to", "s3://nowhere/try", "--endpoint-url", endpoint)

    assert result.exit_code == 1
    assert "the bucket does not exist" in result.output
    assert isinstance(result.exception, SystemExit)


def test_demo_to_a_directory_is_an_error(workdir: Path) -> None:
    result = demo("--to", "out")

    assert result.exit_code == 2
    assert "'out' is not of the form s3://bucket/prefix" in result.output
    assert tree(workdir) == {}


def test_endpoint_without_bucket_is_an_error(workdir: Path) -> None:
    result = demo("--endpoint-url", "http://127.0.0.1:9")

    assert result.exit_code == 2
    assert "--endpoint-url needs --to" in result.output


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("moto.moto_server.werkzeug_app", "the demo needs moto"),
        ("nipype_datasink.demo.run", "install the packages of the demo"),
    ],
    ids=["moto", "demo"],
)
def test_missing_package_is_an_error_with_the_command_to_install_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    result = demo()

    assert result.exit_code == 1
    assert message in result.output
    assert "pip install 'nipype-datasink[demo]'" in result.output
