"""The AWS Common Runtime: one client for each of boto3's, and none across a fork."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from awscrt.auth import AwsCredentials, AwsCredentialsProvider
from awscrt.io import (
    ClientBootstrap,
    ClientTlsContext,
    DefaultHostResolver,
    EventLoopGroup,
    TlsConnectionOptions,
    TlsContextOptions,
)
from awscrt.s3 import S3Client as CrtClient
from awscrt.s3 import S3RequestTlsMode, create_default_s3_signing_config
from botocore.credentials import RefreshableCredentials
from botocore.httpsession import where

from nipype_datasink.s3.comparison import PART_SIZE
from nipype_datasink.s3.crt.request import RequestTemplate

if TYPE_CHECKING:
    import boto3.session
    from types_boto3_s3.client import S3Client

__all__ = ["crt_client", "forget_idle_clients", "started_before_fork"]

# The least that the runtime takes: it holds the parts of large files. Small ones come on top.
_MEMORY = 256 << 20  # bytes
# Allows up to 500 connections, as many as hide a round trip of 50 ms. Nothing else depends on it.
_TARGET = 200.0  # gigabits per second
_THREADS = 4
_CLOSING_SECONDS = 2.0

_clients: WeakKeyDictionary[S3Client, dict[tuple[str, ...], CrtClient]] = WeakKeyDictionary()
_lock = threading.Lock()
_process: int | None = None
_held: list[Any] = []


def started_before_fork() -> bool:
    """Return whether the runtime was started in a process that this one was forked from.

    Its threads are not here, and locks that they held may never be released.
    """
    return _process not in (None, os.getpid())


def crt_client(
    client: S3Client,
    session: boto3.session.Session,
    template: RequestTemplate,
    *,
    concurrency: int | None = None,
) -> CrtClient:
    """Return the runtime's client that stands beside `client`.

    Parameters
    ----------
    client
        boto3's, opened by us.
    session
        That it comes from: its credentials and certificates are used.
    template
        Of its requests.
    concurrency
        Connections at a time; None leaves it to the runtime.
    """
    global _process  # noqa: PLW0603
    with _lock:
        _process = os.getpid()
        beside = _clients.setdefault(client, {})
        kind = (template.scheme, template.authentication, template.region)  # buckets have their own
        if kind not in beside:
            beside[kind] = _make_client(session, template, concurrency)
        return beside[kind]


def forget_idle_clients() -> None:
    """Close the connections of clients that send nothing now; the next delivery makes new ones."""
    if started_before_fork():
        return
    with _lock:
        clients = [client for beside in _clients.values() for client in beside.values()]
        _clients.clear()
    ended = [client.shutdown_event for client in clients]
    alive = [weakref.ref(client) for client in clients]
    clients.clear()  # a transport that is sending keeps its own
    for client, event in zip(alive, ended, strict=True):
        if client() is None:
            event.wait(_CLOSING_SECONDS)


def _hold() -> None:
    """Before a fork, keep the child from destroying what belongs to threads it does not have."""
    global _held  # noqa: PLW0603
    _lock.acquire()
    _held = list(_clients.items())


def _release() -> None:
    global _held  # noqa: PLW0603
    _held = []
    _lock.release()


def _leave_behind() -> None:
    """In the child, start anew; what is held stays, even when the interpreter ends."""
    global _clients, _lock  # noqa: PLW0603
    _clients = WeakKeyDictionary()
    _lock = threading.Lock()
    if _held:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_held))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_leave_behind)


def _make_client(
    session: boto3.session.Session, template: RequestTemplate, concurrency: int | None
) -> CrtClient:
    processors = os.cpu_count() or 1
    loops = EventLoopGroup(max(1, min(_THREADS, processors // 2)))  # requests are made elsewhere
    secure = template.scheme == "https"
    signing = None
    if template.authentication != "none":
        signing = create_default_s3_signing_config(
            region=template.region, credential_provider=_provider(session)
        )
    return CrtClient(
        bootstrap=ClientBootstrap(loops, DefaultHostResolver(loops)),
        region=template.region,
        signing_config=signing,
        tls_mode=S3RequestTlsMode.ENABLED if secure else S3RequestTlsMode.DISABLED,
        tls_connection_options=_certificates(session) if secure else None,
        part_size=PART_SIZE,
        multipart_upload_threshold=PART_SIZE,
        throughput_target_gbps=_TARGET,
        memory_limit=_MEMORY,
        max_active_connections_override=concurrency,
    )


def _provider(session: boto3.session.Session) -> AwsCredentialsProvider:
    credentials = session.get_credentials()
    assert credentials is not None, "requests of a session without credentials are not signed"
    if not isinstance(credentials, RefreshableCredentials):
        frozen = credentials.get_frozen_credentials()
        return AwsCredentialsProvider.new_static(frozen.access_key, frozen.secret_key, frozen.token)

    def fresh() -> AwsCredentials:
        now = credentials.get_frozen_credentials()
        return AwsCredentials(now.access_key, now.secret_key, now.token)

    return AwsCredentialsProvider.new_delegate(fresh)


def _certificates(session: boto3.session.Session) -> TlsConnectionOptions:
    """Return the certificates that botocore trusts."""
    bundle = (
        session._session.get_config_variable("ca_bundle")
        or os.environ.get("REQUESTS_CA_BUNDLE")
        or where()
    )
    options = TlsContextOptions()
    options.override_default_trust_store_from_path(None, bundle)
    return ClientTlsContext(options).new_connection_options()
