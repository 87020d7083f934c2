"""Check the address of an endpoint, and find the setting that it comes from."""

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


_AWS_HOST = re.compile(r"\.amazonaws\.com(\.cn)?$")

# In the order in which boto3 looks.
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def configured_endpoint(endpoint_url: str | None) -> str | None:
    """Return the endpoint that boto3 will use, unless one of AWS's configuration files names it."""
    variable = endpoint_variable()
    return endpoint_url or (os.environ[variable] if variable else None)


def endpoint_variable() -> str | None:
    """Return the environment variable that sets the endpoint; None if there is none."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return next((name for name in _VARIABLES if os.environ.get(name)), None)


def endpoint_source(endpoint_url: str) -> str:
    """Return the setting that the endpoint of a client comes from, unless it is an input.

    Parameters
    ----------
    endpoint_url
        Endpoint of the client.
    """
    variable = endpoint_variable()
    if variable and os.environ[variable].rstrip("/") == endpoint_url.rstrip("/"):
        return variable
    host = urlsplit(endpoint_url).hostname or ""
    return "AWS's default" if _AWS_HOST.search(host) else "AWS's configuration files"


def check_endpoint(endpoint_url: str, bucket: str) -> None:
    """Check that an endpoint is an address that does not include the bucket.

    boto3 would add the name of the bucket a second time.

    Raises
    ------
    SettingsError
        If it does, or has no scheme. The message says which address to set instead.
    """
    address = urlsplit(endpoint_url)
    if address.scheme not in ("http", "https") or not address.netloc:
        host = endpoint_url.rpartition("@")[2].rpartition("://")[2].strip("/")
        raise SettingsError(
            f"the endpoint {host!r} does not start with a scheme; write 'https://{host}', or "
            f"'http://{host}' for a store without TLS"
        )
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
