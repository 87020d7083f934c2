"""Files of unknown size arrive with all bytes that can be read from them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nipype_datasink import DataSink, FileTransfer, Outcome, S3Error, Status
from nipype_datasink.s3 import unknown_size
from nipype_datasink.s3.unknown_size import with_known_sizes
from tests.conftest import contents

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

VERSION = Path("/proc/version")
ONE_PAGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.parametrize("source", [VERSION, ONE_PAGE], ids=str)
def test_a_file_of_unknown_size_arrives_and_is_recognised(
    sink: DataSink, bucket: Bucket, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not source.exists():
        pytest.skip(f"no {source} here")
    assert source.stat().st_size != len(source.read_bytes())
    sink.inputs.x = str(source)
    for word in ("1 new", "1 unchanged"):
        caplog.clear()
        with caplog.at_level("INFO", logger="nipype.interface"):
            sink.run()
        assert word in caplog.text
    assert contents(bucket) == {f"out/x/{source.name}": source.read_bytes()}


def test_files_that_are_empty_or_one_page_long_are_sent_as_they_are(
    sink: DataSink, bucket: Bucket, workdir: Path
) -> None:
    (workdir / "empty").touch()
    (workdir / "page").write_bytes(bytes(4096))
    sink.inputs.x = [str(workdir / "empty"), str(workdir / "page")]
    sink.run()
    assert contents(bucket) == {"out/x/empty": b"", "out/x/page": bytes(4096)}


def test_a_file_without_end_fails_alone_and_its_copy_is_removed(
    sink: DataSink,
    bucket: Bucket,
    workdir: Path,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unknown_size, "_MAX_COPY_BYTES", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(workdir / "temporary"))
    (workdir / "temporary").mkdir()
    sink.inputs.x = [str(VERSION), *files]
    with pytest.raises(S3Error, match="copy it to another directory") as caught:
        sink.run()
    assert str(VERSION) in str(caught.value)
    assert len(contents(bucket)) == 3
    assert list((workdir / "temporary").iterdir()) == []


def test_an_outcome_names_the_source_and_the_size_that_was_read() -> None:
    planned = FileTransfer(source=str(VERSION), destination="s3://mybucket/x", size=0)
    with with_known_sizes([planned]) as files:
        (transfer,) = files.transfers
        assert Path(transfer.source).read_bytes() == VERSION.read_bytes()
        outcome = files.original(Outcome(transfer=transfer, status=Status.SENT))
    assert outcome.transfer == replace(planned, size=len(VERSION.read_bytes()))
    assert not Path(transfer.source).exists()


def test_an_interrupt_while_files_are_copied_leaves_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(unknown_size, "_copy", interrupt)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    transfer = FileTransfer(source=str(VERSION), destination="s3://b/x", size=0)
    with pytest.raises(KeyboardInterrupt), with_known_sizes([transfer]):
        pass
    assert list(tmp_path.iterdir()) == []
