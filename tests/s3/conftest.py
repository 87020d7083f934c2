"""A sink that writes to the bucket of the tests, and answers of S3 made up on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from nipype_datasink import DataSink
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

Answer = Callable[..., None]


@pytest.fixture
def sink(workdir: Path, bucket: Bucket, endpoint: str) -> DataSink:
    """A sink whose base directory is ``s3://mybucket/out``."""
    return DataSink(base_directory="s3://mybucket/out", s3_endpoint_url=endpoint)


@pytest.fixture
def files(workdir: Path) -> list[str]:
    """Three small files."""
    paths = [workdir / "in" / name for name in ("a.txt", "b.txt", "c.txt")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text(path.name)
    return [str(path) for path in paths]


@pytest.fixture
def lone_bucket(bucket: Bucket, endpoint: str) -> Bucket:
    """``mybucket`` through a client of its own, which a test may tamper with."""
    session = boto3.session.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1"
    )
    config = Config(request_checksum_calculation="when_required")
    return session.resource("s3", endpoint_url=endpoint, config=config).Bucket(bucket.name)


@pytest.fixture
def answer(lone_bucket: Bucket) -> Answer:
    """Lets `lone_bucket` answer an operation with an error, for keys with a certain ending."""

    def register(operation: str, status: int, code: str, ending: str = "") -> None:
        def respond(request: Any, **_: object) -> Any:
            if not request.url.partition("?")[0].endswith(ending):
                return None
            body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
            return response(request.url, body, status=status)

        lone_bucket.meta.client.meta.events.register(f"before-send.s3.{operation}", respond)

    return register


def response(url: str, body: str = "", *, status: int = 200, **headers: str) -> AWSResponse:
    """Return what botocore takes for an answer of S3."""
    answered = AWSResponse(url, status, HTTPHeaders(), None)
    answered.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    answered._content = body.encode()  # type: ignore[attr-defined]
    return answered


def check(endpoint: str, *, after: float) -> None:
    """Let moto's server check keys, signatures and policies after so many requests."""
    address, kind = f"{endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    urlopen(Request(address, str(after).encode(), kind, method="POST")).close()
