"""Keys that a store treats as the same."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from nipype_datasink import DataSink, S3Error, Status
from tests.conftest import contents
from tests.s3.scripted_store import Reply, Request, Script

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

NAMES = [unicodedata.normalize(form, "b\u00e4r.txt") for form in ("NFC", "NFD")]


def make_files(workdir: Path, *contents: str) -> list[str]:
    paths = [workdir / "in" / name for name in NAMES]
    paths[0].parent.mkdir()
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    return [str(path) for path in paths]


def ignore_unicode_forms(script: Script) -> None:
    """Store objects as a gateway to a file system that ignores Unicode forms."""
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


def test_a_file_that_another_file_has_overwritten_is_a_failure(
    script: Script, workdir: Path, credentials: None, transfer_client: str
) -> None:
    ignore_unicode_forms(script)
    with pytest.raises(S3Error, match="which now holds the bytes of another") as caught:
        sink_into(script, transfer_client, make_files(workdir, "one", "two")).run()
    statuses = [outcome.status for outcome in caught.value.outcomes]
    assert sorted(statuses, key=str) == [Status.FAILED, Status.NEW]


def test_equal_files_may_become_one_object(
    script: Script, workdir: Path, credentials: None, transfer_client: str
) -> None:
    ignore_unicode_forms(script)
    sink_into(script, transfer_client, make_files(workdir, "one", "one")).run()


def test_files_count_as_sent_if_the_store_cannot_be_read(
    script: Script, workdir: Path, credentials: None, transfer_client: str
) -> None:
    sink_into(script, transfer_client, make_files(workdir, "one", "two")).run()
    assert len(script.requests_of("GetObject")) == 2


def test_s3_distinguishes_similar_names(sink: DataSink, bucket: Bucket, workdir: Path) -> None:
    sink.inputs.x = make_files(workdir, "one", "two")
    sink.run()
    assert sorted(contents(bucket).values()) == [b"one", b"two"]
