"""Keys that a store takes for one."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from nipype_datasink import DataSink, S3Error, Status
from tests.conftest import contents
from tests.s3.script import Reply, Request, Script

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

NAMES = [unicodedata.normalize(form, "b\u00e4r.txt") for form in ("NFC", "NFD")]


def make_files(workdir: Path, *contents: str) -> list[str]:
    paths = [workdir / "in" / name for name in NAMES]
    paths[0].parent.mkdir()
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    return [str(path) for path in paths]


def take_names_for_one(script: Script) -> None:
    """Keep objects as a gateway before a file system does that ignores Unicode forms."""
    stored: dict[str, bytes] = {}

    def name(request: Request) -> str:
        return unicodedata.normalize("NFC", unquote(request.path))

    def put(request: Request) -> None:
        stored[name(request)] = request.body

    script.rule("PutObject", put)
    script.rule("GetObject", lambda request: Reply(body=stored[name(request)].decode()))


def sink_into(script: Script, transfer_client: str, files: list[str]) -> DataSink:
    made = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=script.url,
        s3_transfer_client=transfer_client,
    )
    made.inputs.x = files
    return made


def test_a_file_that_another_of_the_run_has_replaced_is_a_failure(
    script: Script, workdir: Path, credentials: None, transfer_client: str
) -> None:
    take_names_for_one(script)
    with pytest.raises(S3Error, match="which now holds the bytes of another") as caught:
        sink_into(script, transfer_client, make_files(workdir, "one", "two")).run()
    statuses = [outcome.status for outcome in caught.value.outcomes]
    assert sorted(statuses, key=str) == [Status.FAILED, Status.SENT]


def test_equal_files_may_become_one(
    script: Script, workdir: Path, credentials: None, transfer_client: str
) -> None:
    take_names_for_one(script)
    sink_into(script, transfer_client, make_files(workdir, "one", "one")).run()


def test_a_store_that_cannot_be_read_is_believed(
    script: Script, workdir: Path, credentials: None, transfer_client: str
) -> None:
    sink_into(script, transfer_client, make_files(workdir, "one", "two")).run()
    assert len(script.asked("GetObject")) == 2


def test_s3_tells_names_apart(sink: DataSink, bucket: Bucket, workdir: Path) -> None:
    sink.inputs.x = make_files(workdir, "one", "two")
    sink.run()
    assert sorted(contents(bucket).values()) == [b"one", b"two"]
