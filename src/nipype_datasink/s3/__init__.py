"""Deliver to S3: clients and credentials, listing, sending, verifying and deleting.

boto3 and botocore are imported only when a sink writes to ``s3://``, as importing them takes time.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

_MIN_VERSION = (0, 37)  # older ones need more memory than the transport allows them


@cache
def has_crt() -> bool:
    """Return whether the AWS Common Runtime is installed, and new enough; it is not imported."""
    try:
        installed = version("awscrt")
    except PackageNotFoundError:
        return False
    return tuple(int(part) for part in installed.split(".")[:2]) >= _MIN_VERSION
