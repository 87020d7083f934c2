"""Make the bucket that a user has injected usable in this process.

A node that runs in a worker has one of three things: the very bucket (no worker, or a thread), a
bucket of the parent's memory (a forked worker), or a reference (any other process). What it gets
must use this process's own sockets, and credentials of the same kind: a bucket whose requests were
signed never becomes one whose requests are not.
"""

from __future__ import annotations

import os
import pickle
from functools import lru_cache
from typing import Any

from nipype_datasink.errors import CredentialsError, S3Error
from nipype_datasink.s3.boto3_bucket import copy_client, is_boto3_resource
from nipype_datasink.s3.mocking import warn_if_mocked_in_worker, warn_of_copied_mock
from nipype_datasink.s3.pickling import BucketReference, bucket_for, reference_to


def resolve_bucket(bucket: Any) -> Any:
    """Return `bucket`, or the bucket that it refers to, with sockets that only this process uses.

    Raises
    ------
    CredentialsError
        If requests were signed in the process where it was made, and this one has no credentials.
    S3Error
        If it was made in another process and cannot be opened here: a mock that cannot be pickled,
        or a bucket of moto.
    """
    reference = bucket if isinstance(bucket, BucketReference) else reference_to(bucket)
    process, known = bucket_for(reference.token)
    if known is None and reference.pickled:
        known = pickle.loads(reference.pickled)
    if known is None:
        return _open(reference)
    if process == os.getpid():
        return known
    if not is_boto3_resource(known):
        warn_of_copied_mock(f"the injected {type(known).__name__}")
        return known
    warn_if_mocked_in_worker()
    return type(known)(known.name, client=_with_new_sockets(known.meta.client, os.getpid()))


# Cached, so that the next sink of this worker gets the same copy, with its open connections. A
# child that is forked from this worker has another process number, and so makes its own copy.
@lru_cache(maxsize=4)
def _with_new_sockets(client: Any, _process: int) -> Any:
    """Return a copy of the parent's client: two processes must not write to one socket."""
    return copy_client(client)


def _open(reference: BucketReference) -> Any:
    """Open the bucket with the credentials of this process."""
    if reference.endpoint_url is None or reference.mocked:
        what = "is moto's" if reference.mocked else "is not a boto3 bucket"
        raise S3Error(
            f"the injected bucket {reference.name!r} {what}, and exists only in the process that "
            "made it; run the workflow in one process"
        )
    import boto3.session
    from botocore import UNSIGNED
    from botocore.config import Config

    session = boto3.session.Session(region_name=reference.region)
    if reference.signed and session.get_credentials() is None:
        raise CredentialsError(
            f"this process has no credentials for the injected bucket {reference.name!r} at "
            f"{reference.endpoint_url}; set them in the worker's environment, or use creds_path"
        )
    config = None if reference.signed else Config(signature_version=UNSIGNED)
    resource = session.resource("s3", endpoint_url=reference.endpoint_url, config=config)
    return resource.Bucket(reference.name)
