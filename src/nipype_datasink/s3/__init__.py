"""Delivery to S3. Neither boto3 nor botocore is imported before a sink writes to ``s3://``."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["has_crt"]

_OLDEST = (0, 37)  # the first that is content with as little memory as we grant it


@cache
def has_crt() -> bool:
    """Return whether the AWS Common Runtime is installed, and new enough; it is not imported."""
    try:
        installed = version("awscrt")
    except PackageNotFoundError:
        return False
    return tuple(int(part) for part in installed.split(".")[:2]) >= _OLDEST
