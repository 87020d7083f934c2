"""Name the headers of responses as boto3 does."""

from __future__ import annotations

from collections.abc import Mapping

from nipype_datasink.s3.comparison import CHECKSUMS

_NAMES = {
    "etag": "ETag",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-checksum-type": "ChecksumType",
    **{f"x-amz-checksum-{name.lower()}": f"Checksum{name}" for name in CHECKSUMS},
}


def fields_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what headers state of an object, by boto3's names.

    Parameters
    ----------
    headers
        Those of HTTP, by their names in lower case.
    """
    return {name: headers[header] for header, name in _NAMES.items() if header in headers}
