"""After SIGKILL at any moment, no manifest lists a file that is not there, or other bytes."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nipype_datasink import DataSink, VerifyReport, verify
from nipype_datasink.delivery.manifest import from_text
from tests.conftest import contents, tree
from tests.integration.conftest import Count, Record
from tests.integration.test_crashes import duration, killed

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

FILES = 60
State = dict[str, bytes]
OLD, NEW = range(50), range(10, FILES)  # the numbers of the files in both versions


def make_version(directory: Path, version: range) -> State:
    """Write a version of the folder: every fifth file has other bytes in each version."""
    directory.mkdir(exist_ok=True)
    for number in range(FILES):
        path = directory / f"{number:02}.dat"
        path.unlink(missing_ok=True)
        if number in version:
            marker = b"%d " % version.start if number % 5 == 0 else b""
            path.write_bytes(marker + b"%d " % number * (number**2))
    return {f"run/{name}": data or b"" for name, data in tree(directory).items()}


class Places:
    """Where files and manifests go: on disk, or into a bucket."""

    def __init__(self, bucket: Bucket | None, endpoint: str) -> None:
        self._bucket = bucket
        root = "s3://mybucket" if bucket else os.getcwd()
        self.base, self.manifests = f"{root}/out", f"{root}/m"
        self.endpoint = endpoint if bucket else None

    def sink(self, *, remove: bool) -> DataSink:
        made = DataSink(
            infields=["@x"],
            base_directory=self.base,
            sink_manifest_dir=self.manifests,
            remove_dest_dir=remove,
            local_hardlink=False,
        )
        setattr(made.inputs, "@x", os.path.abspath("run"))
        if self.endpoint:
            made.inputs.trait_set(s3_endpoint_url=self.endpoint, s3_transfer_client="classic")
        return made

    def verify(self) -> VerifyReport:
        return verify(self.manifests, endpoint_url=self.endpoint)

    def read(self, folder: str) -> State:
        if self._bucket is None:
            return {name: data for name, data in tree(Path(folder)).items() if data is not None}
        stored = contents(self._bucket).items()
        return {
            key.removeprefix(f"{folder}/"): data
            for key, data in stored
            if key.startswith(f"{folder}/")
        }

    def read_manifest(self) -> bytes | None:
        """Return the text of the manifest, if there is one.

        A kill may leave a temporary file, which no reader takes for a manifest.
        """
        found = [data for name, data in self.read("m").items() if not name.startswith(".")]
        assert len(found) <= 1
        return found[0] if found else None

    def check(self, text: bytes, there: State, wanted: State, new: State) -> None:
        """Compare a manifest and what `verify` finds with what a killed run has left.

        Only files that this run has replaced may differ from those of an older manifest.
        """
        listed = {row.destination for row in from_text(os.fsdecode(text))}
        paths = {destination.removeprefix(f"{self.base}/") for destination in listed}
        assert paths <= there.keys(), "a manifest lists files that are missing"
        changed = {path for path in paths if there[path] != wanted[path]}
        # SeaweedFS stores an empty object if a connection ends before the first byte of the body.
        truncated = [b""] if self.endpoint else []
        assert all(there[path] in [new[path], *truncated] for path in changed)
        report = self.verify()
        assert {path.removeprefix(f"{self.base}/") for path in report.changed} == changed
        assert not report.missing


@pytest.fixture(params=["disk", "S3"])
def places(request: pytest.FixtureRequest, workdir: Path, bucket: Bucket, endpoint: str) -> Places:
    return Places(bucket if request.param == "S3" else None, endpoint)


@pytest.mark.parametrize("remove", [False, True], ids=["", "remove_dest_dir"])
def test_killed_runs_leave_no_wrong_manifest(
    *, places: Places, remove: bool, count: Count, record: Record
) -> None:
    folder, sink = Path("run").resolve(), places.sink(remove=remove)

    def start_over() -> State:
        make_version(folder, OLD)
        sink.run()
        return make_version(folder, NEW)

    start_over()
    longest = duration(sink, start_over)
    chance, rounds, seen = random.Random(1), count(27, 4), Counter[str]()
    for _ in range(rounds):
        new = start_over()
        before, old = places.read_manifest(), places.read("out")
        seen["runs interrupted"] += killed(sink, after=chance.uniform(0, longest))
        after, there = places.read_manifest(), places.read("out")
        if after is None:
            assert remove
            seen["left no manifest"] += 1
        elif after == before:
            places.check(after, there, old, new)
            seen["left the older manifest"] += 1
        else:
            places.check(after, there, new, new)
            assert places.verify().ok
        sink.run()
        assert places.verify().ok
    where = "S3" if places.endpoint else "disk"
    record(f"Killed while a manifest exists, {where}", {"random moments": rounds, **seen})
    assert seen["runs interrupted"] >= count(15, 1)
