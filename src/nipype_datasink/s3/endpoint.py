"""Whether an endpoint can be what the user meant."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from nipype_datasink.errors import SettingsError

__all__ = ["check_endpoint", "endpoint_of"]

# What follows the bucket in the hosts of stores: "s3.example.org", "s3-eu.example.org" ... A host
# of any other kind may well be called as its bucket is.
_STORE = re.compile(
    r"s3[.-]|storage\.googleapis\.com$|([\w-]+\.)?(digitaloceanspaces|linodeobjects)\.com$"
)


def endpoint_of(endpoint_url: str | None) -> str | None:
    """Return the endpoint that boto3 will take, as far as no configuration file names it."""
    return (
        endpoint_url
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or None
    )


def check_endpoint(endpoint_url: str, bucket: str) -> None:
    """Refuse an endpoint that already holds the bucket: keys would begin with its name once more.

    Raises
    ------
    SettingsError
        Saying which address to set instead.
    """
    address = urlsplit(endpoint_url)
    host = address.hostname or ""
    instead = None
    names = unquote(address.path).strip("/").split("/")
    if bucket in names:
        before = "/".join(names[: names.index(bucket)])
        instead = f"{address.scheme}://{address.netloc.rpartition('@')[2]}/{before}".rstrip("/")
    elif host.startswith(f"{bucket}.") and _STORE.match(host[len(bucket) + 1 :]):
        port = f":{address.port}" if address.port else ""
        instead = f"{address.scheme}://{host[len(bucket) + 1 :]}{port}"
    if instead:
        raise SettingsError(
            f"the endpoint {address.scheme}://{address.netloc.rpartition('@')[2]}{address.path} "
            f"already holds the bucket {bucket!r}, which base_directory names as well; set "
            f"s3_endpoint_url to {instead!r}"
        )
