"""Opening buckets: who we are, and clients that are kept per process."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from nipype_datasink.errors import CredentialsError, S3Error
from nipype_datasink.planning.addresses import check_no_password, expand_home, remove_passwords
from nipype_datasink.s3.boto3_bucket import is_signed
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS
from nipype_datasink.s3.credentials import Keys, parse_credentials
from nipype_datasink.s3.crt.request import register_probe
from nipype_datasink.s3.mocking import is_mocked

if TYPE_CHECKING:
    import boto3.session
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.service_resource import Bucket, S3ServiceResource

__all__ = [
    "ClientOptions",
    "forget_clients",
    "open_bucket",
    "read_credentials",
    "session_of",
]

_logger = logging.getLogger("nipype.interface")

_LARGEST = 1 << 20  # bytes of a credentials file; more is something else
_RELATIVE = "a node runs in its own directory, so give it a whole path"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What a client is made of, besides the environment and AWS's own configuration files."""

    keys: Keys | None = None
    """Access key; None leaves it to boto3: environment, profile, SSO, container, instance."""

    profile: str | None = None
    """Profile of AWS's configuration files."""

    region: str | None = None
    """AWS region; a wrong one is followed to the right one."""

    endpoint_url: str | None = None
    """Address of another store that speaks S3."""

    concurrency: int | None = None
    """Requests at a time; None leaves it to the work."""


def read_credentials(path: str) -> Keys:
    """Read the access key from the file at `path`.

    Raises
    ------
    CredentialsError
        If the file is missing, unreadable, or none that AWS hands out.
    """
    expanded = expand_home(path, "creds_path")
    place = os.path.abspath(expanded)
    try:
        with open(place, "rb") as file:
            content = file.read(_LARGEST)
    except OSError as error:
        where = "" if expanded == place else f" (looked for at {place!r}; {_RELATIVE})"
        raise CredentialsError(
            f"creds_path {path!r} cannot be read: {error.strerror}{where}. Set it to the file AWS "
            "handed out, or leave it unset to use the environment or a profile"
        ) from error
    try:
        return parse_credentials(content)
    except CredentialsError as error:
        raise CredentialsError(f"creds_path {path!r} cannot be used: {error}") from None


def open_bucket(name: str, connection: ClientOptions) -> Bucket:
    """Return a bucket, through a client that is kept for as long as nothing changes.

    No request is made: a role that may only write objects need not be able to look at the bucket.
    Without any credentials at all, requests are not signed.

    Raises
    ------
    S3Error
        If boto3 is not installed, or cannot be configured so.
    """
    try:
        import boto3.session  # noqa: F401
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise S3Error("boto3 is not installed; run 'pip install boto3'") from error
    try:
        return _resource(connection).Bucket(name)
    except (BotoCoreError, ValueError) as error:
        text = remove_passwords(str(error))  # botocore shows addresses as they are
        cause = error if text == str(error) else None
        raise S3Error(f"cannot prepare a client for S3: {text}") from cause


# A few are kept, the last used at the end: each costs 0.04 s, and memory, threads and sockets.
_KEPT = 4
_resources: dict[str, S3ServiceResource] = {}
_sessions: WeakKeyDictionary[S3Client, boto3.session.Session] = WeakKeyDictionary()
_lock = threading.Lock()


def forget_clients() -> None:
    """Forget all clients, so that the next bucket is opened with a new one."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _resources.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_clients)  # sockets must not be shared


def session_of(client: S3Client) -> boto3.session.Session | None:
    """Return the session of a client that was made here; None for any other client."""
    return _sessions.get(client)


def _resource(connection: ClientOptions) -> S3ServiceResource:
    fingerprint = _fingerprint(connection)
    with _lock:
        resource = _resources.pop(fingerprint, None) or _make_resource(connection)
        if is_signed(resource):  # who has no credentials now may have some the next time
            _resources[fingerprint] = resource
        else:
            _logger.warning("no credentials were found: requests to S3 are not signed")
        for oldest in list(_resources)[:-_KEPT]:
            del _resources[oldest]
        return resource


def _fingerprint(connection: ClientOptions) -> str:
    """Return a digest of everything that a client is made from."""
    environment = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith("AWS_")
        or name.lower().endswith("_proxy")
        or name == "REQUESTS_CA_BUNDLE"
    )
    files = [
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ]
    keys = connection.keys
    secrets = (keys.secret_access_key, keys.session_token) if keys else ()
    parts = (connection, secrets, environment, [_version(path) for path in files], is_mocked())
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()


def _version(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(os.path.expanduser(path))
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _make_resource(connection: ClientOptions) -> S3ServiceResource:
    from botocore.config import Config
    from botocore.handlers import add_expect_header

    from nipype_datasink.s3.deletion import send_content_md5
    from nipype_datasink.s3.session import start_session

    keys = connection.keys
    session = start_session(
        aws_access_key_id=keys.access_key_id if keys else None,
        aws_secret_access_key=keys.secret_access_key if keys else None,
        aws_session_token=keys.session_token if keys else None,
        region_name=connection.region,
        profile_name=connection.profile,
    )
    config = Config(**_settings(session, connection))
    with _uncollected():
        resource = session.resource("s3", endpoint_url=connection.endpoint_url, config=config)
    client = resource.meta.client
    check_no_password(client.meta.endpoint_url, "the endpoint in AWS's configuration")
    if not _is_aws(client, session) and not _checksums_chosen(session):
        # Other stores answer 411 to the trailers that boto3 adds by default, or corrupt the body.
        client.meta.config.request_checksum_calculation = "when_required"  # type: ignore[attr-defined]
    # The wait for "100 Continue" costs a whole round trip for each object.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    register_probe(client.meta.events)
    send_content_md5(client.meta.events)
    _sessions[client] = session
    return resource


def _settings(session: boto3.session.Session, connection: ClientOptions) -> dict[str, Any]:
    import boto3
    from botocore import UNSIGNED

    settings: dict[str, Any] = {
        "max_pool_connections": connection.concurrency or CLASSIC_REQUESTS.maximum,
        # Composing the default takes a third of the time of a small request.
        "user_agent": f"nipype-datasink Boto3/{boto3.__version__}",
    }
    if session.get_credentials() is None:
        settings["signature_version"] = UNSIGNED
    return settings


@contextmanager
def _uncollected() -> Iterator[None]:
    """Do not look for garbage: among the 100,000 objects of a client there is none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_aws(client: S3Client, session: boto3.session.Session) -> bool:
    """Return whether a client's requests go to AWS, in whichever of its partitions."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    # What botocore resolves endpoints by; the domains of some partitions appear nowhere else.
    known = session._session.get_component("data_loader").load_data("partitions")["partitions"]
    domains = {
        partition["outputs"][name]
        for partition in known
        for name in ("dnsSuffix", "dualStackDnsSuffix")
    }
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _checksums_chosen(session: boto3.session.Session) -> bool:
    profile = session._session.get_scoped_config()
    return "AWS_REQUEST_CHECKSUM_CALCULATION" in os.environ or (
        "request_checksum_calculation" in profile
    )
