"""Make the targets of a sink: each is one place that its settings name.

What only S3 needs is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.settings import Settings

if TYPE_CHECKING:
    from nipype_datasink.s3.access import AccessSettings
    from nipype_datasink.s3.credentials import AccessKey
    from nipype_datasink.s3.target import S3Target


def local_targets(settings: Settings, locations: Sequence[Location]) -> list[LocalTarget]:
    """Return a target for each directory on disk."""
    return [
        LocalTarget(location, link=settings.hard_links)
        for location in locations
        if isinstance(location, LocalDirectory)
    ]


def s3_targets(
    settings: Settings,
    locations: Sequence[Location],
    access: AccessSettings,
    open_bucket: Callable[[], Any],
    hook: Callable[[Any, str, str], object] | None = None,
) -> list[S3Target]:
    """Return a target for each prefix in a bucket.

    Parameters
    ----------
    settings
        Settings of the sink.
    locations
        Its locations.
    access
        How the bucket is reached.
    open_bucket
        Returns the bucket; called only if there is something to deliver.
    hook
        A subclass's own ``_upload_to_s3(bucket, source, destination)``, if it has one.
    """
    prefixes = [location for location in locations if isinstance(location, S3Prefix)]
    if not prefixes:
        return []
    from nipype_datasink.s3.target import S3Target

    return [
        S3Target(
            location,
            open_bucket,
            upload_args=settings.upload_args,
            concurrency=settings.s3_max_concurrency,
            transfer_client=settings.s3_transfer_client,
            access=access,
            hook=hook,
        )
        for location in prefixes
    ]


def open_bucket(name: str, settings: Settings, access_key: AccessKey | None) -> Any:
    """Open a boto3 bucket.

    Parameters
    ----------
    name
        Name of the bucket.
    settings
        Settings of the sink.
    access_key
        Access key to use; None lets boto3 search for one.
    """
    from nipype_datasink.s3 import client

    options = client.ClientOptions(
        access_key=access_key,
        profile=settings.s3_profile,
        region=settings.s3_region,
        endpoint_url=settings.s3_endpoint_url,
        concurrency=settings.s3_max_concurrency,
    )
    return client.open_bucket(name, options)
