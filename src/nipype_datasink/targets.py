"""Make the targets of a sink: each is one place that its settings name.

What only S3 needs is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nipype_datasink.delivery.execution import deliver
from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.errors import SettingsError
from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.routing import Rules
from nipype_datasink.planning.validation import make_valid_plan
from nipype_datasink.settings import Settings

if TYPE_CHECKING:
    from nipype_datasink.s3.access import AccessSettings
    from nipype_datasink.s3.credentials import AccessKey
    from nipype_datasink.s3.target import S3Target


def local_targets(
    settings: Settings,
    locations: Sequence[Location],
    before_removal: Callable[[], object] = lambda: None,
) -> list[LocalTarget]:
    """Return a target for each directory on disk."""
    return [
        LocalTarget(location, link=settings.hard_links, before_removal=before_removal)
        for location in locations
        if isinstance(location, LocalDirectory)
    ]


def s3_targets(
    settings: Settings,
    locations: Sequence[Location],
    access: AccessSettings,
    open_bucket: Callable[[], Any],
    hook: Callable[[Any, str, str], object] | None = None,
    before_removal: Callable[[], object] = lambda: None,
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
    before_removal
        Called before the first object is deleted.
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
            before_removal=before_removal,
        )
        for location in prefixes
    ]


def send_to_bucket(
    source: str, address: str, bucket: Any, settings: Settings, access: AccessSettings
) -> None:
    """Send a file or directory to an address, as nipype's ``_upload_to_s3`` does.

    Parameters
    ----------
    source
        Path of the file or directory.
    address
        Its destination, an ``s3://`` address.
    bucket
        Bucket that receives it.
    settings
        Settings of the sink.
    access
        How the bucket is reached.

    Raises
    ------
    SettingsError
        If the address is not in S3.
    DataSinkError
        If the source cannot be delivered, or did not arrive.
    """
    location = parse_location(address, "dst").in_bucket(bucket)
    if not isinstance(location, S3Prefix):
        raise SettingsError(f"dst {address!r} is not in S3; write 's3://bucket/key'")
    rules = Rules(locations=(location,), relative=lambda _: "", substitute=lambda _: str(location))
    plan = make_valid_plan({"_upload_to_s3": source}, rules)
    deliver(plan, s3_targets(settings, [location], access, lambda: bucket))


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


def access_key_of(
    settings: Settings, own_keys: Callable[[], tuple[str | None, str | None]] | None = None
) -> AccessKey | None:
    """Return the access key that the settings name; None if boto3 is to search for one.

    Parameters
    ----------
    settings
        Settings of the sink.
    own_keys
        A subclass's own ``_return_aws_keys``, if it has one.
    """
    from nipype_datasink.s3.credentials import AccessKey, read_credentials

    if own_keys is None:
        return read_credentials(settings.creds_path) if settings.creds_path else None
    access_key_id, secret = own_keys()
    return AccessKey(access_key_id, secret) if access_key_id and secret else None
