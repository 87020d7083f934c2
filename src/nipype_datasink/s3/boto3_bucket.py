"""Read from a boto3 bucket whether its requests are signed, and with which credentials.

botocore has no public way to ask a client for its credentials. It keeps them in the client's
request signer, which is a private attribute.
"""

from __future__ import annotations

import os
import sys
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nipype_datasink.s3.credentials import are_swapped

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket, S3ServiceResource

# botocore's names for the places where it finds credentials (botocore/credentials.py).
_PLACES = {
    "env": "AWS_ACCESS_KEY_ID in the environment",
    "shared-credentials-file": "AWS's credentials file",
    "config-file": "AWS's configuration file",
}


def is_boto3_resource(bucket: object) -> bool:
    """Return whether `bucket` is boto3's own class of bucket, and not a mock or another library's.

    boto3 is not imported: where nothing has imported it, nothing can be its bucket.
    """
    base = sys.modules.get("boto3.resources.base")
    return base is not None and isinstance(bucket, base.ServiceResource)


def is_signed(resource: Bucket | S3ServiceResource) -> bool:
    """Return whether the requests of this resource's client are signed."""
    from botocore import UNSIGNED

    # Not the client's configuration alone: a handler of "choose-signer" can disable signatures, as
    # with the buckets that nipype's own `_fetch_bucket` opens for public data.
    signer: Any = resource.meta.client._request_signer  # type: ignore[attr-defined]
    return signer._choose_signer("PutObject", None, {}) is not UNSIGNED


def credential_source(bucket: Any) -> str:
    """Return where boto3 found the credentials of a bucket's client; the text holds no secret."""
    credentials = _credentials_of(bucket)
    if credentials is None:
        return "not found in the environment, AWS's files or a role"
    place = _PLACES.get(credentials.method, f"boto3's method {credentials.method!r}")
    profile = os.environ.get("AWS_DEFAULT_PROFILE") or os.environ.get("AWS_PROFILE")
    return f"{place}, profile {profile}" if profile and "file" in place else place


def secrets_of(bucket: Any) -> tuple[str | None, ...]:
    """Return the secrets of a boto3 bucket's client: they must appear in no error and no log."""
    credentials = _credentials_of(bucket)
    if credentials is None:
        return ()
    frozen = credentials.get_frozen_credentials()
    password = urlsplit(bucket.meta.client.meta.endpoint_url).password
    swapped = frozen.access_key if are_swapped(frozen.access_key, frozen.secret_key) else None
    return frozen.secret_key, frozen.token, password, swapped


def _credentials_of(bucket: Any) -> Any:
    """Return botocore's credentials; None if there are none, or if requests are not signed."""
    return bucket.meta.client._request_signer._credentials


def access_key_of(bucket: Any) -> str | None:
    """Return the ID of the access key that signs requests; None if they are not signed."""
    credentials = _credentials_of(bucket) if is_signed(bucket) else None
    return None if credentials is None else credentials.get_frozen_credentials().access_key


def has_swapped_keys(bucket: Any) -> bool:
    """Return whether the access key that signs requests looks like its secret."""
    credentials = _credentials_of(bucket) if is_signed(bucket) else None
    if credentials is None:
        return False
    frozen = credentials.get_frozen_credentials()
    return are_swapped(frozen.access_key, frozen.secret_key)


def copy_client(client: Any, *, timeout: Any = None) -> Any:
    """Return a copy of a client that opens its own sockets, and has event handlers of its own.

    botocore cannot give a client new sockets or handlers, so they are replaced inside the copy, by
    private names. A new client instead would lack the handlers that the user has registered with
    the old one, and would hold credentials as they are now: it could not refresh temporary ones.

    Parameters
    ----------
    client
        A boto3 client; it is not changed.
    timeout
        urllib3's ``Timeout`` for the copy; with None as in the client.
    """
    client = shallow_copy(client)
    client.meta = shallow_copy(client.meta)
    client.meta.events = copy(client.meta.events)
    client._endpoint = shallow_copy(client._endpoint)
    client._endpoint._event_emitter = client.meta.events
    session = shallow_copy(client._endpoint.http_session)
    session._timeout = timeout or session._timeout
    session._proxy_managers = {}
    session._manager = type(session._manager)(**session._get_pool_manager_kwargs())
    session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme
    client._endpoint.http_session = session
    return client


def shallow_copy(thing: Any) -> Any:
    """Return a copy that shares every attribute.

    `copy.copy` fails for a client: it asks the new, still empty object for ``__setstate__``, and
    botocore's ``__getattr__`` then looks for its own attributes without end.
    """
    copied = object.__new__(type(thing))
    copied.__dict__.update(thing.__dict__)
    return copied
