"""Copy, pickle and hash nodes whose input is a bucket. No secret is ever in a pickle.

nipype copies the inputs of nodes, pickles them for its workers, and hashes them. A bucket can do
none of this: it holds sockets, locks and credentials. So a bucket is pickled *by reference*: the
pickle holds a `BucketReference`, which has the bucket's name and endpoint, and a token. The process
that made the bucket, and copies within it, get the very same bucket back. Any other process gets
the reference, and `resolution.resolve_bucket` makes a bucket from it when a sink needs one.
"""

from __future__ import annotations

import copyreg
import os
import pickle
import sys
import threading
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nipype_datasink.planning.addresses import remove_passwords
from nipype_datasink.s3.boto3_bucket import is_boto3_resource, is_signed
from nipype_datasink.s3.mocking import is_mocked


@dataclass(frozen=True, slots=True)
class BucketReference:
    """What is pickled instead of a bucket: enough to open it again, and no secret."""

    token: str
    """Identifies the object in the process where it was injected, and in its forked children."""

    name: str
    """Name of the bucket."""

    endpoint_url: str | None = None
    """Address of the store; None for a bucket that is not boto3's."""

    region: str | None = None
    """AWS region."""

    signed: bool = False
    """Whether requests are signed."""

    pickled: bytes | None = field(default=None, repr=False)
    """Ordinary pickle of a bucket that is not boto3's, if it has one."""

    mocked: bool = False
    """Whether moto's ``mock_aws`` replaces the store, which it does in one process only."""


# The buckets that this process has made references to, and those of the process that it was forked
# from: by token, the number of the process that made the bucket, and a function that returns it.
#
# The function holds the bucket weakly. Each boto3 bucket keeps sockets and megabytes of memory, and
# a long session may inject a new one for each run. While any node holds a bucket, it is found here;
# after that it is gone, and a pickle of it yields a reference.
#
# Never iterate over these dictionaries: garbage collection can remove an entry at any moment.
_buckets: dict[str, tuple[int, Callable[[], Any]]] = {}

# Tokens by the `id` of the bucket. A bucket cannot be the key: fakes need not be hashable, and two
# boto3 buckets of one name are equal although their clients differ. An `id` may be used again by
# another object, so `_token_of` compares the objects.
_tokens: dict[int, str] = {}

# Guards changes of both dictionaries together; single look-ups need no lock. It is reentrant, as
# garbage may be collected while it is held, in the same thread, which then runs `forget` below.
_lock = threading.RLock()


def _replace_lock() -> None:
    """Make a new lock in a forked child: the thread that may have held the old one is not here.

    What that thread had half done does no harm: a token without an `id` only is never found.
    """
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_lock)


def describe_bucket(bucket: Any) -> str:
    """Return name and endpoint of a bucket, a text that is the same in every run and process.

    Node hashes and provenance use it in place of ``repr``, which may hold a memory address.
    """
    reference = bucket if isinstance(bucket, BucketReference) else _make_reference("", bucket)
    return f"bucket {reference.name} at {reference.endpoint_url or 'no endpoint'}"


def enable_pickling(bucket: Any = None) -> None:
    """Let buckets be copied and pickled by reference.

    nipype copies and pickles inputs in many places, and some of them see the bucket only as one
    value of many. So the bucket's own class must know how.

    Parameters
    ----------
    bucket
        A value that a user injects. Processes that are forked later can resolve it by its token.
    """
    base = sys.modules.get("boto3.resources.base")
    # boto3 makes a new class `s3.Bucket` for each session, so the base class of all its resources
    # is patched, as soon as somebody has imported boto3.
    if base is not None and base.ServiceResource.__reduce_ex__ is not _reduce_boto3_resource:
        base.ServiceResource.__reduce_ex__ = _reduce_boto3_resource
    if hasattr(bucket, "upload_file"):
        reference_to(bucket)
        if not is_boto3_resource(bucket):
            copyreg.pickle(type(bucket), _reduce_other_bucket)


def _reduce_boto3_resource(resource: Any, protocol: Any) -> Any:
    """Replace ``__reduce_ex__`` of boto3's resources; all but buckets keep Python's own."""
    if type(resource).__name__ != "s3.Bucket":
        return object.__reduce_ex__(resource, protocol)
    return unpickle_bucket, (reference_to(resource),)


def _reduce_other_bucket(bucket: Any) -> Any:
    """Pickle an injected mock or fake by reference, and other instances of its class as usual."""
    if _token_of(bucket) is None:
        return bucket.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
    return unpickle_bucket, (reference_to(bucket),)


def reference_to(bucket: Any) -> BucketReference:
    """Return what is pickled in place of `bucket`, and remember the bucket."""
    with _lock:
        token = _token_of(bucket)
        if token is None:
            token = uuid.uuid4().hex
            _buckets[token] = (os.getpid(), _hold_weakly(bucket, token))
            _tokens[id(bucket)] = token
    return _make_reference(token, bucket)


def bucket_for(token: str) -> tuple[int, Any]:
    """Return the process that made the bucket, and the bucket; None if it is not known."""
    process, bucket = _buckets.get(token, (0, lambda: None))
    return process, bucket()


def unpickle_bucket(reference: BucketReference) -> Any:
    """Return the bucket itself where it is known, else the reference.

    This function must not fail. An error while a node is unpickled ends the worker of a pool, and
    nipype then waits for the result without a limit. `resolve_bucket` reports errors later, when
    the sink runs. For the same reason nothing is opened here.
    """
    process, bucket = bucket_for(reference.token)
    # A forked child knows the bucket, but must not use its parent's sockets.
    return bucket if bucket is not None and process == os.getpid() else reference


def _token_of(bucket: Any) -> str | None:
    """Return the token of a bucket that is remembered."""
    token = _tokens.get(id(bucket), "")
    return token if bucket_for(token)[1] is bucket else None


def _hold_weakly(bucket: Any, token: str) -> Callable[[], Any]:
    """Return a function that returns the bucket for as long as anything else holds it."""
    identity = id(bucket)

    def forget(_: object) -> None:
        with _lock:
            _buckets.pop(token, None)
            # Another object may have got the same `id`, and a token, before this runs.
            if _tokens.get(identity) == token:
                del _tokens[identity]

    try:
        return weakref.ref(bucket, forget)
    except TypeError:  # a fake with ``__slots__`` has no weak references; it is held until the end
        return lambda: bucket


def _make_reference(token: str, bucket: Any) -> BucketReference:
    if not is_boto3_resource(bucket):
        name = getattr(bucket, "name", None)
        name = name if isinstance(name, str) else type(bucket).__name__
        return BucketReference(token, name, pickled=_pickle_as_usual(bucket))
    meta = bucket.meta.client.meta
    return BucketReference(
        token,
        bucket.name,
        remove_passwords(meta.endpoint_url),
        meta.region_name,
        signed=is_signed(bucket),
        mocked=is_mocked(),
    )


class _DefaultPickle:
    """Pickles an object as if its class had not been registered with `copyreg`."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket

    def __reduce_ex__(self, _: Any) -> Any:
        # Protocol 1 at most: from protocol 2 on, a reduction begins with `copyreg.__newobj__`, and
        # then `pickle` insists that the object itself, and not this one, has returned it.
        return self._bucket.__reduce_ex__(1)


def _pickle_as_usual(bucket: Any) -> bytes | None:
    """Return a bucket's ordinary pickle; None where it has none, as most mocks."""
    try:
        return pickle.dumps(_DefaultPickle(bucket))
    except Exception:  # noqa: BLE001 - an object may raise anything when it is pickled
        return None
