"""Ten mistakes that users make: each error says what, where and what to do, in few lines."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from nipype_datasink import DataSink, DataSinkError
from tests.s3.scripted_store import Reply, Script, error_reply
from tests.stores import ACCESS_KEY, SECRET_KEY

MANY = 5_000
MAX_LINES = 60
MASKED_KEY = "AK..."


def refusing(*operations: str, reply: Reply) -> Callable[[Script], dict[str, str]]:
    """Let a store refuse operations; return no further inputs."""

    def prepare(script: Script) -> dict[str, str]:
        for operation in operations:
            script.answer(operation, reply)
        return {}

    return prepare


def no_scheme(script: Script) -> dict[str, str]:
    return {"s3_endpoint_url": script.url.removeprefix("http://")}


def tls(script: Script) -> dict[str, str]:
    return {"s3_endpoint_url": script.url.replace("http://", "https://")}


EVERYTHING = ("ListObjectsV2", "PutObject")
ELSEWHERE = error_reply("AuthorizationHeaderMalformed", 400, x_amz_bucket_region="eu-west-1")
MISTAKES = {
    "wrong bucket": (
        refusing(*EVERYTHING, reply=error_reply("NoSuchBucket", 404)),
        "the bucket does not exist",
        "check its name",
    ),
    "wrong key": (
        refusing(*EVERYTHING, reply=error_reply("InvalidAccessKeyId")),
        "the access key is unknown",
        "check the credentials",
    ),
    "wrong secret": (
        refusing(*EVERYTHING, reply=error_reply("SignatureDoesNotMatch")),
        "the secret access key is wrong",
        "check the credentials",
    ),
    "expired": (
        refusing(*EVERYTHING, reply=error_reply("ExpiredToken", 400)),
        "the credentials have expired",
        "get new ones",
    ),
    "no permission": (
        refusing(*EVERYTHING, reply=error_reply("AccessDenied")),
        "access is denied",
        "check the credentials",
    ),
    "wrong region": (
        refusing(*EVERYTHING, "HeadObject", reply=ELSEWHERE),
        "the region is wrong",
        "set s3_region",
    ),
    "endpoint without a scheme": (no_scheme, "does not start with a scheme", "write 'https://"),
    "TLS": (tls, "TLS", "s3_endpoint_url"),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory of many files."""
    directory = tmp_path_factory.mktemp("many") / "d"
    directory.mkdir()
    for number in range(MANY):
        (directory / f"{number}.dat").touch()
    return directory


def error_of(sink: DataSink) -> DataSinkError:
    with pytest.raises(DataSinkError) as caught:
        sink.run()
    return caught.value


def check_form(error: DataSinkError, cause: str, advice: str) -> None:
    """Check that an error begins and ends with cause and advice, and holds no secret."""
    lines = str(error).splitlines()
    assert len(lines) <= MAX_LINES
    assert cause in lines[0]
    assert advice in lines[0]
    assert lines[-1] == lines[0]
    assert SECRET_KEY.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_about_the_store(
    mistake: str, script: Script, credentials: None, many: Path
) -> None:
    prepare, cause, advice = MISTAKES[mistake]
    inputs = {"s3_endpoint_url": script.url, **prepare(script)}
    sink = DataSink(base_directory="s3://mybucket/out")
    sink.inputs.trait_set(**inputs, x=str(many))

    error = error_of(sink)

    check_form(error, cause, advice)
    if error.outcomes:
        assert len(error.outcomes) == MANY
        assert str(error).startswith("s3://mybucket/out: ")
        endpoint = f"  endpoint: {inputs['s3_endpoint_url']} (s3_endpoint_url), region us-east-1\n"
        assert endpoint in str(error)
        assert f"\n  credentials: {MASKED_KEY}" in str(error)
        assert ACCESS_KEY not in str(error)
        assert f"\n  run by: process {os.getpid()} on " in str(error)


def test_a_full_disk(many: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_source: str, destination: str, *_others: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), destination)

    monkeypatch.setattr("nipype_datasink.delivery.file_writer.copy", fail)
    sink = DataSink(base_directory=str(workdir / "out"))
    sink.inputs.x = str(many)

    error = error_of(sink)

    check_form(error, f"{workdir}/out: No space left on device", "free space there")
    assert f"\n  not tried: all other {MANY - 1:,} files\n" in str(error)


def test_missing_files(many: Path, workdir: Path) -> None:
    sink = DataSink(base_directory=str(workdir / "out"))
    sink.inputs.x = [str(many / f"{number}.gone") for number in range(MANY)]

    error = error_of(sink)

    check_form(error, "5,000 sources are missing", "set sink_missing to 'skip'")
    assert f"\n  missing: x: {many}/0.gone does not exist\n" in str(error)
    assert len(error.missing) == MANY
