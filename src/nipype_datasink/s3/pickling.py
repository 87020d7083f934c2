"""How an injected bucket survives copies, pickles and hashes; no secret ever travels with it."""

from __future__ import annotations

import copyreg
import logging
import multiprocessing
import os
import pickle
import sys
import threading
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nipype_datasink.errors import CredentialsError, S3Error
from nipype_datasink.planning.addresses import remove_passwords
from nipype_datasink.s3.client import is_mocked
from nipype_datasink.worker import describe_process

__all__ = [
    "Reference",
    "credentials_of",
    "describe",
    "enable_pickling",
    "is_boto3",
    "resolve_bucket",
    "secrets_of",
]

_logger = logging.getLogger("nipype.interface")


@dataclass(frozen=True, slots=True)
class Reference:
    """What travels in a bucket's place: everything needed to find it again, and no secret."""

    token: str
    """Names the object in the process where it was injected, and in those forked from it."""

    name: str
    """Name of the bucket."""

    endpoint_url: str | None = None
    """Address of the store; None if it is not boto3's own bucket."""

    region: str | None = None
    """AWS region."""

    signed: bool = False
    """Whether its requests are signed."""

    own: bytes | None = field(default=None, repr=False)
    """Own pickle of a bucket that is not boto3's, if it can be pickled."""

    mocked: bool = False
    """Whether moto's ``mock_aws`` stands in for the store, which it does in its process only."""


# Buckets that have been referred to in this process or in the one it was forked from, with that
# process's number. A copy of a node must reach the very same bucket, for as long as somebody holds
# it; each has sockets and memory, so it must not stay longer. Nothing here is iterated over: the
# death of a bucket changes these dictionaries at any moment.
_known: dict[str, tuple[int, Callable[[], Any]]] = {}
_tokens: dict[int, str] = {}  # by the bucket's `id`

# What stands for the buckets of a parent in its forked children, by process and token.
_renewals: dict[tuple[int, str], Any] = {}

# Guards all three; the thread that holds it may collect garbage, and so forget a bucket.
_lock = threading.RLock()


def is_boto3(bucket: object) -> bool:
    """Return whether `bucket` is boto3's own; boto3 is not imported to find out."""
    base = sys.modules.get("boto3.resources.base")
    return base is not None and isinstance(bucket, base.ServiceResource)


def describe(bucket: Any) -> str:
    """Return a text that is the same in every run and process: name and endpoint."""
    reference = bucket if isinstance(bucket, Reference) else _reference("", bucket)
    return f"bucket {reference.name} at {reference.endpoint_url or 'no endpoint'}"


def enable_pickling(bucket: Any = None) -> None:
    """Teach buckets to be copied and pickled by reference.

    Nipype copies and pickles the inputs of nodes, in places where only the value itself can say
    how. boto3's buckets learn it as soon as boto3 is imported, others when they are injected.

    Parameters
    ----------
    bucket
        The one that is injected. Processes that are forked later know then what it stands for.
    """
    base = sys.modules.get("boto3.resources.base")
    if base is not None and base.ServiceResource.__reduce_ex__ is not _reduce_boto3:
        base.ServiceResource.__reduce_ex__ = _reduce_boto3
    if hasattr(bucket, "upload_file"):
        reference_to(bucket)
        if not is_boto3(bucket):
            copyreg.pickle(type(bucket), _reduce)


def _reduce_boto3(resource: Any, protocol: Any) -> Any:
    if type(resource).__name__ != "s3.Bucket":
        return object.__reduce_ex__(resource, protocol)
    return unpickle_bucket, (reference_to(resource),)


def _reduce(bucket: Any) -> Any:
    if not _token_of(bucket):  # a class may have other instances, of which we know nothing
        return bucket.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
    return unpickle_bucket, (reference_to(bucket),)


def _token_of(bucket: Any) -> str | None:
    token = _tokens.get(id(bucket), "")
    return token if _lookup(token)[1] is bucket else None


def _lookup(token: str) -> tuple[int, Any]:
    """Return the bucket, None if nobody holds it any more, and the process where it was made."""
    process, bucket = _known.get(token, (0, _nothing))
    return process, bucket()


def _nothing() -> None:
    return None


def reference_to(bucket: Any) -> Reference:
    """Return what travels in place of `bucket`."""
    with _lock:
        token = _token_of(bucket)
        if token is None:
            token = uuid.uuid4().hex
            _known[token] = (os.getpid(), _weakly(bucket, token))
            _tokens[id(bucket)] = token
    return _reference(token, bucket)


def _weakly(bucket: Any, token: str) -> Callable[[], Any]:
    """Return what returns the bucket for as long as somebody else holds it."""
    identity = id(bucket)

    def forget(_: object) -> None:
        with _lock:
            _known.pop(token, None)
            _renewals.pop((os.getpid(), token), None)
            if _tokens.get(identity) == token:
                del _tokens[identity]

    try:
        return weakref.ref(bucket, forget)
    except TypeError:  # a fake with slots
        return lambda: bucket


def _renew_lock() -> None:
    """In a forked child, where nobody would release the lock that another thread held."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _reference(token: str, bucket: Any) -> Reference:
    if not is_boto3(bucket):
        name = getattr(bucket, "name", None)
        name = name if isinstance(name, str) else type(bucket).__name__
        return Reference(token, name, own=_own_pickle(bucket))
    meta = bucket.meta.client.meta
    return Reference(
        token,
        bucket.name,
        remove_passwords(meta.endpoint_url),
        meta.region_name,
        signed=credentials_of(bucket) is not None,
        mocked=is_mocked(),
    )


class _DefaultPickle:
    """Pickles as an object would if it had not been taught to travel by reference."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket

    def __reduce_ex__(self, _: Any) -> Any:
        # Later protocols insist that an object's reduction is pickled by the object itself.
        return self._bucket.__reduce_ex__(1)


def _own_pickle(bucket: Any) -> bytes | None:
    try:
        return pickle.dumps(_DefaultPickle(bucket))
    except Exception:  # noqa: BLE001 - whatever keeps it from being pickled
        return None


def unpickle_bucket(reference: Reference) -> Any:
    """Return the bucket itself where it is known, elsewhere the reference.

    Nothing here can fail: an error while a node is unpickled would end a pool of workers, and
    nipype would wait for them for ever.
    """
    process, bucket = _lookup(reference.token)
    return bucket if bucket is not None and process == os.getpid() else reference


def resolve_bucket(bucket: Any) -> Any:
    """Return `bucket`, or what it stands for, with a client whose sockets nobody else uses.

    Raises
    ------
    CredentialsError
        If its requests were signed where it comes from, and this process has no credentials.
    S3Error
        If it is not boto3's own, or moto's, and was made in another process.
    """
    reference = bucket if isinstance(bucket, Reference) else reference_to(bucket)
    process, known = _lookup(reference.token)
    if known is None and reference.own:
        known = pickle.loads(reference.own)
    if known is None:
        return _from_chain(reference)
    if process == os.getpid():
        return known
    if not is_boto3(known):
        _warn_of_a_copy(f"the injected {type(known).__name__}")
        return known
    warn_of_moto()
    here = (os.getpid(), reference.token)
    with _lock:
        if here not in _renewals:
            _renewals[here] = _with_new_sockets(known)
        return _renewals[here]


def warn_of_moto() -> None:
    """Warn if moto's ``mock_aws`` stands in for S3 in a worker: its store is this process's own."""
    if is_mocked() and multiprocessing.parent_process():
        _warn_of_a_copy("moto's mock_aws")


def _warn_of_a_copy(mock: str) -> None:
    _logger.warning(
        "%s is a copy in %s; the process that it comes from sees none of its calls",
        mock,
        describe_process(),
    )


def credentials_of(bucket: Any) -> Any:
    """Return botocore's credentials of a bucket's client; None if its requests are not signed."""
    return bucket.meta.client._request_signer._credentials


def secrets_of(bucket: Any) -> tuple[str | None, ...]:
    """Return what of a boto3 bucket's client must be shown nowhere."""
    credentials = credentials_of(bucket)
    if credentials is None:
        return ()
    frozen = credentials.get_frozen_credentials()
    password = urlsplit(bucket.meta.client.meta.endpoint_url).password
    return frozen.secret_key, frozen.token, password


def _with_new_sockets(bucket: Any) -> Any:
    """Return the parent's bucket with its own client, but with sockets of this process.

    Botocore has no way to give a client new sockets, and one that is made anew would lack what
    the user has registered with it, and hold credentials that are never refreshed.
    """
    client = _shallow_copy(bucket.meta.client)
    client._endpoint = _shallow_copy(client._endpoint)
    session = _shallow_copy(client._endpoint.http_session)
    session._proxy_managers = {}
    session._manager = type(session._manager)(**session._get_pool_manager_kwargs())
    session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme
    client._endpoint.http_session = session
    return type(bucket)(bucket.name, client=client)


def _shallow_copy(thing: Any) -> Any:
    copied = object.__new__(type(thing))
    copied.__dict__.update(thing.__dict__)
    return copied


def _from_chain(reference: Reference) -> Any:
    """Return a bucket with this process's own credentials."""
    if reference.endpoint_url is None or reference.mocked:
        what = "moto's" if reference.mocked else "not boto3's own"
        raise S3Error(
            f"the injected bucket {reference.name!r} is {what} and stays in the process "
            "where it was made; run the workflow in one process"
        )
    import boto3.session
    from botocore import UNSIGNED
    from botocore.config import Config

    session = boto3.session.Session(region_name=reference.region)
    if reference.signed and session.get_credentials() is None:
        raise CredentialsError(
            f"the injected bucket {reference.name!r} at {reference.endpoint_url} came to a "
            "process without credentials; set them in its environment or use creds_path"
        )
    config = None if reference.signed else Config(signature_version=UNSIGNED)
    resource = session.resource("s3", endpoint_url=reference.endpoint_url, config=config)
    return resource.Bucket(reference.name)
