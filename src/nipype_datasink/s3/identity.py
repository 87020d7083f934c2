"""Whose credentials requests carry, in words that hold no secret."""

from __future__ import annotations

from typing import Any

from nipype_datasink.s3.pickling import credentials_of, is_boto3

__all__ = ["credential_source"]

# What boto3 calls the places where it finds credentials (botocore/credentials.py).
_PLACES = {
    "env": "the environment (AWS_ACCESS_KEY_ID)",
    "shared-credentials-file": "AWS's credentials file",
    "config-file": "AWS's configuration file",
}


def credential_source(bucket: Any) -> str:
    """Return where boto3 found the credentials of a bucket's client."""
    if not is_boto3(bucket):
        return f"a {type(bucket).__name__}"
    credentials = credentials_of(bucket)
    if credentials is None:
        return "nobody: neither the environment nor AWS's files nor a role has any"
    return _PLACES.get(credentials.method, f"boto3's method {credentials.method!r}")
