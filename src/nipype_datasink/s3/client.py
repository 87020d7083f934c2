"""Open buckets through boto3 clients that are kept for later sinks of the same process."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.handlers import add_expect_header

from nipype_datasink.display import escaped
from nipype_datasink.errors import S3Error
from nipype_datasink.planning.addresses import check_no_password, remove_passwords
from nipype_datasink.s3 import silence
from nipype_datasink.s3.boto3_bucket import is_signed
from nipype_datasink.s3.concurrency import CLASSIC_REQUESTS
from nipype_datasink.s3.credentials import AccessKey
from nipype_datasink.s3.deletion import send_content_md5
from nipype_datasink.s3.endpoint import parse_endpoint
from nipype_datasink.s3.latency import record_answers
from nipype_datasink.s3.mocking import is_mocked
from nipype_datasink.s3.redirects import limit_redirects
from nipype_datasink.s3.session import start_session

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.service_resource import Bucket, S3ServiceResource

_logger = logging.getLogger("nipype.interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Options of a client, besides the environment and AWS's own configuration files."""

    access_key: AccessKey | None = None
    """Access key; with None boto3 looks for one: environment, profile, SSO, container, instance."""

    profile: str | None = None
    """Profile of AWS's configuration files."""

    region: str | None = None
    """AWS region; if the bucket is in another one, boto3 learns it from the first response."""

    endpoint_url: str | None = None
    """Address of an S3-compatible store; None is AWS."""

    concurrency: int | None = None
    """Maximum number of concurrent requests; with None it depends on the work."""


def open_bucket(name: str, options: ClientOptions) -> Bucket:
    """Return a bucket; its client is kept until an option, the environment or a file changes.

    No request is sent: a role that may only write objects need not be able to look at the bucket.
    Requests are unsigned only if there are no credentials at all.

    Raises
    ------
    S3Error
        If boto3 cannot make a client with these options.
    """
    try:
        return _find_or_make_resource(options).Bucket(name)
    except (BotoCoreError, ValueError) as error:
        text = remove_passwords(str(error))  # botocore shows addresses as they are
        cause = error if text == str(error) else None
        advice = ""
        if isinstance(error, ProfileNotFound):
            advice = "; set s3_profile, or AWS_PROFILE, to a profile of AWS's configuration files"
        raise S3Error(f"cannot make a client for S3: {escaped(text)}{advice}") from cause


# Making a client takes tens of milliseconds, and a client keeps memory, threads and sockets. So a
# few are kept, the last used at the end.
_MAX_CLIENTS = 4
_resources: dict[str, S3ServiceResource] = {}

# The session of each client. Weak: it lasts as long as the client, which others may hold.
_sessions: WeakKeyDictionary[S3Client, boto3.session.Session] = WeakKeyDictionary()

# Guards `_resources`, also while a client is made, so that two threads do not make the same one.
_lock = threading.Lock()


def forget_clients() -> None:
    """Forget all clients, so that the next bucket is opened with a new one."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()  # in a forked child, the thread that held the old one does not exist
    _resources.clear()


if hasattr(os, "register_at_fork"):
    # Two processes that share a socket would mix their requests.
    os.register_at_fork(after_in_child=forget_clients)


def session_of(client: S3Client) -> boto3.session.Session | None:
    """Return the session of a client that this module has made; None for any other client."""
    return _sessions.get(client)


def _find_or_make_resource(options: ClientOptions) -> S3ServiceResource:
    fingerprint = _fingerprint(options)
    with _lock:
        resource = _resources.pop(fingerprint, None) or _make_resource(options)
        # An unsigned client is not kept: there may be credentials the next time, from a role or a
        # login that no fingerprint shows.
        if is_signed(resource):
            _resources[fingerprint] = resource
        else:
            _logger.warning("no credentials were found: requests to S3 are not signed")
        for least_recent in list(_resources)[:-_MAX_CLIENTS]:
            del _resources[least_recent]
        return resource


def _fingerprint(options: ClientOptions) -> str:
    """Return a digest of everything that a client is made from; it reveals no secret."""
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
    access_key = options.access_key
    # `repr` of the access key leaves the secrets out.
    secrets = (access_key.secret_access_key, access_key.session_token) if access_key else ()
    versions = [_file_version(path) for path in files]
    # A client that was made before `mock_aws` began is not mocked, and the other way round.
    parts = (options, secrets, environment, versions, is_mocked())
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()


def _file_version(path: str) -> tuple[int, int] | None:
    """Return time (ns) and size (bytes) of a file; None if it cannot be read."""
    try:
        status = os.stat(os.path.expanduser(path))
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _make_resource(options: ClientOptions) -> S3ServiceResource:
    access_key = options.access_key
    session = start_session(
        aws_access_key_id=access_key.access_key_id if access_key else None,
        aws_secret_access_key=access_key.secret_access_key if access_key else None,
        aws_session_token=access_key.session_token if access_key else None,
        region_name=options.region,
        profile_name=options.profile,
    )
    config = _client_config(session, options)
    resource = session.resource("s3", endpoint_url=options.endpoint_url, config=config)
    client = resource.meta.client
    check_no_password(client.meta.endpoint_url, "the endpoint in AWS's configuration")
    parse_endpoint(client.meta.endpoint_url)
    if not _is_aws(client, session) and not _user_chose_checksums(session):
        # boto3 sends checksums in trailers by default. Some other stores answer 411 to them, and
        # some write the trailer into the object.
        client.meta.config.request_checksum_calculation = "when_required"  # type: ignore[attr-defined]
    # With `Expect: 100-continue` botocore waits for a response before it sends a body, which costs
    # one round trip for each object.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    send_content_md5(client.meta.events)
    limit_redirects(client.meta.events, ".HeadBucket")
    record_answers(client)
    silence.stop_retries_if_silent(client.meta.events)
    _sessions[client] = session
    return resource


def _client_config(session: boto3.session.Session, options: ClientOptions) -> Config:
    settings: dict[str, Any] = {
        "max_pool_connections": options.concurrency or CLASSIC_REQUESTS.maximum,
        "connect_timeout": silence.RESPONSE_SECONDS,
        "read_timeout": silence.RESPONSE_SECONDS,
        # botocore composes its default anew for each request, which takes a third of the CPU of a
        # small one.
        "user_agent": f"nipype-datasink Boto3/{boto3.__version__}",
    }
    if session.get_credentials() is None:
        settings["signature_version"] = UNSIGNED
    return Config(**settings)


def _is_aws(client: S3Client, session: boto3.session.Session) -> bool:
    """Return whether a client's requests go to AWS, in any of its partitions."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    # botocore's own data for endpoints. No other list has the domains of all partitions.
    known = session._session.get_component("data_loader").load_data("partitions")["partitions"]
    domains = {
        partition["outputs"][name]
        for partition in known
        for name in ("dnsSuffix", "dualStackDnsSuffix")
    }
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _user_chose_checksums(session: boto3.session.Session) -> bool:
    """Return whether the environment or a configuration file says when to send checksums."""
    profile = session._session.get_scoped_config()
    return "AWS_REQUEST_CHECKSUM_CALCULATION" in os.environ or (
        "request_checksum_calculation" in profile
    )
