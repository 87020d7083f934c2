"""Check the address of an endpoint, and find the setting that it comes from."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, unquote, urlsplit

from nipype_datasink.errors import SettingsError
from nipype_datasink.planning.addresses import remove_passwords

# Hosts of stores, as they follow the name of the bucket: "mybucket.s3.example.org". Any other host
# may start with the name of the bucket by chance.
_STORE_HOST = re.compile(
    r"s3[.-]|storage\.googleapis\.com$|([\w-]+\.)?(digitaloceanspaces|linodeobjects)\.com$"
)

AWS_HOST = re.compile(r"\.amazonaws\.com(\.cn)?$")

# In the order in which boto3 looks.
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

_MAX_PORT = 65535


class EndpointError(SettingsError):
    """The address of an endpoint is not valid, or includes the bucket."""


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
    return "AWS's default" if AWS_HOST.search(host) else "AWS's configuration files"


# What an error names in place of s3_endpoint_url if the endpoint comes from one of these sources.
_SETTINGS = {
    "the injected bucket": "the endpoint of the injected bucket",
    "nipype's configuration": "datasink_s3_endpoint_url",
    "AWS's configuration files": "endpoint_url in AWS's configuration files",
    **{name: name for name in _VARIABLES},
}


def name_endpoint_setting(source: str | None) -> dict[str, str]:
    """Return the setting that has set the endpoint, by the name of the sink's input.

    Parameters
    ----------
    source
        See `endpoint_source`; None means an environment variable, if one is set.
    """
    setting = _SETTINGS.get(source or endpoint_variable() or "")
    return {"s3_endpoint_url": setting} if setting else {}


def check_endpoint(endpoint_url: str, bucket: str) -> None:
    """Check that an endpoint is a valid address that does not include the bucket.

    boto3 would add the name of the bucket a second time.

    Raises
    ------
    EndpointError
        If it does, has no scheme, or is not valid. The message says what to set instead.
    """
    address = parse_endpoint(endpoint_url)
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
        raise EndpointError(
            f"the endpoint {address.scheme}://{address.netloc.rpartition('@')[2]}{address.path} "
            f"includes the bucket {bucket!r}, which base_directory names already; set "
            f"s3_endpoint_url to {instead!r}"
        )


def parse_endpoint(endpoint_url: str) -> SplitResult:
    """Return the parts of the address of an endpoint.

    Raises
    ------
    EndpointError
        If it has no scheme, or if its host or port is not valid.
    """
    shown = without_password(endpoint_url).rpartition("://")[2].strip("/")
    if re.search(r"\s", endpoint_url):  # urllib removes some kinds of it
        raise EndpointError(f"the endpoint {shown!r} contains white space; remove it")
    try:
        address = urlsplit(endpoint_url)
    except ValueError:  # its message may show a password
        raise EndpointError(
            f"the endpoint {shown!r} is not a valid address; write 'https://host:9000', with "
            "brackets around an IPv6 address"
        ) from None
    if address.scheme not in ("http", "https") or not address.netloc:
        raise EndpointError(
            f"the endpoint {shown!r} does not start with a scheme; write 'https://{shown}', or "
            f"'http://{shown}' for a store without TLS"
        )
    if problem := _host_problem(address.hostname or "") or _port_problem(address):
        raise EndpointError(f"the endpoint {shown!r} {problem}")
    return address


def without_password(endpoint_url: str) -> str:
    """Return the address of an endpoint without user name and password; it need not be valid."""
    if "://" in endpoint_url:
        return remove_passwords(endpoint_url)
    return endpoint_url.rpartition("@")[2]


def _host_problem(host: str) -> str:
    """Return what is wrong with the host, and what to do; empty if nothing is."""
    if not host:
        return "has no host; write 'https://host:9000'"
    if "_" in host:  # common for containers; boto3 raises an error that does not say this
        return "has an underscore in its host name, which boto3 refuses; use another name of it"
    return ""


def _port_problem(address: SplitResult) -> str:
    try:
        valid = address.port != 0
    except ValueError:
        valid = False
    return "" if valid else f"has a wrong port; the port must be between 1 and {_MAX_PORT}"
