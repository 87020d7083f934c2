"""How an injected bucket survives copies, pickles and hashes; no secret ever travels with it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from nipype_datasink.errors import CredentialsError

__all__ = ["describe", "is_boto3", "let_travel", "usable_here"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What travels in a bucket's place: everything needed to find it again, and no secret."""

    token: str
    """Names the object in the process where it was made, and in those forked from it."""

    name: str
    """Name of the bucket."""

    endpoint_url: str
    """Address of the store."""

    region: str | None
    """AWS region."""

    signed: bool
    """Whether its requests are signed."""


# Buckets that have been referred to in this process or in the one it was forked from, with that
# process's number. A copy of a node must reach the very same bucket, so they stay.
_known: dict[str, tuple[int, Any]] = {}


def is_boto3(bucket: object) -> bool:
    """Return whether `bucket` is boto3's own; boto3 is not imported to find out."""
    base = sys.modules.get("boto3.resources.base")
    return base is not None and isinstance(bucket, base.ServiceResource)


def describe(bucket: Any) -> str:
    """Return a text that is the same in every run and process: name and endpoint."""
    if is_boto3(bucket):
        bucket = refer(bucket)
    if isinstance(bucket, Reference):
        return f"bucket {bucket.name} at {bucket.endpoint_url}"
    name = getattr(bucket, "name", None)
    return f"bucket {name if isinstance(name, str) else type(bucket).__name__}"


def let_travel() -> None:
    """Teach boto3's buckets to be copied and pickled by reference.

    Nipype copies and pickles the inputs of nodes, in places where only the value itself can say
    how. Does nothing unless boto3 is imported already.
    """
    base = sys.modules.get("boto3.resources.base")
    if base is not None and base.ServiceResource.__reduce_ex__ is not _reduce:
        base.ServiceResource.__reduce_ex__ = _reduce


def _reduce(resource: Any, protocol: Any) -> Any:
    if type(resource).__name__ != "s3.Bucket":
        return object.__reduce_ex__(resource, protocol)
    return arrive, (refer(resource),)


def refer(bucket: Any) -> Reference:
    """Return what travels in place of `bucket`, one of boto3's.

    Processes that are forked later know then what it stands for.
    """
    token = next((token for token, (_, known) in _known.items() if known is bucket), None)
    if token is None:
        token = f"{os.getpid()}-{id(bucket)}"
        _known[token] = (os.getpid(), bucket)
    meta = bucket.meta.client.meta
    signed = _credentials(bucket) is not None
    return Reference(token, bucket.name, meta.endpoint_url, meta.region_name, signed)


def arrive(reference: Reference) -> Any:
    """Return the bucket itself where it is known, elsewhere the reference.

    Nothing here can fail: an error while a node is unpickled would end a pool of workers, and
    nipype would wait for them for ever.
    """
    process, bucket = _known.get(reference.token, (0, None))
    return bucket if process == os.getpid() else reference


def usable_here(bucket: Any) -> Any:
    """Return `bucket`, or what it stands for, with a client whose sockets nobody else uses.

    Raises
    ------
    CredentialsError
        If its requests were signed where it comes from, and this process has no credentials.
    """
    if is_boto3(bucket):
        bucket = refer(bucket)
    if not isinstance(bucket, Reference):
        return bucket
    process, known = _known.get(bucket.token, (0, None))
    if known is None:
        return _from_chain(bucket)
    if process != os.getpid():
        known = _renewed(known)
        _known[bucket.token] = (os.getpid(), known)
    return known


def _credentials(bucket: Any) -> Any:
    return bucket.meta.client._request_signer._credentials


def _renewed(bucket: Any) -> Any:
    """Return the parent's bucket with a client, and so with sockets, of our own."""
    import boto3.session

    meta = bucket.meta.client.meta
    credentials = _credentials(bucket)
    keys = credentials.get_frozen_credentials() if credentials else None
    session = boto3.session.Session(
        aws_access_key_id=keys.access_key if keys else None,
        aws_secret_access_key=keys.secret_key if keys else None,
        aws_session_token=keys.token if keys else None,
        region_name=meta.region_name,
    )
    resource = session.resource("s3", endpoint_url=meta.endpoint_url, config=meta.config)
    return resource.Bucket(bucket.name)


def _from_chain(reference: Reference) -> Any:
    """Return a bucket with this process's own credentials."""
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
