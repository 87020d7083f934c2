"""After SIGTERM or Ctrl-C during uploads, no parts remain and the process ends soon."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nipype_datasink import DataSink, DeliveryError
from tests.conftest import contents
from tests.faultproxy import Fault, Faults, Proxy

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

SINK = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from nipype_datasink import DataSink
address, transport, *sources = sys.argv[1:]
sink = DataSink(
    base_directory="s3://mybucket", s3_endpoint_url=address, s3_transfer_client=transport
)
sink.inputs.x = sources
sink.run()
"""
MAX_SECONDS = 60


@pytest.fixture
def large(workdir: Path) -> list[str]:
    """Three files that are sent in three parts each."""
    paths = [workdir / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(path.name.encode() * (17 << 20))
    return list(map(str, paths))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + MAX_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "no upload was started"
        time.sleep(0.05)


def begin(proxy: Proxy, transport: str, sources: list[str]) -> subprocess.Popen[bytes]:
    """Run a sink in another process."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SINK, proxy.address, transport, *sources],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_signal_leaves_no_upload_open(
    *, bucket: Bucket, proxy: Proxy, large: list[str], transport: str, number: signal.Signals
) -> None:
    proxy.set(Faults(kinds=(Fault.TRICKLE,), only="partNumber=2", pause=3))
    process = begin(proxy, transport, large)
    wait_for(lambda: list(bucket.multipart_uploads.all()))
    process.send_signal(number)
    output, _ = process.communicate(timeout=MAX_SECONDS)
    assert process.returncode == -number
    line = (
        r"s3://mybucket: interrupted while sending: "
        r"\d of 3 files \(\d+ of 53\.5 MB\) are in place"
    )
    assert re.search(line, output.decode())
    assert list(bucket.multipart_uploads.all()) == []
    assert contents(bucket) == {}


def test_sigterm_does_not_wait_for_a_store_that_does_not_answer(
    bucket: Bucket, proxy: Proxy, large: list[str], transport: str
) -> None:
    """The timeouts of botocore alone would take three or four minutes."""
    proxy.set(Faults(kinds=(Fault.HANG,), only="partNumber|^DELETE", pause=600))
    process = begin(proxy, transport, large)
    wait_for(proxy.hits)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=MAX_SECONDS)
    assert process.returncode == -signal.SIGTERM
    for upload in bucket.multipart_uploads.all():
        upload.abort()


def test_a_failure_leaves_no_upload_open(
    bucket: Bucket, proxy: Proxy, large: list[str], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    theirs = bucket.Object("another-users").initiate_multipart_upload()
    sink = DataSink(
        base_directory="s3://mybucket", s3_endpoint_url=proxy.address, s3_transfer_client=transport
    )
    sink.inputs.x = large
    proxy.set(Faults(kinds=(Fault.INTERNAL_ERROR,), only="/x/b.*partNumber=2"))
    with pytest.raises(DeliveryError, match="failed: s3://mybucket/x/b"):
        sink.run()
    assert proxy.hits()[Fault.INTERNAL_ERROR] >= 2
    assert [upload.id for upload in bucket.multipart_uploads.all()] == [theirs.id]
    assert sorted(contents(bucket)) == ["x/a", "x/c"]
    theirs.abort()
