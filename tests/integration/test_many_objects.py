"""Many unchanged objects of a real store are verified within few requests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nipype_datasink import DataSink, verify
from tests.integration.conftest import Count

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

FILES, MOST_REQUESTS = 10_000, 12
FEW_FILES, FEW_REQUESTS = 1_500, 4  # of an everyday run: two pages of the listing


def test_many_unchanged_objects_take_few_requests(
    workdir: Path,
    bucket: Bucket,
    endpoint: str,
    requests: Counter[str],
    count: Count,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    folder = workdir / "folder"
    folder.mkdir()
    files = count(FILES, FEW_FILES)
    for number in range(files):
        (folder / f"{number}").write_text(f"{number}")
    sink = DataSink(base_directory="s3://mybucket/out", sink_manifest_dir="s3://mybucket/m")
    sink.inputs.trait_set(s3_transfer_client="crt")
    sink.inputs.x = str(folder)
    sink.run()

    requests.clear()
    report = verify("s3://mybucket/m")
    assert (report.ok, report.recorded) == (True, files)
    assert requests.total() <= count(MOST_REQUESTS, FEW_REQUESTS), requests

    bucket.put_object(Key="out/x/folder/500", Body=b"005")
    bucket.Object("out/x/folder/77").delete()
    report = verify("s3://mybucket/m")
    assert report.changed == ("s3://mybucket/out/x/folder/500",)
    assert report.missing == ("s3://mybucket/out/x/folder/77",)
