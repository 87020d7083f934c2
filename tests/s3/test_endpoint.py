"""Endpoints that include the bucket are errors; all others are accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from nipype_datasink import DataSink, SettingsError
from nipype_datasink.s3.endpoint import check_endpoint
from tests.s3.scripted_store import Script


@pytest.mark.parametrize(
    ("endpoint", "instead"),
    [
        ("https://store.example.org/mybucket", "https://store.example.org"),
        ("https://store.example.org:9000/mybucket/", "https://store.example.org:9000"),
        ("https://store.example.org/s3/mybucket", "https://store.example.org/s3"),
        ("https://store.example.org/mybucket/derivatives", "https://store.example.org"),
        ("https://store.example.org/my%62ucket", "https://store.example.org"),
        ("http://[::1]:9000/mybucket", "http://[::1]:9000"),
        ("https://mybucket.s3.example.org", "https://s3.example.org"),
        ("https://mybucket.s3.example.org:9000", "https://s3.example.org:9000"),
        ("https://mybucket.s3-eu.example.org", "https://s3-eu.example.org"),
        ("https://MyBucket.s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
        ("https://mybucket.nyc3.digitaloceanspaces.com", "https://nyc3.digitaloceanspaces.com"),
        ("https://mybucket.storage.googleapis.com", "https://storage.googleapis.com"),
    ],
)
def test_an_endpoint_that_includes_the_bucket_is_an_error(endpoint: str, instead: str) -> None:
    with pytest.raises(SettingsError, match="includes the bucket 'mybucket'") as caught:
        check_endpoint(endpoint, "mybucket")
    assert f"set s3_endpoint_url to {instead!r}" in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://store.example.org",
        "https://store.example.org/",
        "https://store.example.org/s3",
        "https://store.example.org/mybucket2/amybucket",
        "https://mybucket.example.org",
        "https://mybucket",
        "https://mybucket2.s3.example.org",
        "https://other.mybucket.s3.example.org",
        "https://s3.mybucket.example.org",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
    ],
)
def test_any_other_endpoint_is_accepted(endpoint: str) -> None:
    check_endpoint(endpoint, "mybucket")


def test_a_bucket_name_with_dots_is_compared_as_a_whole() -> None:
    check_endpoint("https://my.s3.example.org", "my.bucket")
    with pytest.raises(SettingsError, match=r"'https://s3\.example\.org'"):
        check_endpoint("https://my.bucket.s3.example.org", "my.bucket")


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("store.example.org:9000", "does not start with a scheme"),
        ("http://[::", "is not a valid address"),
        ("http://store\u2100example.org", "is not a valid address"),
        ("http://:9000", "has no host"),
        ("http://my_store:9000", "has an underscore"),
        ("http://store.example.org:0", "the port must be between 1 and 65535"),
        ("http://store.example.org:65536", "the port must be between 1 and 65535"),
        ("http://store.example.org:port", "the port must be between 1 and 65535"),
        ("http://store.example.org:9000 ", "contains white space"),
        ("http://store.exam\nple.org", "contains white space"),
    ],
)
def test_an_endpoint_that_is_not_valid_is_an_error(endpoint: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        check_endpoint(endpoint, "mybucket")


@pytest.mark.parametrize(
    "endpoint",
    ["https://me:hidden@store.example.org/mybucket", "https://me:hidden@[::", "me:hidden@a:b"],
)
def test_the_error_does_not_show_a_password(endpoint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_endpoint(endpoint, "mybucket")
    assert "hidden" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize("where", ["s3_endpoint_url", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_the_endpoint_is_checked_before_anything_is_written_or_sent(
    workdir: Path,
    credentials: None,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    (workdir / "a").write_text("a")
    sink = DataSink(base_directory="s3://mybucket/out", infields=["x"])
    sink.inputs.x = "a"
    sink.inputs.local_copy = str(workdir / "copy")
    if where.startswith("AWS"):
        monkeypatch.setenv(where, f"{script.url}/mybucket")
    else:
        sink.inputs.s3_endpoint_url = f"{script.url}/mybucket"
    with pytest.raises(SettingsError, match="includes the bucket"):
        sink.run()
    assert not (workdir / "copy").exists()
    assert script.requests == []
