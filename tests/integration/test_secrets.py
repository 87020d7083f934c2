"""No secret is in anything that a sink leaves behind, plain or encoded."""

from __future__ import annotations

import base64
import gzip
import logging
import os
import pickle
import secrets
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import boto3
import pytest
from nipype import Function, Node, Workflow, config

from nipype_datasink import DataSink, S3Error
from tests import stores
from tests.faultproxy import Faults, Proxy

LOGGERS = ("", "nipype.interface", "nipype.workflow", "nipype.utils", "nipype.filemanip")

# botocore's own DEBUG log is not searched: it may show secrets, and the documentation says so.
NOT_OURS = ("botocore", "boto3", "s3transfer", "urllib3")


def secret() -> str:
    """Return a text that looks different when it is encoded."""
    return f"{secrets.token_hex(8)}/+={secrets.token_hex(8)}"


@dataclass(frozen=True)
class Planted:
    """A key whose secret parts appear nowhere else."""

    key: str = field(default_factory=secret)
    token: str = field(default_factory=secret)

    @property
    def settings(self) -> dict[str, str]:
        return {
            "aws_access_key_id": "AKIDEXAMPLEEXAMPLE",
            "aws_secret_access_key": self.key,
            "aws_session_token": self.token,
        }

    def found_in(self, data: bytes) -> bool:
        return any(form in data for word in (self.key, self.token) for form in forms(word))


def forms(word: str) -> Iterator[bytes]:
    yield word.encode()
    yield word[:16].encode()
    yield quote(word).encode()
    yield quote(word, safe="").encode()
    yield quote_plus(word).encode()
    for offset in range(3):  # wherever in a longer text that was encoded it may have stood
        yield base64.b64encode(b"x" * offset + word.encode())[4:-4]
        yield base64.urlsafe_b64encode(b"x" * offset + word.encode())[4:-4]


def in_environment(planted: Planted, _: DataSink, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in planted.settings.items():
        monkeypatch.setenv(name.upper(), value)


def in_creds_path(planted: Planted, sink: DataSink, _: pytest.MonkeyPatch) -> None:
    sink.inputs.creds_path = os.environ["AWS_SHARED_CREDENTIALS_FILE"] + ".csv"
    Path(sink.inputs.creds_path).write_text(_ini(planted, "default"))


def in_profile(planted: Planted, sink: DataSink, _: pytest.MonkeyPatch) -> None:
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(_ini(planted, "lab"))
    sink.inputs.s3_profile = "lab"


def in_bucket(planted: Planted, sink: DataSink, _: pytest.MonkeyPatch) -> None:
    session: Any = boto3.session.Session(**planted.settings)  # type: ignore[arg-type]
    resource = session.resource(
        "s3", region_name="us-east-1", endpoint_url=sink.inputs.s3_endpoint_url
    )
    sink.inputs.bucket = resource.Bucket("mybucket")
    config.set("execution", "write_provenance", "false")  # nipype cannot encode a bucket


def _ini(planted: Planted, section: str) -> str:
    lines = [f"{name} = {value}" for name, value in planted.settings.items()]
    return "\n".join([f"[{section}]", *lines, ""])


WAYS = [in_environment, in_creds_path, in_profile, in_bucket]


@pytest.fixture(scope="module")
def spoiled() -> Iterator[Proxy]:
    """A store that accepts any key, behind a proxy."""
    with stores.moto() as store, stores.faulty(store) as proxy:
        client = boto3.client(
            "s3",
            endpoint_url=store,
            aws_access_key_id="a",
            aws_secret_access_key="b",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="mybucket")
        yield proxy


@pytest.fixture
def everything(workdir: Path) -> Iterator[None]:
    """Let nipype write every file that it can write."""
    config.update_config(
        {
            "execution": {
                "create_report": "true",
                "write_provenance": "true",
                "crashdump_dir": str(workdir / "crash"),
                "crashfile_format": "pklz",
            }
        }
    )
    yield
    config.set_default_config()


def made(source: str) -> str:
    return source


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what writes provenance
@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
@pytest.mark.parametrize("way", WAYS)
def test_no_secret_is_left_behind(
    *,
    spoiled: Proxy,
    everything: None,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[..., None],
    fails: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    planted = Planted()
    sink = DataSink(base_directory="s3://mybucket", s3_endpoint_url=spoiled.address)
    sink.inputs.sink_manifest_dir = str(workdir / "manifests")
    way(planted, sink, monkeypatch)
    spoiled.set(Faults(expires_after=0) if fails else Faults())
    (workdir / "a").write_text("a")
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    node = Node(sink, "sink")
    with pytest.raises(RuntimeError) if fails else nullcontext():  # nipype's word for a crash
        workflow_of(node, workdir).run()
    places = [path for path in workdir.rglob("*") if planted.found_in(content(path))]
    of_source = workdir / "workflow" / "source"
    if way is in_environment:  # nipype's own reports are nipype's; so the search does find things
        assert {path.name for path in places} == {"result_source.pklz", "report.rst"}
        assert all(path.is_relative_to(of_source) for path in places)
    else:
        assert places == []
    assert bool(list(workdir.glob("crash/*.pklz"))) is fails
    assert bool(list(workdir.glob("manifests/*.tsv"))) is not fails
    assert (workdir / "workflow/sink/not_delivered.tsv").exists() is fails
    assert (workdir / "workflow/sink/result_sink.pklz").exists()
    assert not any(planted.found_in(text) for text in said(sink, node, caplog))


def workflow_of(node: Node, directory: Path) -> Workflow:
    workflow = Workflow("workflow", base_dir=str(directory))
    source = Node(Function(["source"], ["x"], made), "source")
    source.inputs.source = str(directory / "a")
    workflow.connect(source, "x", node, "x")
    return workflow


def content(path: Path) -> bytes:
    if path.is_dir():
        return b""
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def said(sink: DataSink, node: Node, caplog: pytest.LogCaptureFixture) -> Iterator[bytes]:
    """Yield everything that a sink shows, also after a second run."""
    sink.inputs.x = os.path.abspath("a")
    for record in caplog.records:
        if not record.name.startswith(NOT_OURS):
            yield f"{record.getMessage()} {record.args} {record.exc_text}".encode()
    for thing in (sink, node):
        yield f"{thing!r} {thing} {thing.inputs!r} {thing.inputs}".encode()
        yield pickle.dumps(thing)
    yield str(sink.inputs.get_hashval()).encode()
    try:
        yield repr(sink.run().runtime.dictcopy()).encode()
    except S3Error as error:
        yield pickle.dumps(error)
        yield "".join(traceback.format_exception(error)).encode()
        yield repr(error.outcomes).encode()
