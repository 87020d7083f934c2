"""A store that accepts connections and does not respond is given up soon, a slow one is not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ReadTimeoutError

from nipype_datasink import DataSink, FileTransfer, Outcome, S3Error, Status
from nipype_datasink.s3 import silence
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.choice import choose_transport, open_head_sender
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.client import ClientOptions, forget_clients, open_bucket
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.silence import is_silent
from tests.s3.conftest import counting, sent, transfer_of
from tests.s3.scripted_store import Reply, Request, Script


class SilentStore:
    """Accepts connections and does nothing else."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"

    def accept(self) -> None:
        try:
            while True:
                self.connections.append(self._server.accept()[0])
        except OSError:
            return  # the test has ended


@contextmanager
def silent_store() -> Iterator[SilentStore]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        store = SilentStore(server)
        thread = threading.Thread(target=store.accept)
        thread.start()
        try:
            yield store
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in store.connections:
                connection.close()


@pytest.fixture
def silent(credentials: None, impatient: None) -> Iterator[SilentStore]:
    with silent_store() as store:
        yield store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait only a moment for responses."""
    monkeypatch.setattr(silence, "RESPONSE_SECONDS", 0.5)
    monkeypatch.setattr(silence, "PROBE_SECONDS", 0.5)
    yield
    forget_clients()


def bucket_at(url: str) -> BucketClient:
    client = open_bucket("mybucket", ClientOptions(endpoint_url=url)).meta.client
    return BucketClient(client=client, name="mybucket", upload_args={})


def send(transfer_client: str, url: str, *transfers: FileTransfer) -> list[Outcome]:
    transport = choose_transport(
        transfer_client, bucket_at(url), estimator=ConcurrencyEstimator(1), phase=counting()
    )
    return transport.send(transfers, CircuitBreaker())


def test_times_are_less_than_a_minute_together() -> None:
    assert silence.RESPONSE_SECONDS + silence.PROBE_SECONDS < 60


def test_a_store_that_answers_is_not_silent(
    silent: SilentStore, script: Script, secure: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_silent(f"{silent.url}/mybucket")
    assert is_silent(silent.url.replace("http:", "https:"))
    assert not is_silent(f"{script.url}/mybucket")
    assert not is_silent("http://127.0.0.1:9")
    monkeypatch.setattr(silence, "PROBE_SECONDS", 10)
    assert not is_silent(secure.url)
    monkeypatch.setenv("HTTP_PROXY", script.url)
    assert not is_silent(silent.url)


def test_a_silent_store_is_given_up(
    silent: SilentStore, tmp_path: Path, transfer_client: str
) -> None:
    first = transfer_of(tmp_path / "file", b"abc")
    second = replace(first, destination="s3://mybucket/other")
    outcomes = send(transfer_client, silent.url, first, second)
    assert [outcome.status for outcome in outcomes] == [Status.FAILED, Status.NOT_TRIED]
    assert isinstance(outcomes[0].cause, ReadTimeoutError)
    assert len(silent.connections) == 2  # the second is that of the small request


def test_a_slow_response_is_waited_for(
    impatient: None, credentials: None, script: Script, tmp_path: Path, transfer_client: str
) -> None:
    def delay(_: Request) -> None:
        if len(script.requests_of("PutObject")) == 1:
            threading.Event().wait(1.2)

    script.rule("PutObject", delay)
    (outcome,) = send(transfer_client, script.url, transfer_of(tmp_path / "file", b"abc"))
    assert sent(outcome)
    assert any(request.path == "/" for request in script.requests)


def test_a_silent_store_is_given_up_while_files_are_compared(
    silent: SilentStore, transfer_client: str
) -> None:
    sender = open_head_sender(
        transfer_client, bucket_at(silent.url), ["key"], estimator=ConcurrencyEstimator(1)
    )
    with pytest.raises(ReadTimeoutError):
        sender.head("key")
    sender.close()
    assert len(silent.connections) == 2


def test_a_slow_response_to_head_object_is_waited_for(
    impatient: None, credentials: None, script: Script, transfer_client: str
) -> None:
    def delay(_: Request) -> Reply:
        if len(script.requests_of("HeadObject")) == 1:
            threading.Event().wait(1.2)
        return Reply(headers={"ETag": '"opaque"'})

    script.rule("HeadObject", delay, ending="key")
    sender = open_head_sender(
        transfer_client, bucket_at(script.url), ["key"], estimator=ConcurrencyEstimator(1)
    )
    assert sender.head("key")["ETag"] == '"opaque"'


@pytest.mark.parametrize("transfer_client", ["crt"])
def test_an_upload_of_parts_is_not_waited_for(
    credentials: None,
    impatient: None,
    script: Script,
    tmp_path: Path,
    transfer_client: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended, answered = threading.Event(), threading.Event()

    def hang(_: Request) -> None:
        ended.wait(20)
        answered.set()

    monkeypatch.setattr(silence, "is_silent", lambda _: True)
    script.rule("UploadPart", hang)
    script.rule("AbortMultipartUpload", hang)
    (outcome,) = send(
        transfer_client, script.url, transfer_of(tmp_path / "file", bytes(PART_BYTES + 1))
    )
    assert not answered.is_set()
    ended.set()
    assert isinstance(outcome.cause, ReadTimeoutError)


def test_the_error_says_that_the_store_does_not_respond(
    silent: SilentStore, workdir: Path, transfer_client: str
) -> None:
    (workdir / "a").write_text("a")
    sink = DataSink(
        base_directory="s3://mybucket",
        s3_endpoint_url=silent.url,
        s3_transfer_client=transfer_client,
    )
    sink.inputs.x = str(workdir / "a")
    with pytest.raises(S3Error, match="accepts connections but did not respond in time"):
        sink.run()
    assert len(silent.connections) == 2
