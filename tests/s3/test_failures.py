"""Errors of S3: the local copy is made first, then one error names every file."""

from __future__ import annotations

import json
import logging
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from nipype_datasink import CredentialsError, DataSink, S3Error
from nipype_datasink.s3.client import forget_clients
from nipype_datasink.s3.errors import S3ClientError
from tests.conftest import contents, tree
from tests.s3.conftest import Answer, check, response
from tests.s3.scripted_store import Reply, Request, Script, error_reply
from tests.stores import SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

WRONG = "AWSAccessKeyId={}\nAWSSecretKey=wrong/secret+of/a+user\n"
Misconfigure = Callable[[DataSink], object]


@pytest.fixture
def sink_with_copy(sink: DataSink, files: list[str], workdir: Path) -> DataSink:
    """A sink of three files with a local copy, one request at a time."""
    sink.inputs.motion = files
    sink.inputs.local_copy = str(workdir / "copy")
    sink.inputs.s3_max_concurrency = 1
    return sink


@pytest.fixture
def user(bucket: Bucket, endpoint: str, workdir: Path) -> Iterator[Callable[..., str]]:
    """Makes a user with some permissions, and lets the server check; returns the keys' file."""
    iam = boto3.session.Session("a", "b", region_name="us-east-1").client(
        "iam", endpoint_url=endpoint
    )
    place = {"UserName": uuid4().hex}

    def make(*actions: str, resource: str = "*") -> str:
        iam.create_user(**place)
        key = iam.create_access_key(**place)["AccessKey"]
        statement = {"Effect": "Allow", "Action": actions, "Resource": resource}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(**place, PolicyName="policy", PolicyDocument=policy)
        check(endpoint, after=0)
        (workdir / "keys").write_text(
            f"AWSAccessKeyId={key['AccessKeyId']}\nAWSSecretKey={key['SecretAccessKey']}\n"
        )
        return str(workdir / "keys")

    yield make
    check(endpoint, after=float("inf"))


def error_of(sink: DataSink) -> S3Error:
    """Run `sink`; return its error, after checks that hold for every error."""
    with pytest.raises(S3Error) as caught:
        sink.run()
    error = caught.value
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert len(twin.outcomes) == len(error.outcomes)
    assert getattr(twin, "response", None) == getattr(error, "response", None)
    return error


def statuses(error: S3Error) -> list[str]:
    """Return the statuses of the files for S3."""
    outcomes: Any = error.outcomes
    return [item.status.value for item in outcomes if item.transfer.destination.startswith("s3://")]


# Errors before any request.


def set_missing_file(sink: DataSink) -> None:
    sink.inputs.creds_path = "/nowhere/credentials.csv"


def set_file_with(content: str) -> Misconfigure:
    def misconfigure(sink: DataSink) -> None:
        Path("keys").write_text(content)
        sink.inputs.creds_path = str(Path("keys").absolute())

    return misconfigure


def set_directory(sink: DataSink) -> None:
    Path("keys").mkdir()
    sink.inputs.creds_path = "keys"


def set_closed_port(sink: DataSink) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    sink.inputs.s3_endpoint_url = f"http://127.0.0.1:{port}"


def set_unknown_profile(sink: DataSink) -> None:
    sink.inputs.s3_profile = "nobody"


BEFORE_ANY_REQUEST: dict[str, tuple[Misconfigure, type[S3Error], str]] = {
    "creds_path missing": (set_missing_file, CredentialsError, "/nowhere/credentials.csv"),
    "creds_path empty": (set_file_with(""), CredentialsError, "is empty"),
    "creds_path binary": (set_file_with("\0\1\2"), CredentialsError, "is not text"),
    "creds_path lacking a secret": (
        set_file_with("AWSAccessKeyId=AKIDEXAMPLE\n"),
        CredentialsError,
        "no secret access key",
    ),
    "creds_path lacking a column": (
        set_file_with("User name,Access key ID\nme,AKIDEXAMPLE\n"),
        CredentialsError,
        "no secret access key",
    ),
    "creds_path a directory": (set_directory, CredentialsError, "cannot be read"),
    "profile unknown": (set_unknown_profile, S3Error, "nobody"),
}


@pytest.mark.parametrize(
    ("misconfigure", "kind", "why"), BEFORE_ANY_REQUEST.values(), ids=BEFORE_ANY_REQUEST.keys()
)
def test_without_a_client_the_local_copy_is_made_and_no_request_is_sent(
    *,
    sink_with_copy: DataSink,
    workdir: Path,
    requests: Counter[str],
    misconfigure: Misconfigure,
    kind: type[S3Error],
    why: str,
) -> None:
    forget_clients()
    misconfigure(sink_with_copy)
    error = error_of(sink_with_copy)
    assert type(error) is kind
    assert why in str(error)
    assert "s3://mybucket/out" in str(error)
    assert "\n  3 files: 3 not tried\n" in str(error)
    assert statuses(error) == ["not tried"] * 3
    assert sorted(tree(workdir / "copy/motion")) == ["a.txt", "b.txt", "c.txt"]
    assert requests == {}


def test_a_missing_bucket_is_one_error(
    sink_with_copy: DataSink, workdir: Path, requests: Counter[str]
) -> None:
    sink_with_copy.inputs.base_directory = "s3://nosuchbucket/out"
    error = error_of(sink_with_copy)
    assert isinstance(error, S3ClientError)
    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == "NoSuchBucket"
    assert "the bucket does not exist" in str(error)
    assert "s3://nosuchbucket/out" in str(error)
    assert sum(requests.values()) <= 2
    assert not {"new", "sent"} & set(statuses(error))
    assert len(tree(workdir / "copy/motion")) == 3


def test_the_error_names_an_endpoint_that_cannot_be_reached(
    sink_with_copy: DataSink, workdir: Path, requests: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    set_closed_port(sink_with_copy)
    error = error_of(sink_with_copy)
    assert not isinstance(error, ClientError)
    assert str(sink_with_copy.inputs.s3_endpoint_url) in str(error)
    assert sum(requests.values()) == 1
    assert len(tree(workdir / "copy/motion")) == 3


def test_an_endpoint_that_redirects_to_another_address_is_an_error(
    script: Script, credentials: None, files: list[str], transfer_client: str
) -> None:
    moved = Reply(301, headers={"Location": "https://minio.example.org/mybucket"})
    for operation in ("ListObjectsV2", "PutObject", "HeadObject"):  # boto3 sends HeadBucket
        script.answer(operation, moved)
    sink = DataSink(base_directory="s3://mybucket", s3_endpoint_url=script.url)
    sink.inputs.x = files
    error = error_of(sink)
    assert str(error).startswith(
        "s3://mybucket: requests are redirected to https://minio.example.org; set s3_end"
    )
    others = [request for request in script.requests if request.operation != "HeadObject"]
    assert len(script.requests_of("HeadObject")) <= len(others) <= 1 + len(files)


# Rejected requests, with a server that checks keys and policies.


@pytest.mark.needs("IAM")
@pytest.mark.parametrize(
    ("key", "code", "why"),
    [
        ("AKIAXXXXXXXXXXXXXXXX", "InvalidAccessKeyId", "the access key is unknown"),
        ("", "SignatureDoesNotMatch", "the secret access key is wrong"),
    ],
    ids=["unknown key", "wrong secret"],
)
def test_rejected_credentials_never_become_anonymous(
    *,
    sink_with_copy: DataSink,
    workdir: Path,
    user: Callable[..., str],
    requests: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    key: str,
    code: str,
    why: str,
) -> None:
    known = Path(user("s3:*")).read_text().partition("\n")[0].partition("=")[2]
    unsigned = unsigned_requests(monkeypatch)
    set_file_with(WRONG.format(key or known))(sink_with_copy)
    requests.clear()
    with caplog.at_level(logging.DEBUG):
        error = error_of(sink_with_copy)
    assert isinstance(error, S3ClientError)
    assert error.response["Error"]["Code"] == code
    assert why in str(error)
    assert sum(requests.values()) <= 2
    assert unsigned == []
    assert "wrong/secret" not in f"{error}{error!r}{pickle.dumps(error)!r}"
    assert "wrong/secret" not in caplog.text
    assert len(tree(workdir / "copy/motion")) == 3


def unsigned_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from botocore.httpsession import URLLib3Session

    found: list[str] = []
    send = URLLib3Session.send

    def note(self: URLLib3Session, request: Any) -> Any:
        if "Authorization" not in request.headers:
            found.append(request.url)
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", note)
    return found


@pytest.mark.needs("IAM")
def test_without_any_permission_sending_stops_at_once(
    sink_with_copy: DataSink, workdir: Path, user: Callable[..., str], requests: Counter[str]
) -> None:
    sink_with_copy.inputs.creds_path = user("s3:GetBucketLocation")
    requests.clear()
    error = error_of(sink_with_copy)
    assert isinstance(error, S3ClientError)
    assert error.response["Error"]["Code"] == "AccessDenied"
    assert "access is denied" in str(error)
    assert requests["PutObject"] == 1
    assert statuses(error) == ["failed", "not tried", "not tried"]
    assert len(tree(workdir / "copy/motion")) == 3


@pytest.mark.needs("IAM")
def test_permission_to_put_is_enough(
    sink_with_copy: DataSink, bucket: Bucket, endpoint: str, user: Callable[..., str]
) -> None:
    sink_with_copy.inputs.creds_path = user("s3:PutObject")
    sink_with_copy.run()
    check(endpoint, after=float("inf"))
    assert len(contents(bucket)) == 3


# Errors of one object and of the bucket, through an injected client.


@pytest.fixture
def injected(sink_with_copy: DataSink, lone_bucket: Bucket) -> DataSink:
    """The sink with a bucket whose responses a test chooses."""
    sink_with_copy.inputs.bucket = lone_bucket
    return sink_with_copy


@pytest.mark.parametrize(
    "code",
    [
        "NoSuchBucket",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AccessDenied",
        "AllAccessDisabled",
        "RequestTimeTooSkewed",
    ],
)
@pytest.mark.parametrize("operation", ["ListObjectsV2", "PutObject"])
def test_an_error_of_the_bucket_stops_at_once(
    injected: DataSink, answer: Answer, requests: Counter[str], code: str, operation: str
) -> None:
    if (operation, code) == ("PutObject", "AccessDenied"):
        pytest.skip("concerns one object; see below")
    answer(operation, 403, code)
    answer("PutObject", 403, code)
    error = error_of(injected)
    assert isinstance(error, S3ClientError)
    assert error.response["Error"]["Code"] == code
    assert requests["PutObject"] <= 1
    assert set(statuses(error)) <= {"failed", "not tried"}
    assert "\n  3 files: " in str(error)


def test_after_an_error_of_one_object_the_others_are_sent(
    injected: DataSink, bucket: Bucket, workdir: Path, answer: Answer
) -> None:
    answer("PutObject", 400, "InvalidTag", ending="/a.txt")
    error = error_of(injected)
    assert isinstance(error, S3ClientError)
    assert error.operation_name == "PutObject"
    assert "failed: s3://mybucket/out/motion/a.txt" in str(error)
    assert "\n  3 files: 2 new, 1 failed\n" in str(error)
    assert statuses(error) == ["failed", "new", "new"]
    assert sorted(contents(bucket)) == ["out/motion/b.txt", "out/motion/c.txt"]
    assert len(tree(workdir / "copy/motion")) == 3


def test_outcomes_tell_new_objects_from_replaced_ones(
    injected: DataSink, bucket: Bucket, answer: Answer
) -> None:
    bucket.put_object(Key="out/motion/a.txt", Body=b"old")
    answer("PutObject", 400, "InvalidTag", ending="/c.txt")
    assert statuses(error_of(injected)) == ["replaced", "new", "failed"]


def test_where_the_bucket_may_not_be_listed_objects_are_only_sent(
    injected: DataSink, bucket: Bucket, answer: Answer
) -> None:
    answer("ListObjectsV2", 403, "AccessDenied")
    answer("PutObject", 400, "InvalidTag", ending="/c.txt")
    assert statuses(error_of(injected)) == ["sent", "sent", "failed"]


def test_after_one_denied_object_the_others_are_sent(
    injected: DataSink, bucket: Bucket, answer: Answer
) -> None:
    answer("PutObject", 403, "AccessDenied", ending="/b.txt")
    assert statuses(error_of(injected)) == ["new", "failed", "new"]
    assert len(contents(bucket)) == 2


def test_the_error_names_unchanged_files_too(
    injected: DataSink, bucket: Bucket, answer: Answer
) -> None:
    bucket.put_object(Key="out/motion/c.txt", Body=b"c.txt")
    answer("PutObject", 403, "AccessDenied")
    error = error_of(injected)
    assert "failed: s3://mybucket/out/motion/a.txt" in str(error)
    assert "failed: s3://mybucket/out/motion/b.txt" in str(error)
    assert "\n  3 files: 1 unchanged, 2 failed\n" in str(error)


def test_a_source_that_disappears_fails_alone(
    injected: DataSink, bucket: Bucket, files: list[str]
) -> None:
    def remove(**_: object) -> None:
        Path(files[1]).unlink(missing_ok=True)

    injected.inputs.bucket.meta.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", remove
    )
    error = error_of(injected)
    assert statuses(error) == ["new", "failed", "new"]
    assert not isinstance(error, ClientError)
    assert files[1] in str(error)


def test_an_error_keeps_its_cause(injected: DataSink, answer: Answer) -> None:
    answer("PutObject", 400, "InvalidTag", ending="/a.txt")
    cause = error_of(injected).original
    assert isinstance(cause, ClientError)
    assert cause.operation_name == "PutObject"


def test_the_error_names_the_injected_bucket(injected: DataSink, answer: Answer) -> None:
    injected.inputs.base_directory = "s3://elsewhere/out"
    answer("PutObject", 403, "AccessDenied")
    assert "s3://mybucket/out" in str(error_of(injected))
    assert "elsewhere" not in str(error_of(injected))


def test_the_error_names_files_of_a_failed_local_copy_too(
    injected: DataSink, answer: Answer
) -> None:
    answer("PutObject", 400, "InvalidTag", ending="/a.txt")
    injected.inputs.local_copy = "/proc/nowhere"
    error = error_of(injected)
    assert statuses(error) == ["failed", "new", "new"]
    assert "failed: /proc/nowhere/motion/a.txt" in str(error)


def test_the_log_contains_no_secret(
    sink_with_copy: DataSink, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="nipype.interface"):
        sink_with_copy.run()
    own = [record.getMessage() for record in caplog.records if record.name.startswith("nipype")]
    assert any("3 new" in text for text in own)
    assert SECRET_KEY not in "".join(own)


def test_a_redirect_to_another_region_is_followed(
    sink_with_copy: DataSink, bucket: Bucket, lone_bucket: Bucket
) -> None:
    scopes = []

    def redirect(request: Any, **_: object) -> Any:
        header = request.headers["Authorization"]
        scope = (header if isinstance(header, str) else header.decode()).split("/")[2]
        scopes.append(scope)
        if scope == "eu-west-1":
            return None
        body = "<Error><Code>PermanentRedirect</Code></Error>"
        return response(request.url, body, status=301, x_amz_bucket_region="eu-west-1")

    lone_bucket.meta.client.meta.events.register("before-send.s3", redirect)
    sink_with_copy.inputs.bucket = lone_bucket
    sink_with_copy.run()
    assert scopes[-1] == "eu-west-1"
    assert len(contents(bucket)) == 3


def test_the_first_sink_of_a_process_follows_a_redirect_to_another_region(
    workdir: Path, files: list[str], script: Script, credentials: None, transfer_client: str
) -> None:
    def redirect(request: Request) -> Reply | None:
        if "/eu-west-1/s3/" in request.headers["authorization"]:
            return None
        return error_reply("PermanentRedirect", 301, x_amz_bucket_region="eu-west-1")

    for operation in ("ListObjectsV2", "PutObject"):
        script.rule(operation, redirect)
    sink = DataSink(base_directory="s3://mybucket", s3_endpoint_url=script.url)
    sink.inputs.s3_transfer_client = transfer_client
    sink.inputs.x = files
    sink.run()
    assert len(script.requests_of("PutObject")) == 3


def test_a_file_with_a_wrong_etag_is_not_reported_as_sent(
    injected: DataSink, lone_bucket: Bucket
) -> None:
    def lie(parsed: dict[str, Any], **_: object) -> None:
        parsed["ETag"] = f'"{"0" * 32}"'

    def meddle(parsed: dict[str, Any], **_: object) -> None:
        parsed["Body"].close()
        parsed["Body"] = StreamingBody(BytesIO(b"other"), 5)

    lone_bucket.meta.client.meta.events.register("after-call.s3.PutObject", lie)
    lone_bucket.meta.client.meta.events.register("after-call.s3.GetObject", meddle)
    error = error_of(injected)
    assert statuses(error) == ["failed"] * 3
    assert "other bytes" in str(error)


@pytest.mark.parametrize("ending", ["/a.txt", "/c.txt"], ids=["first", "last"])
def test_one_denied_object_stops_nothing_at_any_position(
    injected: DataSink, answer: Answer, ending: str
) -> None:
    answer("PutObject", 403, "AccessDenied", ending=ending)
    assert sorted(statuses(error_of(injected))) == ["failed", "new", "new"]


def fail_on(bucket: Bucket, ending: str, error: Exception) -> None:
    """Let a handler of the user's raise for one file."""

    def fail(params: dict[str, Any], **_: object) -> None:
        if params["url_path"].endswith(ending):
            raise error

    bucket.meta.client.meta.events.register("before-call.s3.PutObject", fail)


@pytest.mark.parametrize("first", ["InvalidTag", ""], ids=["error of S3", "other error"])
def test_an_error_is_about_what_stopped_the_run(
    injected: DataSink, lone_bucket: Bucket, answer: Answer, first: str
) -> None:
    if first:
        answer("PutObject", 400, first, ending="/a.txt")
    else:
        fail_on(lone_bucket, "/a.txt", OSError("odd"))
    answer("PutObject", 400, "ExpiredToken", ending="/b.txt")
    error = error_of(injected)
    assert isinstance(error, S3ClientError)
    assert error.response["Error"]["Code"] == "ExpiredToken"
    assert str(error).startswith("s3://mybucket/out: the credentials have expired; get new ones\n")
    assert statuses(error) == ["failed", "failed", "not tried"]


def test_an_error_of_a_users_handler_concerns_one_file(
    injected: DataSink, lone_bucket: Bucket
) -> None:
    fail_on(lone_bucket, "/b.txt", ValueError("from a handler"))
    error = error_of(injected)
    assert statuses(error) == ["new", "failed", "new"]
    assert "s3://mybucket/out: from a handler\n" in str(error)


class Odd(Exception):
    """Cannot be pickled, as its arguments are not those it was made with."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} {why}")


def test_an_error_of_an_overridden_fetch_bucket_becomes_an_s3_error(
    files: list[str], workdir: Path
) -> None:
    class Sealed(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            raise Exception("the vault is sealed")

    sink = Sealed(base_directory="s3://mybucket/out", local_copy=str(workdir / "copy"))
    sink.inputs.motion = files
    error = error_of(sink)
    assert str(error).startswith("s3://mybucket/out: the vault is sealed\n")
    assert statuses(error) == ["not tried"] * 3
    assert len(tree(workdir / "copy/motion")) == 3


def test_an_error_of_fetch_bucket_that_cannot_be_pickled_is_described(files: list[str]) -> None:
    class Sealed(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            raise Odd("very", "odd")

    sink = Sealed(base_directory="s3://mybucket/out", infields=["motion"], motion=files)
    assert "s3://mybucket/out: Odd: very odd\n" in str(error_of(sink))


def test_a_cause_that_cannot_be_pickled_is_described(
    injected: DataSink, lone_bucket: Bucket
) -> None:
    fail_on(lone_bucket, "/b.txt", Odd("very", "odd"))
    error = error_of(injected)
    assert "s3://mybucket/out: Odd: very odd\n" in str(error)


class Hooked(DataSink):
    """Sends in its own way."""

    def _upload_to_s3(self, bucket: Any, src: str, dst: str) -> None:
        bucket.put_object(Key=dst.split("/", 3)[3], Body=b"")


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (DataSink, "ListObjectsV2"),
        (DataSink, "PutObject"),
        (DataSink, "DeleteObjects"),
        (Hooked, "PutObject"),
    ],
)
def test_a_session_token_in_a_response_is_removed(
    kind: type, operation: str, lone_bucket: Bucket, files: list[str], workdir: Path
) -> None:
    def refuse(request: Any, **_: object) -> Any:
        body = (
            "<Error><Code>ExpiredToken</Code><Message>It has expired.</Message>"
            "<Token-0>token of mine</Token-0></Error>"
        )
        return response(request.url, body, status=400)

    lone_bucket.put_object(Key="out/d/in/old", Body=b"old")
    lone_bucket.meta.client.meta.events.register(f"before-send.s3.{operation}", refuse)
    sink = kind(base_directory="s3://mybucket/out", bucket=lone_bucket, remove_dest_dir=True)
    sink.inputs.d = str(workdir / "in")
    error = error_of(sink)
    assert isinstance(error, S3ClientError)
    assert error.response["Error"] == {"Code": "ExpiredToken", "Message": "It has expired."}
    assert b"token of mine" not in pickle.dumps(error)
    cause: Any = error.original
    assert "token of mine" not in f"{cause.response}"


@pytest.mark.parametrize("misconfigure", [set_missing_file, set_closed_port])
def test_a_folder_that_cannot_be_cleared_is_an_error_even_if_nothing_is_sent(
    sink: DataSink, workdir: Path, misconfigure: Misconfigure
) -> None:
    (workdir / "empty").mkdir()
    sink.inputs.x = str(workdir / "empty")
    sink.inputs.remove_dest_dir = True
    misconfigure(sink)
    error = error_of(sink)
    assert "not tried: s3://mybucket/out/x/empty" in str(error)


def test_the_signed_text_in_a_response_is_removed(injected: DataSink, lone_bucket: Bucket) -> None:
    signed = "".join(f"<{name}>the token</{name}>" for name in ("CanonicalRequest", "StringToSign"))
    body = f"<Error><Code>SignatureDoesNotMatch</Code>{signed}</Error>"

    def respond(request: Any, **_: object) -> Any:
        return response(request.url, body, status=403)

    lone_bucket.meta.client.meta.events.register("before-send.s3.ListObjectsV2", respond)
    error = error_of(injected)
    assert isinstance(error, S3ClientError)
    assert error.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert "the token" not in repr(error.response)
    assert b"the token" not in pickle.dumps(error)


def test_an_error_of_this_library_is_not_reported_as_one_of_the_store(
    injected: DataSink, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accident(*_: object, **__: object) -> None:
        raise NameError("name 'kye' is not defined")

    monkeypatch.setattr("nipype_datasink.s3.target.compare_with_bucket", accident)
    error = error_of(injected)
    assert statuses(error) == ["failed", "failed", "failed"]
    assert {type(outcome.cause) for outcome in error.outcomes[-3:]} == {NameError}
    assert "name 'kye' is not defined" in str(error)
    assert len(list((workdir / "copy").rglob("*.txt"))) == 3
