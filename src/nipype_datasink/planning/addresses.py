"""Read base directories and addresses as users write them."""

from __future__ import annotations

import os
import re

from nipype_datasink.errors import SettingsError
from nipype_datasink.planning.location import (
    LocalDirectory,
    Location,
    S3Prefix,
    is_encodable,
    normalize_prefix,
)
from nipype_datasink.planning.places import absolute_path

# Names that were allowed in 2006. Today's rules are stricter, but old buckets keep their names and
# other stores have other rules. Access points have two forms of ARN; this is the one without slash.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_ACCESS_POINT = re.compile(r"arn:aws[a-z-]*:s3[a-z-]*:[a-z0-9-]*:[0-9]{12}:accesspoint:[\w.-]+")

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")

# What remains of an address that was used as a path: os.path.abspath and pathlib turn "s3://bucket"
# into "s3:/bucket", and os.path.abspath puts the working directory before it.
_ADDRESS_IN_PATH = re.compile(
    r"(?:^|/)\s*(?:(?P<scheme>s3[an]?|gs|gcs|az|abfss?|https?|s?ftp|file|hdfs):/+(?P<rest>.*)"
    r"|(?P<arn>arn:aws[a-z-]*:s3[a-z-]*:.*))",
    re.IGNORECASE | re.DOTALL,
)


def parse_location(text: str, name: str = "base_directory") -> Location:
    """Return the location that a user has written.

    Parameters
    ----------
    text
        A directory, relative to the working directory or absolute, ``~`` allowed; or
        ``s3://bucket/prefix`` (the scheme in any case, as nipype takes it).
    name
        Name of the input, for errors.

    Raises
    ------
    SettingsError
        For ``s3://`` without a bucket, another scheme, a path that was made from an address, and
        an unknown home directory.
    """
    if "\0" in text:
        raise SettingsError(f"{name} {text!r} contains a NUL character")
    if not is_encodable(text):
        raise SettingsError(f"{name} {text!r} contains a lone surrogate")
    match = _SCHEME.match(text)
    if match is None:
        _check_no_address_in_path(text, name)
        return LocalDirectory(absolute_path(expand_home(text, name)))
    if match["scheme"].lower() != "s3":
        raise SettingsError(
            f"{name} {text!r} has the unknown scheme {match[0]!r}; "
            "use a directory or 's3://bucket/prefix'"
        )
    bucket, _, prefix = text[match.end() :].partition("/")
    if not bucket:
        raise SettingsError(f"{name} {text!r} has no bucket name; write 's3://bucket/prefix'")
    return S3Prefix(bucket, normalize_prefix(prefix, text))


def expand_home(path: str, name: str) -> str:
    """Replace ``~`` or ``~user`` at the beginning of a path.

    Parameters
    ----------
    path
        As users write it.
    name
        Name of the input, for errors.

    Raises
    ------
    SettingsError
        If there is no such home directory.
    """
    expanded = os.path.expanduser(path)
    if path.startswith("~") and expanded == path:
        user = path.partition("/")[0]
        raise SettingsError(
            f"{name} {path!r}: the home directory of {user!r} is not known; write the absolute "
            f"path, or './{user}' for a folder of that name"
        )
    return expanded


def remove_passwords(text: str) -> str:
    """Return `text` without the user names and passwords in its addresses.

    Examples
    --------
    >>> remove_passwords("cannot reach https://me:secret@minio.example.org:9000/b")
    'cannot reach https://minio.example.org:9000/b'
    """
    return re.sub(r"(?<=://)[^\s\"'<>]*@", "", text)


def check_no_password(address: str, name: str) -> None:
    """Check that an address contains no user name or password.

    Parameters
    ----------
    address
        Endpoint of a store, or a base directory.
    name
        Name of the input, for errors.

    Raises
    ------
    SettingsError
        If it does; the message names only the host.
    """
    match = _SCHEME.match(address.strip())
    rest = address.strip()[match.end() :] if match else address
    if match and match["scheme"].lower() == "s3":  # a key may contain "@"
        rest = rest.partition("/")[0]
    if "@" in rest:
        host = rest.rpartition("@")[2].partition("/")[0]
        raise SettingsError(
            f"{name}: the address of {host!r} contains a user name or password, which nipype would "
            "write into reports and pickles; use creds_path, s3_profile or the environment"
        )


def check_container(container: str) -> None:
    """Check that a container is a folder, not an address.

    Raises
    ------
    SettingsError
        For an address, and for a NUL character.
    """
    if "\0" in container:
        raise SettingsError(f"container {container!r} contains a NUL character")
    if _SCHEME.match(container.strip()) or _ADDRESS_IN_PATH.search(container):
        raise SettingsError(
            f"container {container!r} is an address, not a folder in the base directory; "
            "set base_directory to it"
        )


def _check_no_address_in_path(text: str, name: str) -> None:
    """Check that a path was not made from an address; it would be a folder named ``s3:``."""
    match = _ADDRESS_IN_PATH.search(text)
    if match is None:
        return
    if match["arn"]:
        _, _, meant = match["arn"].rpartition(":::")  # an access point's ARN has none
    elif match["scheme"].lower() == "s3":
        meant = match["rest"]
    else:
        raise SettingsError(
            f"{name} {text!r} contains the unknown scheme {match['scheme']!r}; "
            "use a directory or 's3://bucket/prefix'"
        )
    raise SettingsError(
        f"{name} {text!r} is not a directory; for {f's3://{meant}'!r}, set exactly this text: "
        "os.path.abspath and pathlib.Path change addresses"
    )


def check_bucket_name(bucket: str) -> None:
    """Check that a bucket can have this name.

    Raises
    ------
    SettingsError
        If neither a bucket nor an access point can.
    """
    if not _BUCKET.fullmatch(bucket) and not _ACCESS_POINT.fullmatch(bucket):
        raise SettingsError(
            f"{bucket!r} is not a valid bucket name: names have 3 to 255 letters, digits, dots, "
            "hyphens and underscores, and start with a letter or digit"
        )
