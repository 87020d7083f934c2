"""A sink that writes to the bucket of the tests, and responses of S3 that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from nipype_datasink import DataSink, FileTransfer, Outcome, Status
from nipype_datasink.delivery.progress import PhaseProgress, hidden_progress
from nipype_datasink.delivery.progress_text import Phase
from nipype_datasink.s3.client import forget_clients
from tests.s3.faulty_store import LARGE
from tests.s3.scripted_store import Script, scripted
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

Answer = Callable[..., None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with every transport; only boto3 sends to an injected bucket."""
    own = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "transfer_client" in metafunc.fixturenames and "transfer_client" not in own:
        injected = "lone_bucket" in metafunc.fixturenames
        clients = ["classic"] if injected else ["classic", "crt"]
        metafunc.parametrize("transfer_client", clients)


@pytest.fixture(autouse=True)
def few_head_requests_go_through_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the transport 'crt' send each HeadObject request, as it does where many are needed."""
    monkeypatch.setattr("nipype_datasink.s3.choice._MIN_CRT_HEADS", 1)


@pytest.fixture
def sink(workdir: Path, bucket: Bucket, endpoint: str, transfer_client: str) -> DataSink:
    """A sink whose base directory is ``s3://mybucket/out``."""
    return DataSink(
        base_directory="s3://mybucket/out",
        s3_endpoint_url=endpoint,
        s3_transfer_client=transfer_client,
    )


@pytest.fixture
def files(workdir: Path) -> list[str]:
    """Three small files."""
    paths = [workdir / "in" / name for name in ("a.txt", "b.txt", "c.txt")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text(path.name)
    return [str(path) for path in paths]


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file that is sent in two parts."""
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(LARGE)
    return str(path)


@pytest.fixture
def script() -> Iterator[Script]:
    """A store whose responses a test chooses."""
    with scripted() as script:
        yield script
    forget_clients()


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    """The same behind TLS, with a certificate of an unknown authority."""
    with scripted(tmp_path_factory.mktemp("tls")) as script:
        yield script
    forget_clients()


@pytest.fixture
def lone_bucket(bucket: Bucket, endpoint: str) -> Bucket:
    """``mybucket`` with its own client, which a test may change."""
    session = boto3.session.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1"
    )
    config = Config(request_checksum_calculation="when_required")
    return session.resource("s3", endpoint_url=endpoint, config=config).Bucket(bucket.name)


@pytest.fixture
def answer(lone_bucket: Bucket) -> Answer:
    """Makes `lone_bucket` respond to an operation with an error, for keys with a certain ending."""

    def register(operation: str, status: int, code: str, ending: str = "") -> None:
        def respond(request: Any, **_: object) -> Any:
            if not request.url.partition("?")[0].endswith(ending):
                return None
            body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
            return response(request.url, body, status=status)

        lone_bucket.meta.client.meta.events.register(f"before-send.s3.{operation}", respond)

    return register


def counting() -> PhaseProgress:
    """Return what counts the files and bytes that a transport sends."""
    return hidden_progress().begin(Phase.SENDING)


def transfer_of(path: Path, content: bytes) -> FileTransfer:
    """Write a file; return its transfer to the key ``key``."""
    path.write_bytes(content)
    return FileTransfer(source=str(path), destination="s3://mybucket/key", size=len(content))


def sent(outcome: Outcome, *, verified: bool = True) -> bool:
    """Return whether a file was sent without an error."""
    return (outcome.status, outcome.cause, outcome.verified) == (Status.SENT, None, verified)


def response(url: str, body: str = "", *, status: int = 200, **headers: str) -> AWSResponse:
    """Return a response of S3 as botocore receives it."""
    answered = AWSResponse(url, status, HTTPHeaders(), None)
    answered.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    answered._content = body.encode()  # type: ignore[attr-defined]
    return answered


def check(endpoint: str, *, after: float) -> None:
    """Let moto's server check keys, signatures and policies after a number of requests."""
    address, kind = f"{endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    urlopen(Request(address, str(after).encode(), kind, method="POST")).close()
