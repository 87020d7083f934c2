"""What kind of file an object says it is."""

from __future__ import annotations

import logging
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nipype_datasink import DataSink
from nipype_datasink.s3.content_type import content_type_of

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

TYPES = {
    "report.html": "text/html",
    "REPORT.HTM": "text/html",
    "figure.svg": "image/svg+xml",
    "bold.nii.gz": "application/gzip",
    "figure.svgz": "application/gzip",
    "motion.par": "text/plain",
    "sub.01/events.tsv": "text/tab-separated-values",
    "bold.nii": None,
    "matrix.mat": None,
    "noextension": None,
    "dir.html/file": None,
    ".html": None,
    "": None,
}
SENT = {"a.html": "text/html", "b.nii.gz": "application/gzip", "c.unknown": None}


@pytest.mark.parametrize(("key", "expected"), TYPES.items())
def test_the_content_type_depends_on_the_name(key: str, expected: str | None) -> None:
    assert content_type_of(key) == expected


def test_the_types_of_the_operating_system_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimetypes, "types_map", {".html": "text/nonsense"})
    assert content_type_of("a.html") == "text/html"


def written(workdir: Path, **sizes: int) -> list[str]:
    paths = [workdir / "in" / name for name in SENT]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(sizes.get("size", 3)))
    return [str(path) for path in paths]


def types(bucket: Bucket) -> dict[str, Any]:
    items = {item.key.rpartition("/")[2]: item.Object() for item in bucket.objects.all()}
    assert not any(item.content_encoding for item in items.values())
    return {name: item.content_type for name, item in items.items()}


@pytest.mark.parametrize("size", [3, (8 << 20) + 1])
def test_files_are_sent_with_their_content_type(
    workdir: Path, sink: DataSink, bucket: Bucket, size: int
) -> None:
    sink.inputs.x = written(workdir, size=size)
    sink.run()
    found = types(bucket)
    assert found.pop("c.unknown") not in SENT.values()
    assert found == {name: kind for name, kind in SENT.items() if kind}


def test_the_content_type_of_the_user_wins(workdir: Path, sink: DataSink, bucket: Bucket) -> None:
    sink.inputs.s3_upload_args = {"ContentType": "application/x-mine"}
    sink.inputs.x = written(workdir)
    sink.run()
    assert set(types(bucket).values()) == {"application/x-mine"}


def test_the_content_type_depends_on_the_key(workdir: Path, sink: DataSink, bucket: Bucket) -> None:
    sink.inputs.substitutions = [("a.html", "a.svg")]
    sink.inputs.x = written(workdir)[:1]
    sink.run()
    assert types(bucket) == {"a.svg": "image/svg+xml"}


def test_content_types_are_sent_to_an_injected_bucket(workdir: Path, lone_bucket: Bucket) -> None:
    sink = DataSink(base_directory="s3://mybucket", bucket=lone_bucket)
    sink.inputs.x = written(workdir)[:2]
    sink.run()
    assert types(lone_bucket) == {"a.html": "text/html", "b.nii.gz": "application/gzip"}


class Fake:
    name = "mybucket"

    def __init__(self) -> None:
        self.given: list[Any] = []

    def Object(self, key: str) -> Any:  # noqa: N802 - boto3's name
        raise KeyError(key)

    def upload_file(self, source: str, key: str, **given: Any) -> None:
        self.given.append(given["ExtraArgs"])


def test_a_fake_bucket_gets_no_content_type(workdir: Path) -> None:
    sink = DataSink(base_directory="s3://mybucket", bucket=Fake())
    sink.inputs.x = written(workdir)
    sink.run()
    assert sink.inputs.bucket.given == [{}, {}, {}]


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"StorageClass": "STANDARD", "Metadata": {"a": "b"}}, "StorageClass, Metadata"),
        ({"ChecksumAlgorithm": "SHA256"}, None),
        ({}, None),
    ],
)
def test_arguments_that_are_not_compared_are_logged(
    workdir: Path,
    sink: DataSink,
    caplog: pytest.LogCaptureFixture,
    args: dict[str, Any],
    named: str | None,
) -> None:
    sink.inputs.x = written(workdir)
    sink.inputs.s3_upload_args = args
    sink.run()
    assert not any("not compared" in item.getMessage() for item in caplog.records)
    sink.run()
    lines = [item for item in caplog.records if "not compared" in item.getMessage()]
    assert [item.levelno for item in lines] == [logging.INFO] * (named is not None)
    if named:
        expected = f"s3://mybucket/out: {named} of 3 unchanged objects were not compared"
        assert lines[0].getMessage().startswith(expected)
