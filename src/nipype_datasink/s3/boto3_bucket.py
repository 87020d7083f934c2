"""Read from a boto3 bucket whether its requests are signed, and with which credentials.

botocore has no public way to ask a client for its credentials. It keeps them in the client's
request signer, which is a private attribute.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket, S3ServiceResource

# botocore's names for the places where it finds credentials (botocore/credentials.py).
_PLACES = {
    "env": "the environment (AWS_ACCESS_KEY_ID)",
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
    if not is_boto3_resource(bucket):
        return f"of a {type(bucket).__name__} object"
    credentials = _credentials_of(bucket)
    if credentials is None:
        return "not found in the environment, AWS's files or a role"
    return _PLACES.get(credentials.method, f"boto3's method {credentials.method!r}")


def secrets_of(bucket: Any) -> tuple[str | None, ...]:
    """Return the secrets of a boto3 bucket's client: they must appear in no error and no log."""
    credentials = _credentials_of(bucket)
    if credentials is None:
        return ()
    frozen = credentials.get_frozen_credentials()
    password = urlsplit(bucket.meta.client.meta.endpoint_url).password
    return frozen.secret_key, frozen.token, password


def _credentials_of(bucket: Any) -> Any:
    """Return botocore's credentials; None if there are none, or if requests are not signed."""
    return bucket.meta.client._request_signer._credentials


def shallow_copy(thing: Any) -> Any:
    """Return a copy that shares every attribute.

    `copy.copy` fails for a client: it asks the new, still empty object for ``__setstate__``, and
    botocore's ``__getattr__`` then looks for its own attributes without end.
    """
    copied = object.__new__(type(thing))
    copied.__dict__.update(thing.__dict__)
    return copied
