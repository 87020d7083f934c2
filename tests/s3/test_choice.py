"""Which transport is chosen, and why the AWS Common Runtime is not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from nipype_datasink import DataSink, S3Error, SettingsError
from nipype_datasink.s3 import has_crt
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import choose_transport
from nipype_datasink.s3.classic import ClassicTransport
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.crt.request import make_template
from nipype_datasink.s3.crt.transport import CrtTransport
from tests.conftest import contents
from tests.s3.conftest import counting
from tests.s3.scripted_store import Script

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

ENDPOINT = "http://127.0.0.1:9"


def choose(wanted: str, bucket: Any = "mybucket", **args: Any) -> object:
    if isinstance(bucket, str):
        bucket = open_bucket(bucket, ClientOptions(endpoint_url=args.pop("endpoint", ENDPOINT)))
    reached = BucketClient(client=bucket.meta.client, name=bucket.name, upload_args=args)
    return choose_transport(wanted, reached, estimator=ConcurrencyEstimator(), phase=counting())


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [("classic", ClassicTransport), ("crt", CrtTransport), ("auto", CrtTransport)],
)
def test_auto_chooses_the_runtime(credentials: None, wanted: str, kind: type) -> None:
    assert type(choose(wanted)) is kind


def check_not_chosen(why: str, bucket: Any = "mybucket", **args: Any) -> None:
    """Check that 'auto' does not choose the runtime, and that the error of 'crt' says why."""
    assert type(choose("auto", bucket, **args)) is ClassicTransport
    with pytest.raises(S3Error, match=f"(?s)'crt' cannot be used: .*{why}.*'auto' or 'classic'"):
        choose("crt", bucket, **args)


def test_the_runtime_needs_awscrt(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nipype_datasink.s3.choice.has_crt", lambda: False)
    check_not_chosen(r"pip install 'nipype-datasink\[crt\]'")


@pytest.mark.parametrize(
    ("installed", "enough"), [("0.36.4", False), ("0.37.0", True), ("1.0.0", True), (None, False)]
)
def test_the_runtime_needs_a_recent_awscrt(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, enough: bool
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr("nipype_datasink.s3.version", version)
    assert has_crt.__wrapped__() is enough


def test_the_runtime_does_not_send_to_an_injected_bucket(lone_bucket: Bucket) -> None:
    check_not_chosen("not opened by this sink", lone_bucket)


@pytest.mark.parametrize(
    "bucket", ["arn:aws:s3:eu-west-1:123456789012:accesspoint:mine", "base--use1-az4--x-s3"]
)
def test_the_runtime_does_not_send_to_special_buckets(credentials: None, bucket: str) -> None:
    check_not_chosen("an access point or a directory bucket", bucket)


def test_the_runtime_is_not_chosen_under_mock_aws(credentials: None) -> None:
    with mock_aws():
        check_not_chosen("mock_aws")


def test_files_are_sent_to_mock_aws(workdir: Path, credentials: None) -> None:
    (workdir / "a").write_text("a")
    sink = DataSink(base_directory="s3://mybucket", s3_transfer_client="auto", infields=["x"])
    sink.inputs.x = str(workdir / "a")
    with mock_aws(config={"core": {"mock_credentials": False}}):
        bucket = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="mybucket")
        sink.run()
        assert contents(bucket) == {"x/a": b"a"}


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_the_runtime_does_not_send_through_a_proxy(
    credentials: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    check_not_chosen("a proxy", endpoint="http://store.example.org")
    monkeypatch.setenv("NO_PROXY", "store.example.org")
    assert type(choose("auto", endpoint="http://store.example.org")) is CrtTransport


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"authentication": "v4a"}, "does not sign requests by 'v4a'"),
        ({"service": "s3-outposts"}, "does not sign requests by 'v4'"),
        ({"checksum_algorithm": "MD4"}, "does not support the checksum MD4"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_runtime_is_not_chosen_for_requests_that_it_cannot_make(
    credentials: None, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], why: str
) -> None:
    monkeypatch.setattr(
        "nipype_datasink.s3.choice.make_template",
        lambda bucket: replace(make_template(bucket), **change),
    )
    check_not_chosen(why)


def test_the_runtime_does_not_sign_bodies(credentials: None) -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(
        "[default]\ns3 =\n  payload_signing_enabled = true\n"
    )
    check_not_chosen("does not sign bodies")


@pytest.mark.parametrize(
    "settings", [{"bucket": "lone_bucket"}, {"s3_transfer_client": "crt"}], ids=str
)
def test_crt_that_cannot_send_is_an_error_before_anything_is_written(
    workdir: Path,
    lone_bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
) -> None:
    (workdir / "a").write_text("a")
    sink = DataSink(base_directory="s3://mybucket", s3_transfer_client="crt", infields=["x"])
    sink.inputs.x = str(workdir / "a")
    sink.inputs.local_copy = str(workdir / "copy")
    if "bucket" in settings:
        sink.inputs.bucket = lone_bucket
    else:
        monkeypatch.setattr("nipype_datasink.s3.choice.has_crt", lambda: False)
    with pytest.raises(SettingsError, match="s3_transfer_client 'crt'"):
        sink.run()
    assert not (workdir / "copy").exists()


FORKED = """
import os, sys
from nipype_datasink import DataSink
sink = DataSink(base_directory="s3://mybucket", infields=["x"], s3_endpoint_url=sys.argv[1])
sink.inputs.s3_transfer_client = "crt"
sink.inputs.x = __file__
assert sink.run().outputs.out_file
child = os.fork()
sink.inputs.container = "child" if child == 0 else "parent"
assert sink.run().outputs.out_file
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_sends_and_exits_normally(
    workdir: Path, credentials: None, script: Script
) -> None:
    (workdir / "run.py").write_text(FORKED)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "run.py", script.url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sent = sorted(request.path for request in script.requests_of("PutObject"))
    assert sent == [f"/mybucket/{name}x/run.py" for name in ("child/", "parent/", "")]
