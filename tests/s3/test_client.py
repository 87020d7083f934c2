"""Which credentials and options a client has, and how long it is kept."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader
from botocore.session import Session
from moto import mock_aws

from nipype_datasink import CredentialsError, DataSink, S3Error, SettingsError
from nipype_datasink.s3.client import ClientOptions, forget_clients, open_bucket
from nipype_datasink.s3.credentials import AccessKey
from tests.conftest import contents, in_child
from tests.s3.conftest import response
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

LISTING = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
KEYS = AccessKey("AKIAOTHER", "other secret")


@pytest.fixture(autouse=True)
def no_clients() -> None:
    forget_clients()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collects the requests instead of sending them; responds as an empty bucket."""
    requests: list[Any] = []
    really_send = URLLib3Session.send
    earlier = {*threading.enumerate()} - {threading.current_thread()}

    def send(self: URLLib3Session, request: Any) -> AWSResponse:
        if threading.current_thread() in earlier:  # an earlier test did not wait for it
            return really_send(self, request)
        requests.append(request)
        body = LISTING if request.method == "GET" else ""
        return response(request.url, body, ETag='"opaque"')

    monkeypatch.setattr(URLLib3Session, "send", send)
    return requests


@pytest.fixture
def remote(workdir: Path) -> DataSink:
    """A sink of one file to a bucket of AWS."""
    (workdir / "a").write_text("a")
    sink = DataSink(base_directory="s3://mybucket", container="c", infields=["x"], x="a")
    sink.inputs.s3_transfer_client = "classic"
    return sink


def header(request: Any, name: str) -> str:
    value = request.headers.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def signers(wire: list[Any]) -> set[str]:
    """Return the access key of every request, ``""`` if it is not signed."""
    assert wire
    found = [header(request, "Authorization") for request in wire]
    return {text.partition("Credential=")[2].partition("/")[0] for text in found}


def client_of(**settings: Any) -> object:
    return open_bucket("mybucket", ClientOptions(**settings)).meta.client


# Credentials.


def test_requests_are_signed_with_the_keys_of_the_environment(
    remote: DataSink, credentials: None, wire: list[Any]
) -> None:
    remote.run()
    assert signers(wire) == {ACCESS_KEY}


def test_the_session_token_of_the_environment_is_sent(
    remote: DataSink, credentials: None, wire: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token of the environment")
    remote.run()
    tokens = {header(request, "X-Amz-Security-Token") for request in wire}
    assert tokens == {"token of the environment"}


def test_creds_path_wins_over_the_environment(
    remote: DataSink,
    workdir: Path,
    credentials: None,
    wire: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token of the environment")
    (workdir / "keys").write_text("AWSAccessKeyId=AKIAFILE\nAWSSecretKey=secret\n")
    remote.inputs.creds_path = str(workdir / "keys")
    remote.run()
    assert signers(wire) == {"AKIAFILE"}
    assert {header(request, "X-Amz-Security-Token") for request in wire} == {""}


def test_a_token_in_creds_path_is_sent(remote: DataSink, workdir: Path, wire: list[Any]) -> None:
    (workdir / "keys").write_text(
        "[default]\naws_access_key_id=AKIAFILE\naws_secret_access_key=s\naws_session_token=mine\n"
    )
    remote.inputs.creds_path = str(workdir / "keys")
    remote.run()
    assert {header(request, "X-Amz-Security-Token") for request in wire} == {"mine"}


def test_creds_path_is_read_again_when_it_has_changed(
    remote: DataSink, workdir: Path, wire: list[Any]
) -> None:
    remote.inputs.creds_path = str(workdir / "keys")
    for key in ("AKIAOLD", "AKIANEW"):
        (workdir / "keys").write_text(f"AWSAccessKeyId={key}\nAWSSecretKey=secret\n")
        wire.clear()
        remote.run()
        assert signers(wire) == {key}


def test_requests_are_signed_with_the_keys_of_a_profile(
    remote: DataSink, workdir: Path, wire: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "shared").write_text(
        "[lab]\naws_access_key_id=AKIALAB\naws_secret_access_key=secret\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(workdir / "shared"))
    remote.inputs.s3_profile = "lab"
    remote.run()
    assert signers(wire) == {"AKIALAB"}


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
@pytest.mark.parametrize("content", [None, "[default]\nregion=eu-west-3\n", "no ini", "\x00\xff["])
def test_with_creds_path_the_profile_may_be_missing_or_unreadable(
    remote: DataSink,
    workdir: Path,
    wire: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    content: str | None,
) -> None:
    monkeypatch.setenv(variable, "nosuch")
    if content is not None:
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            Path(os.environ[name]).write_text(content, encoding="latin-1")
    (workdir / "keys").write_text("AWSAccessKeyId=AKIAFILE\nAWSSecretKey=secret\n")
    remote.inputs.creds_path = str(workdir / "keys")
    remote.run()
    assert signers(wire) == {"AKIAFILE"}


def test_with_creds_path_an_existing_profile_sets_the_region(
    remote: DataSink, workdir: Path, wire: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "lab")
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(
        "[profile lab]\naws_access_key_id=AKIALAB\naws_secret_access_key=x\nregion=eu-west-3\n"
    )
    (workdir / "keys").write_text("AWSAccessKeyId=AKIAFILE\nAWSSecretKey=secret\n")
    remote.inputs.creds_path = str(workdir / "keys")
    remote.run()
    assert signers(wire) == {"AKIAFILE"}
    assert all("eu-west-3" in header(request, "Authorization") for request in wire)


@pytest.mark.parametrize("input_too", [True, False])
def test_an_empty_profile_counts_as_unset(
    remote: DataSink,
    credentials: None,
    wire: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    input_too: bool,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "")
    if input_too:
        remote.inputs.s3_profile = ""
    remote.run()
    assert signers(wire) == {ACCESS_KEY}


def test_a_missing_profile_is_an_error_without_creds_path(
    remote: DataSink, credentials: None, wire: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    with pytest.raises(S3Error, match="nosuch"):
        remote.run()
    assert not wire


def test_creds_path_and_s3_profile_together_are_an_error(remote: DataSink, wire: list[Any]) -> None:
    remote.inputs.s3_profile = "lab"
    remote.inputs.creds_path = "keys"
    with pytest.raises(SettingsError, match="set either creds_path or s3_profile"):
        remote.run()
    assert wire == []


def test_requests_are_unsigned_only_without_any_credentials(
    remote: DataSink, wire: list[Any]
) -> None:
    remote.run()
    assert signers(wire) == {""}


def test_an_incomplete_key_never_becomes_anonymous(
    remote: DataSink, wire: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    with pytest.raises(S3Error, match=r"(?i)aws_secret_access_key"):
        remote.run()
    assert wire == []


@pytest.mark.parametrize(
    "content", ["", "\0", "AWSAccessKeyId=a\n"], ids=["empty", "binary", "half"]
)
def test_a_bad_creds_path_is_an_error_whatever_the_environment_holds(
    remote: DataSink, workdir: Path, credentials: None, wire: list[Any], content: str
) -> None:
    (workdir / "keys").write_text(content)
    remote.inputs.creds_path = str(workdir / "keys")
    with pytest.raises(CredentialsError, match=str(workdir / "keys")):
        remote.run()
    assert wire == []


def test_requests_are_signed_for_the_region(
    remote: DataSink, credentials: None, wire: list[Any]
) -> None:
    remote.inputs.s3_region = "eu-central-1"
    remote.run()
    assert all("/eu-central-1/s3/" in header(request, "Authorization") for request in wire)
    assert all("eu-central-1" in request.url for request in wire)


# Requests.


def uploads(wire: list[Any]) -> list[Any]:
    found = [request for request in wire if request.method == "PUT"]
    assert found
    return found


def trailing(request: Any) -> bool:
    names = {name.lower() for name in request.headers}
    return bool(names & {"x-amz-trailer", "x-amz-sdk-checksum-algorithm"})


def test_no_request_waits_for_100_continue(
    remote: DataSink, credentials: None, wire: list[Any]
) -> None:
    remote.run()
    assert [header(request, "Expect") for request in uploads(wire)] == [""]


def test_the_user_agent_names_this_package(
    remote: DataSink, credentials: None, wire: list[Any]
) -> None:
    remote.run()
    assert all("nipype-datasink" in header(request, "User-Agent") for request in wire)


@pytest.mark.parametrize(
    ("endpoint_url", "chosen", "checksum"),
    [
        (None, {}, True),
        ("https://s3.eu-west-1.amazonaws.com", {}, True),
        ("https://s3.cn-north-1.amazonaws.com.cn", {}, True),
        ("https://s3.dualstack.us-east-1.api.aws", {}, True),
        ("https://s3.us-iso-east-1.c2s.ic.gov", {}, True),
        ("https://s3.us-isob-east-1.sc2s.sgov.gov", {}, True),
        ("https://s3.eu-isoe-west-1.cloud.adc-e.uk", {}, True),
        ("https://s3.us-isof-south-1.csp.hci.ic.gov", {}, True),
        ("https://s3.example.ic.gov", {}, False),
        ("http://127.0.0.1:9", {}, False),
        ("https://minio.example.org", {}, False),
        ("https://notamazonaws.com", {}, False),
        ("https://amazonaws.com.example.org", {}, False),
        ("http://127.0.0.1:9", {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported"}, True),
        (None, {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}, False),
    ],
)
def test_only_aws_gets_checksums_by_default(
    *,
    remote: DataSink,
    credentials: None,
    wire: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    endpoint_url: str | None,
    chosen: dict[str, str],
    checksum: bool,
) -> None:
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    if endpoint_url:
        remote.inputs.s3_endpoint_url = endpoint_url
    remote.run()
    assert [trailing(request) for request in uploads(wire)] == [checksum]


def test_every_partition_that_botocore_lists_counts_as_aws(
    remote: DataSink, credentials: None, wire: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Loader.load_data

    def load_one_more(self: Loader, name: str, *args: Any) -> Any:
        data = load(self, name, *args)
        if name != "partitions":
            return data
        first = data["partitions"][0]
        new = {**first, "outputs": {**first["outputs"], "dnsSuffix": "new.example"}}
        return {**data, "partitions": [*data["partitions"], new]}

    monkeypatch.setattr(Loader, "load_data", load_one_more)
    remote.inputs.s3_endpoint_url = "https://s3.somewhere.new.example"
    remote.run()
    assert [trailing(request) for request in uploads(wire)] == [True]


@pytest.mark.parametrize("value", ["when_supported", "when_required"])
def test_the_configuration_file_can_choose_checksums(
    remote: DataSink, credentials: None, wire: list[Any], value: str
) -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(
        f"[default]\nrequest_checksum_calculation = {value}\n"
    )
    remote.inputs.s3_endpoint_url = "http://127.0.0.1:9"
    remote.run()
    assert [trailing(request) for request in uploads(wire)] == [value == "when_supported"]


def test_the_endpoint_of_the_environment_is_used(
    remote: DataSink, credentials: None, wire: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    remote.run()
    assert {request.url.startswith("http://127.0.0.1:9/") for request in wire} == {True}
    assert [trailing(request) for request in uploads(wire)] == [False]


@pytest.mark.parametrize("transfer_client", ["classic"])
def test_parts_for_other_stores_carry_no_checksum(
    sink: DataSink, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    send = URLLib3Session.send

    def note(self: URLLib3Session, request: Any) -> Any:
        sent.append(request)
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", note)
    (workdir / "large").write_bytes(bytes((8 << 20) + 1))
    sink.inputs.bold = "large"
    sink.run()
    assert len(uploads(sent)) == 2
    assert not any(trailing(request) for request in sent)


def test_an_injected_client_is_not_changed(
    remote: DataSink, credentials: None, wire: list[Any]
) -> None:
    bucket = boto3.session.Session(region_name="us-east-1").resource("s3").Bucket("mybucket")
    remote.inputs.bucket = bucket
    remote.run()
    assert not any("nipype-datasink" in header(request, "User-Agent") for request in wire)
    assert [header(request, "Expect") for request in uploads(wire)] == ["100-continue"]


# How long a client is kept.


def test_only_a_few_clients_are_kept() -> None:
    def client(number: int) -> Any:
        return client_of(access_key=AccessKey(f"AKIA{number}", "secret"))

    mine = client(0)
    others = [weakref.ref(client(number)) for number in range(1, 9) if client(0) is mine]
    assert len(others) == 8
    gc.collect()
    assert [bool(other()) for other in others] == [False] * 5 + [True] * 3


def test_a_client_is_used_again(credentials: None) -> None:
    assert client_of() is client_of()
    assert client_of(access_key=KEYS) is client_of(
        access_key=AccessKey("AKIAOTHER", "other secret")
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"access_key": None},
        {"access_key": AccessKey("AKIAOTHER", "another secret")},
        {"access_key": AccessKey("AKIAOTHER", "other secret", "token")},
        {"region": "eu-west-1"},
        {"endpoint_url": "http://127.0.0.1:9"},
        {"concurrency": 3},
    ],
    ids=["keys", "secret", "token", "region", "endpoint", "concurrency"],
)
def test_other_options_need_another_client(credentials: None, settings: dict[str, Any]) -> None:
    assert client_of(access_key=KEYS) is not client_of(**{"access_key": KEYS, **settings})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIANEW"),
        ("AWS_SECRET_ACCESS_KEY", "new"),
        ("AWS_SESSION_TOKEN", "new"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("REQUESTS_CA_BUNDLE", "/bundle.pem"),
        ("no_proxy", "*"),
    ],
)
def test_a_changed_environment_needs_another_client(
    credentials: None, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    before = client_of()
    monkeypatch.setenv(name, value)
    assert client_of() is not before


@pytest.mark.parametrize("name", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_changed_configuration_file_needs_another_client(credentials: None, name: str) -> None:
    path = Path(os.environ[name])
    clients = [client_of()]
    for content, time in (("[default]\n", 1), ("[default]\n\n", 1), ("[default]\n\n", 2)):
        path.write_text(content)
        os.utime(path, (time, time))
        clients.append(client_of())
    assert len({id(client) for client in clients}) == 4


def test_a_forked_child_makes_its_own_client(credentials: None) -> None:
    before = client_of()
    assert in_child(lambda: client_of() is not before)
    assert client_of() is before


def test_a_sink_works_on_both_sides_of_a_fork(
    sink: DataSink, files: list[str], bucket: Bucket
) -> None:
    sink.inputs.motion = files[0]
    sink.run()

    def sink_in_child() -> bool:
        sink.inputs.motion = files[1]
        return len(sink.run().outputs.out_file) == 1

    assert in_child(sink_in_child)
    sink.inputs.motion = files[2]
    sink.run()
    assert len(contents(bucket)) == 3


def test_a_kept_client_never_bypasses_a_mock(
    remote: DataSink, credentials: None, wire: list[Any]
) -> None:
    remote.run()
    seen = len(wire)
    assert seen
    with mock_aws(config={"core": {"mock_credentials": False}}):
        bucket = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="mybucket")
        remote.run()
        assert list(contents(bucket)) == ["c/x/a"]
    assert len(wire) == seen
    remote.run()
    assert len(wire) > seen


MOCKED_LATE = """
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.credentials import AccessKey
early = open_bucket("mybucket", ClientOptions()).meta.client
from moto import mock_aws
with mock_aws(config={"core": {"mock_credentials": False}}):
    bucket = open_bucket("mybucket", ClientOptions())
    assert bucket.meta.client is not early
    bucket.create()
    bucket.put_object(Key="key")
    print([item.key for item in bucket.objects.all()])
assert open_bucket("mybucket", ClientOptions()).meta.client is early
"""


def test_a_client_older_than_the_mock_never_bypasses_it(credentials: None) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MOCKED_LATE],
        env={**os.environ, **nowhere, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "['key']", done.stderr


# Errors of options.


@pytest.mark.parametrize(
    "address", ["https://me:geheim@minio.example.org:9000", "https://me:geheim@mi nio.example.org"]
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_password_in_a_configured_endpoint_is_an_error_that_does_not_show_it(
    remote: DataSink,
    credentials: None,
    wire: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    where: str,
) -> None:
    if where == "environment":
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    else:
        Path(os.environ["AWS_CONFIG_FILE"]).write_text(f"[default]\nendpoint_url = {address}\n")
    with pytest.raises((SettingsError, S3Error), match="nio") as caught:
        remote.run()
    text = "".join(traceback.format_exception(caught.value))
    assert "geheim" not in text
    assert not wire


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"profile": "nobody"}, "nobody"),
        ({"endpoint_url": "no address"}, "no address"),
        ({"region": "no region!"}, "no region!"),
    ],
    ids=["profile", "endpoint", "region"],
)
def test_the_error_names_an_invalid_option(
    credentials: None, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(S3Error, match=why):
        client_of(**settings)


def test_repr_shows_no_secret() -> None:
    shown = repr(ClientOptions(access_key=AccessKey(ACCESS_KEY, SECRET_KEY, "token of mine")))
    assert SECRET_KEY not in shown
    assert "token of mine" not in shown


def test_requests_are_signed_as_soon_as_there_are_credentials(
    remote: DataSink,
    wire: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found: list[Credentials | None] = [None]
    monkeypatch.setattr(Session, "get_credentials", lambda self: found[0])
    for _ in range(2):
        caplog.clear()
        remote.run()
        assert signers(wire) == {""}
        assert caplog.text.count("requests to S3 are not signed") == 1
    found[0] = Credentials("AKIALATE", "secret")
    wire.clear()
    remote.run()
    assert signers(wire) == {"AKIALATE"}


def test_the_error_for_unsigned_requests_says_that_there_were_no_credentials(
    remote: DataSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: URLLib3Session, request: Any) -> AWSResponse:
        body = "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>"
        return response(request.url, body, status=403)

    monkeypatch.setattr(URLLib3Session, "send", refuse)
    with pytest.raises(S3Error, match=r"no credentials were found.* set creds_path"):
        remote.run()
