"""Clients of the AWS Common Runtime: their credentials, and how long they exist."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import RefreshableCredentials
from botocore.session import Session

from nipype_datasink import DataSink, S3Error
from nipype_datasink.s3.client import forget_clients
from nipype_datasink.s3.crt import client
from tests.s3.scripted_store import Request, Script
from tests.stores import ACCESS_KEY

Make = Callable[..., DataSink]


@pytest.fixture
def make(workdir: Path, script: Script) -> Make:
    """Return a function that makes a sink whose one file the runtime sends."""
    (workdir / "a").write_text("a")

    def sink(**inputs: Any) -> DataSink:
        return DataSink(
            base_directory="s3://mybucket",
            s3_endpoint_url=script.url,
            s3_transfer_client="crt",
            infields=["x"],
            x=str(workdir / "a"),
            **inputs,
        )

    return sink


def uploads(script: Script) -> list[Request]:
    """Return what the runtime sent, and forget it."""
    found = script.requests_of("PutObject")
    assert found
    script.requests.clear()
    return found


def signer(script: Script) -> str:
    """Return access key, region and token of the only upload."""
    (request,) = uploads(script)
    scope = request.headers.get("authorization", "").partition("Credential=")[2].split("/")
    token = request.headers.get("x-amz-security-token", "")
    return " ".join(filter(None, [scope[0], *scope[2:3], token]))


def test_requests_are_signed_with_the_keys_of_the_environment(
    make: Make, credentials: None, script: Script
) -> None:
    make().run()
    assert signer(script) == f"{ACCESS_KEY} us-east-1"


def test_requests_are_signed_for_the_region_with_the_session_token(
    make: Make, credentials: None, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    make(s3_region="eu-central-1").run()
    assert signer(script) == f"{ACCESS_KEY} eu-central-1 token"


def test_creds_path_is_used_and_read_again(
    make: Make, credentials: None, script: Script, workdir: Path
) -> None:
    sink = make(creds_path=str(workdir / "keys"))
    for key in ("AKIAOLD", "AKIANEW"):
        (workdir / "keys").write_text(f"AWSAccessKeyId={key}\nAWSSecretKey=secret\n")
        sink.run()
        assert signer(script) == f"{key} us-east-1"


def test_requests_are_not_signed_without_credentials(make: Make, script: Script) -> None:
    make().run()
    assert signer(script) == ""


def test_expired_credentials_are_refreshed(
    make: Make, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def fetch() -> dict[str, str]:
        nonlocal calls
        calls += 1
        return {
            "access_key": f"AKIA{calls}",
            "secret_key": "secret",
            "token": "token",
            "expiry_time": (datetime.now(timezone.utc) + timedelta(seconds=1)).isoformat(),
        }

    found = RefreshableCredentials.create_from_metadata(fetch(), fetch, "role")
    monkeypatch.setattr(Session, "get_credentials", lambda self: found)
    sink = make()
    seen = set()
    for _ in range(2):
        sink.run()
        seen.add(signer(script))
    assert len(seen) == 2
    assert all(text.startswith("AKIA") and text.endswith("token") for text in seen)


def test_a_client_exists_as_long_as_the_client_of_boto3(
    make: Make, credentials: None, script: Script
) -> None:
    forget_clients()
    sink = make()
    sink.run()
    sink.run()
    assert sum(len(kinds) for kinds in client._clients.values()) == 1
    forget_clients()
    for thread in threading.enumerate():  # one that has just sent may still refer to the client
        if thread.name == "datasink":
            thread.join(10)
    assert not client._clients


def test_idle_connections_are_closed_where_descriptors_are_scarce(
    make: Make, credentials: None, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    make().run()
    assert client._clients
    monkeypatch.setattr("nipype_datasink.s3.choice.are_descriptors_scarce", lambda: True)
    make().run()
    assert not client._clients
    monkeypatch.undo()


def test_a_client_in_use_is_not_closed(make: Make, credentials: None, script: Script) -> None:
    make().run()
    ((made,),) = (kinds.values() for kinds in client._clients.values())
    client.forget_idle_clients()
    assert not made.shutdown_event.is_set()
    ended = made.shutdown_event
    del made
    assert ended.wait(10)


def test_boto3_sends_if_the_runtime_cannot_start(
    make: Make, credentials: None, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("AWS_ERROR_MAX_FDS_EXCEEDED")

    forget_clients()
    monkeypatch.setattr(client, "EventLoopGroup", fail)
    sink = make()
    with pytest.raises(S3Error, match="its client cannot be made: AWS_ERROR_MAX_FDS_EXCEEDED"):
        sink.run()
    sink.inputs.s3_transfer_client = "auto"
    sink.run()
    assert uploads(script)
