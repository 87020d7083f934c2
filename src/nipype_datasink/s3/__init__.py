"""Delivery to S3. Neither boto3 nor botocore is imported before a sink writes to ``s3://``."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["has_crt"]


def has_crt() -> bool:
    """Return whether the AWS Common Runtime can be imported; it is not, to find out."""
    try:
        return find_spec("awscrt") is not None
    except ValueError:  # a module in name only
        return False
