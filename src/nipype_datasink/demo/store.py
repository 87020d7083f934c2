"""Provide the bucket of the demo: one of a server in this process, or the user's bucket."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from typing import TYPE_CHECKING

import click

from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import S3Prefix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from types_boto3_s3 import S3Client

# Environment of boto3 while the demo's own server runs. It hides the user's profiles, proxies and
# roles.
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The S3 store and the location that the demo writes to."""

    location: S3Prefix
    endpoint_url: str | None = None
    requests: list[str] | None = None
    """HTTP method of every request that the demo's own server received; None for other servers."""

    def client(self) -> S3Client:
        """Return a client with the credentials that boto3 finds."""
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectProperties:
    """Properties of an object that S3 reports."""

    size: int
    """Bytes."""
    etag: str
    modified: datetime
    encryption: str


def users_store(to: str, endpoint_url: str | None) -> Store:
    """Return the store and location that the user chose; the bucket must exist."""
    location = parse_location(to)
    if not isinstance(location, S3Prefix):
        raise click.UsageError(f"{to!r} is not of the form s3://bucket/prefix")
    return Store(location=location, endpoint_url=endpoint_url)


@contextmanager
def own_store() -> Iterator[Store]:
    """Start a server with an empty bucket in this process, and stop it at the end."""
    with _environment(_ENVIRONMENT), _counting_server() as (endpoint_url, requests):
        store = Store(
            location=S3Prefix("mybucket", "path/to/output/dir"),
            endpoint_url=endpoint_url,
            requests=requests,
        )
        with _bucket(store):
            yield store


@contextmanager
def _counting_server() -> Iterator[tuple[str, list[str]]]:
    """Start moto's S3 server; yield its address and the list to which it adds each HTTP method."""
    try:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            create_backend_app,
        )
        from werkzeug.serving import make_server
    except ImportError as error:
        raise click.ClickException(
            "without --to, the demo needs moto: pip install 'nipype-datasink[demo]'"
        ) from error
    requests: list[str] = []
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        requests.append(environ["REQUEST_METHOD"])
        response: Iterable[bytes] = moto(environ, start_response)
        return response

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _bucket(store: Store) -> Iterator[None]:
    """Create the bucket, and delete it at the end, because moto keeps it while the process runs."""
    import boto3

    bucket = boto3.resource("s3", endpoint_url=store.endpoint_url).Bucket(store.location.bucket)
    bucket.create()
    try:
        yield
    finally:
        bucket.objects.delete()
        bucket.delete()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set these variables, and unset all other variables of AWS, until the end."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
