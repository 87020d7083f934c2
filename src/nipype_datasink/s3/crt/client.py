"""Keep clients of the AWS Common Runtime: one for each client of boto3, none across a fork."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from awscrt.auth import AwsCredentialsProvider
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
from s3transfer.crt import BotocoreCRTCredentialsWrapper

from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.crt.request import RequestTemplate

if TYPE_CHECKING:
    import boto3.session
    from types_boto3_s3.client import S3Client

# The smallest limit that the runtime accepts. It is for the parts of large files only; the memory
# of small files comes on top.
_MEMORY_BYTES = 256 << 20
# With this target the runtime allows up to 500 connections. It depends on it in no other way.
_TARGET_GIGABITS_PER_SECOND = 200.0
_MAX_EVENT_LOOP_THREADS = 4
_MAX_CLOSING_SECONDS = 2.0

# The clients of each client of boto3, by scheme, authentication and region. Several sinks may run
# in threads of one process: the lock guards both levels, and `_process`.
_clients: WeakKeyDictionary[S3Client, dict[tuple[str, ...], CrtClient]] = WeakKeyDictionary()
_lock = threading.Lock()
_process: int | None = None  # the one that has started the runtime
_kept_over_fork: list[Any] = []


def started_before_fork() -> bool:
    """Return whether the runtime was started in a process from which this one was forked.

    A forked process does not have the runtime's threads, and locks that those held at that time are
    never released: a call of the runtime could wait without end.
    """
    return _process not in (None, os.getpid())


def crt_client(
    client: S3Client,
    session: boto3.session.Session,
    template: RequestTemplate,
    *,
    concurrency: int | None = None,
) -> CrtClient:
    """Return the runtime's client that is kept beside one of boto3, or make it.

    Parameters
    ----------
    client
        boto3's client, opened by this package.
    session
        Session of that client, whose credentials and certificates are used.
    template
        What all requests have in common.
    concurrency
        Number of connections; None leaves it to the runtime.
    """
    global _process  # noqa: PLW0603
    with _lock:
        _process = os.getpid()
        kinds = _clients.setdefault(client, {})
        # One client of boto3 may reach buckets in several regions.
        kind = (template.scheme, template.authentication, template.region)
        if kind not in kinds:
            kinds[kind] = _make_client(session, template, concurrency)
        return kinds[kind]


def forget_idle_clients() -> None:
    """Forget all clients; those that send nothing now close their connections."""
    if started_before_fork():
        return
    with _lock:
        clients = [client for kinds in _clients.values() for client in kinds.values()]
        _clients.clear()
    # A client closes when nothing refers to it. A transport that is sending still refers to its own
    # client: do not wait for that one.
    closed = [client.shutdown_event for client in clients]
    references = [weakref.ref(client) for client in clients]
    clients.clear()
    for reference, event in zip(references, closed, strict=True):
        if reference() is None:
            event.wait(_MAX_CLOSING_SECONDS)


# A client that is destroyed waits for its threads. In a forked child these do not exist, so no
# client may be destroyed there, not even when the interpreter exits. Before the fork a list takes
# references to all clients. The parent drops it; the child keeps it until the process has ended.


def _before_fork() -> None:
    global _kept_over_fork  # noqa: PLW0603
    _lock.acquire()  # no other thread may be changing `_clients` in the moment of the fork
    _kept_over_fork = list(_clients.items())


def _after_fork_in_parent() -> None:
    global _kept_over_fork  # noqa: PLW0603
    _kept_over_fork = []
    _lock.release()


def _after_fork_in_child() -> None:
    global _clients, _lock  # noqa: PLW0603
    _clients = WeakKeyDictionary()
    _lock = threading.Lock()
    if _kept_over_fork:
        import ctypes

        # One reference too many: even at its exit, the interpreter does not destroy the list.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept_over_fork))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


def _make_client(
    session: boto3.session.Session, template: RequestTemplate, concurrency: int | None
) -> CrtClient:
    processors = os.cpu_count() or 1
    # Half of the processors: Python's thread, which makes the requests, needs one, too.
    loops = EventLoopGroup(max(1, min(_MAX_EVENT_LOOP_THREADS, processors // 2)))
    is_https = template.scheme == "https"
    signing = None
    if template.authentication != "none":
        signing = create_default_s3_signing_config(
            region=template.region, credential_provider=_credentials_provider(session)
        )
    return CrtClient(
        bootstrap=ClientBootstrap(loops, DefaultHostResolver(loops)),
        region=template.region,
        signing_config=signing,
        tls_mode=S3RequestTlsMode.ENABLED if is_https else S3RequestTlsMode.DISABLED,
        tls_connection_options=_certificates(session) if is_https else None,
        part_size=PART_BYTES,
        multipart_upload_threshold=PART_BYTES,
        throughput_target_gbps=_TARGET_GIGABITS_PER_SECOND,
        memory_limit=_MEMORY_BYTES,
        max_active_connections_override=concurrency,
    )


def _credentials_provider(session: boto3.session.Session) -> AwsCredentialsProvider:
    credentials = session.get_credentials()
    assert credentials is not None, "requests of a session without credentials are not signed"
    # Fixed credentials are copied: to ask botocore for each request, in a thread that has to wait
    # for Python's lock, takes 15 % more CPU time for small files.
    if not isinstance(credentials, RefreshableCredentials):
        frozen = credentials.get_frozen_credentials()
        return AwsCredentialsProvider.new_static(frozen.access_key, frozen.secret_key, frozen.token)
    return BotocoreCRTCredentialsWrapper(credentials).to_crt_credentials_provider()


def _certificates(session: boto3.session.Session) -> TlsConnectionOptions:
    """Return TLS options that trust the same certificates as botocore."""
    bundle = (
        session._session.get_config_variable("ca_bundle")
        or os.environ.get("REQUESTS_CA_BUNDLE")
        or where()
    )
    options = TlsContextOptions()
    options.override_default_trust_store_from_path(None, bundle)
    return ClientTlsContext(options).new_connection_options()
