"""Buckets that are not boto3's: mocks, fakes, and subclasses with their own upload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from nipype.interfaces import io as upstream

from nipype_datasink import DataSink, S3Error
from tests.conftest import contents
from tests.s3.fakes import Fake

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


class Refusal(Exception):
    """The error of a fake that rejects a file."""


@pytest.fixture
def images(workdir: Path) -> list[str]:
    """Two files below a folder of an iterable, and a folder."""
    for name in ("_run_1/a.nii.gz", "_run_1/b.txt", "d/x", "d/sub/y"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(name)
    return [str(workdir / "_run_1/a.nii.gz"), str(workdir / "_run_1/b.txt")]


def configured(kind: Any, bucket: Any, images: list[str], **inputs: Any) -> Any:
    sink = kind(base_directory="s3://mybucket/out", container="sub001", bucket=bucket)
    sink.inputs.trait_set(**inputs)
    setattr(sink.inputs, "motion.@par", images)
    sink.inputs.qa = str(Path(images[0]).parents[1] / "d")
    return sink


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"encrypt_bucket_keys": True},
        {"parameterization": False},
        {"substitutions": [("_run_", "run-"), ("s3://mybucket/out/sub001", "s3://mybucket/s1")]},
        {"regexp_substitutions": [(r"/[^/]*\.txt$", "/table.txt")]},
        {"strip_dir": "/_run_1"},
    ],
    ids=lambda inputs: next(iter(inputs), "plain"),
)
def test_a_fake_is_called_as_nipype_calls_it(images: list[str], inputs: dict[str, Any]) -> None:
    theirs, ours = Fake(), Fake()
    expected = configured(upstream.DataSink, theirs, images, **inputs).run().outputs.out_file
    assert configured(DataSink, ours, images, **inputs).run().outputs.out_file == expected
    assert sorted(ours.uploads) == sorted(theirs.uploads)
    assert len(ours.uploads) == 4


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nipype's own
def test_a_mock_is_called_as_nipype_calls_it(images: list[str]) -> None:
    theirs, ours = MagicMock(), MagicMock()
    for kind, bucket in ((upstream.DataSink, theirs), (DataSink, ours)):
        bucket.name = "mybucket"
        bucket.Object.return_value.e_tag = '"0"'
        configured(kind, bucket, images, encrypt_bucket_keys=True).run()

    def calls(bucket: MagicMock) -> list[tuple[Any, ...]]:
        return sorted(
            (*call.args, call.kwargs["ExtraArgs"]["ServerSideEncryption"], *sorted(call.kwargs))
            for call in bucket.upload_file.call_args_list
        )

    assert calls(ours) == calls(theirs)
    assert len(calls(ours)) == 4
    touched = {name.partition("(")[0] for name, _, _ in ours.mock_calls}
    assert touched <= {name.partition("(")[0] for name, _, _ in theirs.mock_calls}


def test_a_mock_without_return_values_gets_every_file(images: list[str]) -> None:
    bucket = MagicMock()
    outputs = configured(DataSink, bucket, images).run().outputs.out_file
    keys = [call.args[1] for call in bucket.upload_file.call_args_list]
    assert [f"s3://mybucket/{key}" for key in keys[:2]] == outputs[:2]


def test_the_callback_takes_a_number_of_bytes(images: list[str]) -> None:
    bucket = MagicMock()
    configured(DataSink, bucket, images).run()
    bucket.upload_file.call_args.kwargs["Callback"](5)


def test_an_unchanged_file_is_not_sent_to_a_fake(images: list[str]) -> None:
    bucket = Fake(out__sub001__qa__d__x=b"d/x")
    configured(DataSink, bucket, images).run()
    assert "out/sub001/qa/d/x" not in [key for _, key, _ in bucket.uploads]
    bucket.uploads.clear()
    configured(DataSink, bucket, images).run()
    assert bucket.uploads == []


def test_a_fake_with_another_name_gets_every_file(images: list[str]) -> None:
    bucket = Fake("other")
    outputs = configured(DataSink, bucket, images).run().outputs.out_file
    assert outputs[0] == "s3://other/out/sub001/motion/_run_1/a.nii.gz"
    assert bucket.uploads[0][1] == "out/sub001/motion/_run_1/a.nii.gz"


def test_a_fake_that_rejects_one_file_gets_the_others(images: list[str]) -> None:
    bucket = Fake()
    upload = bucket.upload_file

    def refuse(source: str, key: str, **args: Any) -> None:
        if key.endswith("a.nii.gz"):
            raise Refusal("no images")
        upload(source, key, **args)

    bucket.upload_file = refuse  # type: ignore[method-assign]
    with pytest.raises(S3Error, match=r"(?s): no images\n.*failed: .*a\.nii\.gz\n"):
        configured(DataSink, bucket, images).run()
    assert len(bucket.uploads) == 3


def test_a_fake_gets_companions_and_linked_folders(images: list[str], workdir: Path) -> None:
    for name in ("m.img", "m.hdr"):
        (workdir / name).write_text(name)
    (workdir / "d" / "link").symlink_to(workdir / "_run_1")
    bucket = Fake()
    configured(DataSink, bucket, [images[0], str(workdir / "m.img")]).run()
    keys = {key.removeprefix("out/sub001/") for _, key, _ in bucket.uploads}
    assert {"motion/m.img", "motion/m.hdr", "qa/d/link/a.nii.gz", "qa/d/link/b.txt"} < keys


@pytest.mark.parametrize(
    "inputs",
    [{"s3_endpoint_url": "http://127.0.0.1:9"}, {"s3_region": "x"}, {"s3_profile": "nobody"}],
    ids=lambda inputs: next(iter(inputs)),
)
def test_options_of_a_client_are_ignored_with_a_warning(
    images: list[str], inputs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bucket = Fake()
    configured(DataSink, bucket, images, **inputs).run()
    assert len(bucket.uploads) == 4
    assert f"{next(iter(inputs))} is ignored" in caplog.text


def test_creds_path_is_not_read_for_an_injected_bucket(images: list[str]) -> None:
    bucket = Fake()
    configured(DataSink, bucket, images, creds_path="/nowhere").run()
    assert len(bucket.uploads) == 4


def test_a_fake_that_is_false_is_a_bucket_too(images: list[str]) -> None:
    class Sized(Fake):
        def __len__(self) -> int:
            return len(self.uploads)

    fake = Sized()
    configured(DataSink, fake, images).run()
    assert len(fake.uploads) == 4


def test_one_line_says_that_files_in_a_fake_are_not_verified(
    images: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    configured(DataSink, Fake(), images).run()
    assert caplog.text.count("sent, not verified (and 3 more)") == 1


class Hooked(DataSink):
    """Overrides the upload of a source."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        bucket.upload_file(src, dst.split("/", 3)[3])


def test_an_overridden_upload_gets_companions_too(
    workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.img", "a.hdr"):
        (workdir / name).write_text(name)
    sink = Hooked(base_directory="s3://mybucket/out", bucket=bucket)
    sink.inputs.x = str(workdir / "a.img")
    sink.run()
    assert contents(bucket) == {"out/x/a.img": b"a.img", "out/x/a.hdr": b"a.hdr"}
    assert "sent, not verified (and 1 more)" in caplog.text


class Ignoring(DataSink):
    """Sends nothing."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        pass


def test_an_overridden_upload_deletes_nothing_and_warns(
    workdir: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    (workdir / "d").mkdir()
    (workdir / "d/a").write_text("a")
    bucket.put_object(Key="out/x/d/old", Body=b"old")
    sink = Ignoring(base_directory="s3://mybucket/out", bucket=bucket, remove_dest_dir=True)
    sink.inputs.x = str(workdir / "d")
    sink.run()
    assert contents(bucket) == {"out/x/d/old": b"old"}
    assert "remove_dest_dir deletes nothing here" in caplog.text


class Nipypes(DataSink):
    """Sends as nipype does."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        upstream.DataSink._upload_to_s3(self, bucket, src, dst)


class Own(DataSink):
    """Sends as this library does."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        super()._upload_to_s3(bucket, src, dst)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nipype's own
@pytest.mark.parametrize("kind", [Nipypes, Own])
def test_an_overridden_upload_gets_a_directory_as_from_nipype(
    workdir: Path, bucket: Bucket, kind: type[DataSink]
) -> None:
    (workdir / "d/e").mkdir(parents=True)
    for name in ("a", "e/b"):
        (workdir / "d" / name).write_text(name)
    sink = kind(base_directory="s3://mybucket/out", bucket=bucket)
    sink.inputs.x = str(workdir / "d")
    sink.run()
    assert contents(bucket) == {"out/x/d/a": b"a", "out/x/d/e/b": b"e/b"}
