"""Verify: each change of a delivered file is found, and nothing else is reported."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from nipype_datasink import DataSink, ManifestError, S3Error, SettingsError, verify
from nipype_datasink import manifest_verification as module
from nipype_datasink.delivery.manifest import ManifestRow, to_text
from nipype_datasink.delivery.progress import Progress, hidden_progress
from nipype_datasink.delivery.progress_display import Hidden
from nipype_datasink.delivery.progress_text import Amount, Phase
from nipype_datasink.delivery.verify_report import State
from nipype_datasink.manifest_verification import read_manifests
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.recorded_objects import compare_objects
from tests.conftest import RecordedProgress, as_user

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

FILES, CHANGES = 40, 200


def deliver(
    workdir: Path, files: int = FILES, more: Mapping[str, Any] = {}, **inputs: Any
) -> list[Path]:
    """Sink files of 1 to 40 bytes, and `more` by the names of inputs; return their sources."""
    sources = [workdir / "in" / f"{number}.dat" for number in range(files)]
    sources[0].parent.mkdir()
    for number, path in enumerate(sources):
        path.write_bytes(random.Random(number).randbytes(number + 1))
    sink = DataSink(
        **{
            "base_directory": f"{workdir}/out",
            "sink_manifest_dir": f"{workdir}/m",
            "local_hardlink": False,
            **inputs,
        }
    )
    for name, value in {"x": [str(path) for path in sources], **more}.items():
        setattr(sink.inputs, name, value)
    sink.run()
    return sources


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Return bytes that differ in one bit."""
    index = chance.randrange(len(data))
    return data[:index] + bytes([data[index] ^ 1 << chance.randrange(8)]) + data[index + 1 :]


def changed_in_size(data: bytes, chance: random.Random) -> bytes:
    return data + b"\n" if chance.random() < 0.5 else data[:-1]


def emptied(_data: bytes, _chance: random.Random) -> bytes:
    return b""


def test_nothing_is_reported_if_nothing_has_changed(workdir: Path) -> None:
    deliver(workdir, local_copy=f"{workdir}/copy")
    os.utime(workdir / "out/x/1.dat", (1, 1))
    report = verify(workdir / "m")
    assert (report.recorded, report.changed, report.missing, report.ok) == (80, (), (), True)
    assert str(report) == "80 recorded: 80 as delivered"
    (manifest,) = (workdir / "m").iterdir()
    assert verify(str(manifest)) == report
    assert verify(manifest, manifest) == report


def deliver_everything(workdir: Path, **inputs: Any) -> None:
    """Sink single files, companions and directories into a base directory and a copy."""
    folder = workdir / "folder"
    (folder / "a/b").mkdir(parents=True)
    for number in range(20):
        for path in (folder / f"{number}", folder / f"a/{number}", folder / f"a/b/{number}"):
            path.write_bytes(random.Random(str(path)).randbytes(number + 1))
    images = [workdir / f"image {number}.img" for number in range(10)]
    for image in images:
        for extension in (".img", ".hdr", ".mat"):
            image.with_suffix(extension).write_bytes(extension.encode() + image.name.encode())
    more = {"images": list(map(str, images)), "deep.folder": str(folder)}
    deliver(workdir, more=more, local_copy=f"{workdir}/copy", **inputs)


class FilesOnDisk:
    """Delivered files, as a stranger changes them."""

    acts: ClassVar = [flipped, changed_in_size, emptied, None, "directory"]

    def change(self, path: str, act: Any, chance: random.Random) -> None:
        place = Path(path)
        data = place.read_bytes()
        place.unlink()
        if act == "directory":
            place.mkdir()
        elif act:
            place.write_bytes(act(data, chance))


class Objects:
    """Delivered objects, as a stranger changes them."""

    acts: ClassVar = [flipped, changed_in_size, emptied, None]

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def change(self, address: str, act: Any, chance: random.Random) -> None:
        item = self._bucket.Object(address.split("/", 3)[3])
        if act is None:
            item.delete()
        else:
            item.put(Body=act(item.get()["Body"].read(), chance))


def plant_changes(manifests: str, places: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Change 200 of the files that manifests list; return those changed and those missing.

    Parameters
    ----------
    places
        What changes the files that begin with a text.
    """
    rows = [row for each in read_manifests([manifests], {}) for row in each]
    chance, changed, missing = random.Random(0), set[str](), set[str]()
    for path in chance.sample([row.destination for row in rows], CHANGES):
        place = next(places[start] for start in places if path.startswith(start))
        act = chance.choice(place.acts)
        place.change(path, act, chance)
        (changed if act else missing).add(path)
    return changed, missing


def test_each_change_on_disk_is_found(workdir: Path) -> None:
    deliver_everything(workdir)
    changed, missing = plant_changes("m", {"/": FilesOnDisk()})
    report = verify(workdir / "m")
    assert (set(report.changed), set(report.missing)) == (changed, missing)
    assert len(report.changed) + len(report.missing) == CHANGES < report.recorded
    assert not report.ok


def test_a_rerun_restores_what_has_changed_or_is_missing(workdir: Path) -> None:
    sources = deliver(workdir, files=3)
    out = workdir / "out/x"
    (out / "1.dat").write_bytes(b"--")
    (out / "2.dat").unlink()
    report = verify(f"{workdir}/m")
    assert (len(report.changed), len(report.missing)) == (1, 1)
    sink = DataSink(base_directory=f"{workdir}/out", sink_manifest_dir=f"{workdir}/m")
    sink.inputs.x = list(map(str, sources))
    sink.run()
    report = verify(f"{workdir}/m")
    assert (report.ok, report.recorded) == (True, 3)


def test_a_report_is_text_html_and_json(workdir: Path) -> None:
    deliver(workdir, files=4)
    (workdir / "out/x/0.dat").unlink()
    (workdir / "out/x/1.dat").write_text("<b>")
    shutil.move(workdir / "out/x/3.dat", workdir / "out/x/2.dat")
    report = verify(workdir / "m")
    out = f"{workdir}/out/x"
    assert str(report).splitlines() == [
        f"changed  {out}/1.dat",
        f"changed  {out}/2.dat",
        f"missing  {out}/0.dat",
        f"missing  {out}/3.dat",
        "4 recorded: 2 changed, 2 missing",
    ]
    assert report._repr_html_() == f"<pre>{report}</pre>"
    assert report.as_json() == {
        "ok": False,
        "recorded": 4,
        "changed": [{"destination": f"{out}/1.dat"}, {"destination": f"{out}/2.dat"}],
        "missing": [{"destination": f"{out}/0.dat"}, {"destination": f"{out}/3.dat"}],
        "unreadable": [],
    }


def test_skipped_sources_are_not_counted(workdir: Path) -> None:
    deliver(workdir, files=1, sink_missing="skip")
    sink = DataSink(base_directory=f"{workdir}/out", sink_manifest_dir=f"{workdir}/m")
    sink.inputs.trait_set(sink_missing="skip")
    sink.inputs.y = "/none/a"
    sink.run()
    assert len(os.listdir(workdir / "m")) == 2
    assert str(verify(workdir / "m")) == "1 recorded: 1 as delivered"


def test_an_empty_manifest_has_nothing_to_verify(workdir: Path) -> None:
    DataSink(base_directory=f"{workdir}/out", sink_manifest_dir=f"{workdir}/m").run()
    assert str(verify("m")) == "0 recorded"


def test_a_rewritten_source_changes_what_is_a_hard_link_to_it(workdir: Path) -> None:
    first, *_ = deliver(workdir, local_hardlink=True)
    first.write_bytes(b"?")
    assert verify(workdir / "m").changed == (f"{workdir}/out/x/0.dat",)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_files_that_cannot_be_read_are_reported(workdir: Path) -> None:
    deliver(workdir, files=2)
    for directory in (workdir, *workdir.parents[:-2]):
        directory.chmod(0o755)
    (workdir / "out/x/0.dat").chmod(0o600)
    with as_user(65534):
        report = verify(workdir / "m")
    assert report.unreadable == {f"{workdir}/out/x/0.dat": "Permission denied"}
    assert not report.ok
    assert str(report).splitlines() == [
        f"not readable  {workdir}/out/x/0.dat: Permission denied",
        "2 recorded: 1 as delivered, 1 not readable",
    ]


def test_other_files_are_no_manifests(workdir: Path) -> None:
    (workdir / "participants.tsv").write_text("subject\n01\n")
    with pytest.raises(ManifestError, match=r"holds no manifest; give the value of sink_manifest"):
        verify(workdir)
    with pytest.raises(ManifestError, match=r"participants.tsv: it is not a manifest"):
        verify("participants.tsv")
    with pytest.raises(ManifestError, match=r"/none cannot be read: No such file") as caught:
        verify("/none")
    assert isinstance(caught.value.original, FileNotFoundError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(SettingsError, match="unknown scheme"):
        verify("gs://b/m")


# S3.


@pytest.fixture
def store(bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    return bucket


def in_s3(workdir: Path) -> None:
    deliver(workdir, base_directory="s3://mybucket/out", sink_manifest_dir="s3://mybucket/m")


def test_each_change_in_s3_and_its_copy_is_found(store: Bucket, workdir: Path) -> None:
    deliver_everything(
        workdir, base_directory="s3://mybucket/out", sink_manifest_dir="s3://mybucket/m"
    )
    places = {"/": FilesOnDisk(), "s3://": Objects(store)}
    changed, missing = plant_changes("s3://mybucket/m", places)
    for download in (False, True):
        report = verify("s3://mybucket/m", download=download)
        assert (set(report.changed), set(report.missing)) == (changed, missing)
        assert len(report.changed) + len(report.missing) == CHANGES < report.recorded


def test_objects_sent_again_are_as_delivered_if_their_bytes_are(
    store: Bucket, workdir: Path
) -> None:
    in_s3(workdir)
    (manifest,) = store.objects.filter(Prefix="m/")
    text = manifest.get()["Body"].read().decode().replace("\t", "\t", 1)
    etag = store.Object("out/x/0.dat").e_tag.strip('"')
    manifest.put(Body=text.replace(etag, "0" * 32).encode())
    assert verify("s3://mybucket/m").changed == ("s3://mybucket/out/x/0.dat",)
    assert verify(f"s3://mybucket/{manifest.key}", download=True).ok


class Listing:
    """A client that lists objects of one byte, a thousand on a page, and counts the pages."""

    def __init__(self, keys: list[str]) -> None:
        self.pages = 0
        self._keys = keys

    def list_objects_v2(self, *, StartAfter: str = "", **_: object) -> dict[str, Any]:  # noqa: N803
        self.pages += 1
        rest = [key for key in self._keys if key > StartAfter]
        page = [{"Key": key, "Size": 1, "ETag": '"e"'} for key in rest[:1000]]
        return {"Contents": page, "IsTruncated": len(rest) > 1000}


@pytest.mark.parametrize("download", [False, True])
def test_files_and_bytes_that_are_verified_are_counted(
    download: bool, store: Bucket, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(workdir, base_directory="s3://mybucket", local_copy=f"{workdir}/copy")
    progress = RecordedProgress()
    monkeypatch.setattr(module, "Progress", lambda choose: progress)
    assert verify(workdir / "m", download=download).ok
    everything = Amount(files=FILES, size=sum(range(1, FILES + 1)))
    verifying = [each for each in progress.phases if each.phase is Phase.VERIFYING]
    assert [(each.state(0).place, each.state(0).done) for each in verifying] == [
        ("disk", everything),
        ("s3://mybucket", everything),
    ]
    assert [each.state(0).total for each in verifying] == [everything] * 2
    # Bytes that are read are counted before the end of the file.
    assert ((1, FILES) not in progress.counted) is download


def test_no_log_line_gets_between_the_lines_of_a_report(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(workdir)
    chosen: list[object] = []

    def record(choose: Callable[[], object]) -> Progress:
        chosen.append(choose())
        return hidden_progress()

    monkeypatch.setattr(module, "Progress", record)
    verify(workdir / "m")
    assert [type(each) for each in chosen] == [Hidden]


def test_many_objects_take_few_requests() -> None:
    keys = [f"out/{number:05}" for number in range(10_000)]
    client: Any = Listing(keys)
    bucket = BucketClient(client=client, name="mybucket", upload_args={})
    rows = [row(f"s3://mybucket/{key}", "e") for key in keys]
    found = compare_objects(bucket, rows, hidden_progress(), download=False)
    assert {finding.state for finding in found} == {State.AS_DELIVERED}
    assert len(found) == 10_000
    assert client.pages == 10


def row(destination: str, etag: str) -> ManifestRow:
    return ManifestRow(
        destination=destination,
        size=1,
        sha256="",
        etag=etag,
        status="new",
        verified=True,
        field="x",
        source="/work/x",
        node="",
        time="2026-11-26T10:00:00.250Z",
        base="s3://mybucket",
    )


def test_a_bucket_that_cannot_be_listed_is_an_error(store: Bucket, workdir: Path) -> None:
    (workdir / "manifest.tsv").write_text(to_text([row("s3://nosuchbucket/x", "")]))
    message = r"bucket does not exist.*objects cannot be verified"
    with pytest.raises(S3Error, match=message) as caught:
        verify("manifest.tsv")
    assert type(caught.value.original).__name__ == "NoSuchBucket"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(S3Error, match=r"bucket does not exist.*manifests cannot be read"):
        verify("s3://nosuchbucket/m")
    with pytest.raises(ManifestError, match="s3://mybucket/none holds no manifest"):
        verify("s3://mybucket/none")


def test_options_for_a_store_take_precedence_over_the_environment(
    bucket: Bucket, endpoint: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    (workdir / "keys").write_text(
        f"AWSAccessKeyId={keys['AWS_ACCESS_KEY_ID']}\n"
        f"AWSSecretKey={keys['AWS_SECRET_ACCESS_KEY']}\n"
    )
    bucket.put_object(Key="x", Body=b"x")
    (workdir / "manifest.tsv").write_text(to_text([row("s3://mybucket/x", "")]))
    for name in keys:
        monkeypatch.delenv(name, raising=False)
    options: dict[str, str] = {"creds_path": "keys", "endpoint_url": endpoint}
    assert verify("manifest.tsv", **options).ok  # type: ignore[arg-type]
