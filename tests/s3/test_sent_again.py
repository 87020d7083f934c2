"""The log says once why many files of the same size are sent again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nipype_datasink import DataSink, FileTransfer, Outcome, Status
from nipype_datasink.s3.sent_again import Mismatch, describe_sent_again
from tests.conftest import contents

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

MANY = 12


@pytest.fixture
def sources(workdir: Path, sink: DataSink) -> list[Path]:
    """Files that the sink has delivered."""
    found = [workdir / f"{index:02}.txt" for index in range(MANY)]
    for path in found:
        path.write_text(path.name)
    sink.inputs.motion = list(map(str, found))
    sink.run()
    return found


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    return [text.partition(" ")[2] for text in messages if "sent again" in text]


def test_encryption_is_named(
    sources: list[Path], sink: DataSink, caplog: pytest.LogCaptureFixture
) -> None:
    assert not reasons(caplog)
    sink.inputs.encrypt_bucket_keys = True
    for _ in range(2):  # only the first of these runs sends anything
        sink.run()
    assert reasons(caplog) == [
        f"{len(sources)} files of the same size were sent again because the objects are not "
        "encrypted with AES256"
    ]


@pytest.mark.parametrize(
    ("changed", "content", "expected"),
    [
        (
            MANY - 2,
            "{}!",
            ["10 files of the same size were sent again because the objects hold other bytes"],
        ),
        (MANY - 3, "{}!", []),
        (MANY, "longer {}", []),
    ],
    ids=["many", "few", "of another size"],
)
def test_other_bytes_are_named_only_if_they_are_many_and_the_size_is_the_same(
    changed: int,
    content: str,
    expected: list[str],
    sources: list[Path],
    sink: DataSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for path in sources[:changed]:
        path.write_text(content.format(path.name[1:]))
    sink.run()
    assert reasons(caplog) == expected


def test_objects_without_a_digest_are_named(
    sources: list[Path],
    sink: DataSink,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = "nipype_datasink.s3.file_comparison"
    monkeypatch.setattr(f"{module}.digest_from_etag", lambda _: None)
    monkeypatch.setattr(f"{module}.digests_from_response", lambda _: [])
    with caplog.at_level(logging.INFO):
        sink.run()
    assert len(contents(bucket)) == len(sources)
    assert reasons(caplog) == [
        f"{len(sources)} files of the same size were sent again because no ETag or checksum shows "
        "whether the objects hold the same bytes"
    ]


def test_each_reason_counts_the_files_that_were_sent() -> None:
    transfers = [
        FileTransfer(source=f"/{index}", destination=f"s3://b/{index}", size=1)
        for index in range(5000)
    ]
    mismatches = dict.fromkeys(transfers, Mismatch.ENCRYPTION)
    mismatches |= dict.fromkeys(transfers[:10], Mismatch.BYTES)
    mismatches |= dict.fromkeys(transfers[10:19], Mismatch.UNKNOWN)
    sent = [Outcome(transfer=each, status=Status.SENT) for each in transfers]
    sent[-1] = Outcome(transfer=transfers[-1], status=Status.FAILED, cause=OSError())
    assert describe_sent_again(mismatches, sent, "aws:kms") == (
        "4,980 files of the same size were sent again because the objects are not encrypted with "
        "aws:kms; 10 files of the same size were sent again because the objects hold other bytes"
    )
    assert describe_sent_again({}, sent, None) == ""
