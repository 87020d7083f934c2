"""Check that an endpoint address does not name the bucket, too."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from nipype_datasink.errors import SettingsError

# Hosts of stores, as they follow the name of the bucket: "mybucket.s3.example.org". Any other host
# may start with the name of the bucket by chance.
_STORE_HOST = re.compile(
    r"s3[.-]|storage\.googleapis\.com$|([\w-]+\.)?(digitaloceanspaces|linodeobjects)\.com$"
)


def configured_endpoint(endpoint_url: str | None) -> str | None:
    """Return the endpoint that boto3 will use, unless one of AWS's configuration files names it."""
    return (
        endpoint_url
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or None
    )


def check_endpoint(endpoint_url: str, bucket: str) -> None:
    """Check that an endpoint does not include the bucket: boto3 would add its name a second time.

    Raises
    ------
    SettingsError
        If it does. The message says which address to set instead.
    """
    address = urlsplit(endpoint_url)
    host = address.hostname or ""
    instead = None
    names = unquote(address.path).strip("/").split("/")
    if bucket in names:
        before = "/".join(names[: names.index(bucket)])
        instead = f"{address.scheme}://{address.netloc.rpartition('@')[2]}/{before}".rstrip("/")
    elif host.startswith(f"{bucket}.") and _STORE_HOST.match(host[len(bucket) + 1 :]):
        port = f":{address.port}" if address.port else ""
        instead = f"{address.scheme}://{host[len(bucket) + 1 :]}{port}"
    if instead:
        raise SettingsError(
            f"the endpoint {address.scheme}://{address.netloc.rpartition('@')[2]}{address.path} "
            f"includes the bucket {bucket!r}, which base_directory names already; set "
            f"s3_endpoint_url to {instead!r}"
        )
