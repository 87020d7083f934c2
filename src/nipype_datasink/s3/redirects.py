"""Handle redirects that are not S3's, such as those of a web server from HTTP to HTTPS.

For every redirect that names no region, boto3 asks for the region of the bucket by HeadBucket. If
that is redirected too, boto3 sends HeadBucket again from within, until Python's stack is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from nipype_datasink.planning.addresses import remove_passwords

_STATUSES = (301, 302, 307)  # those that boto3 follows


def limit_redirects(events: Any, operation: str) -> None:
    """Make boto3 follow redirects of an operation only if they name a region.

    Parameters
    ----------
    events
        Events of a client.
    operation
        Such as ``.HeadBucket``; empty for every operation.
    """
    # Before boto3's own handler, which sends HeadBucket.
    events.register_first(f"needs-retry.s3{operation}", _mark_as_redirected)


def _mark_as_redirected(request_dict: Mapping[str, Any], response: Any, **_: Any) -> None:
    if response is None or response[0].status_code not in _STATUSES:
        return
    parsed = response[1]
    headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if "x-amz-bucket-region" not in headers and "Region" not in parsed.get("Error", {}):
        request_dict["context"].setdefault("s3_redirect", {})["redirected"] = True


def explain_redirect(error: BaseException) -> str | None:
    """Return where a web server redirects requests to, and what to do; None for other errors."""
    if not isinstance(error, ClientError):
        return None
    metadata = error.response.get("ResponseMetadata", {})
    if metadata.get("HTTPStatusCode") not in _STATUSES:
        return None
    location = metadata.get("HTTPHeaders", {}).get("location", "")
    try:
        other = urlsplit(location)
    except ValueError:  # such as a bracket without its partner
        shown = remove_passwords(location)
        return f"requests are redirected to {shown!r}, which is not valid; check s3_endpoint_url"
    if not other.netloc:
        return None
    address = f"{other.scheme}://{other.netloc.rpartition('@')[2]}"
    return f"requests are redirected to {address}; set s3_endpoint_url to {address!r}"
