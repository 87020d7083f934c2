"""Where outputs go: a directory on disk, or a prefix in an S3 bucket."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass

from nipype_datasink.errors import DestinationError, SettingsError

__all__ = [
    "LocalDirectory",
    "Location",
    "S3Prefix",
    "check_bucket_name",
    "check_container",
    "expand_home",
    "parse",
    "refuse_password",
    "without_password",
]

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES = 1024

# Names as buckets may have had since 2006: today's rules are narrower, but old buckets and other
# stores keep theirs. Access points are addressed by the form of their ARN that holds no slash.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_ACCESS_POINT = re.compile(r"arn:aws[a-z-]*:s3[a-z-]*:[a-z0-9-]*:[0-9]{12}:accesspoint:[\w.-]+")

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")

# What a path holds where an address was taken for one: os.path.abspath and pathlib turn
# "s3://bucket" into "s3:/bucket", and put the working directory before it.
_ADDRESS_IN_PATH = re.compile(
    r"(?:^|/)\s*(?:(?P<scheme>s3[an]?|gs|gcs|az|abfss?|https?|s?ftp|file|hdfs):/+(?P<rest>.*)"
    r"|(?P<arn>arn:aws[a-z-]*:s3[a-z-]*:.*))",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class LocalDirectory:
    """A directory on disk."""

    path: str
    """Absolute and normalised."""

    root = ""
    """Beginning of a destination that no substitution may change: none."""

    def child(self, container: str) -> LocalDirectory:
        """Return the directory `container`, below this one unless it is absolute."""
        return LocalDirectory(os.path.abspath(os.path.join(self.path, container)))

    def join(self, folder: str, part: str) -> str:
        """Return `part` below `folder`, or `part` itself if it is absolute."""
        return os.path.join(folder, part)

    @property
    def label(self) -> str:
        """What people read."""
        return self.path

    def report(self, destination: str) -> str:
        """Return `destination` as ``out_file`` shows it: as the rules left it.

        Raises
        ------
        DestinationError
            If no file can have that name.
        """
        if "\0" in destination:
            raise DestinationError(f"{destination!r} holds a NUL character")
        if not can_be_encoded(destination):
            raise DestinationError(
                f"{destination!r} holds half a character (a lone surrogate), which no name on disk "
                "can; change it by a substitution"
            )
        return destination

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """A "directory" in a bucket."""

    bucket: str
    """Name of the bucket as written in ``base_directory``, which routing rules see."""

    prefix: str = ""
    """Normalised: no empty, ``.`` or ``..`` part, no slash at either end; ``""`` is the root."""

    bucket_override: str = ""
    """Name of an injected bucket that takes the place of `bucket`, if it has another."""

    @property
    def root(self) -> str:
        """Beginning of a destination that no substitution may change: ``s3://bucket``."""
        return f"s3://{self.bucket}"

    def child(self, container: str) -> S3Prefix:
        """Return the prefix `container` below this one, an absolute one too."""
        prefix = _resolve(f"{self.prefix}/{container}", f"{self}/{container}")
        return S3Prefix(self.bucket, prefix, self.bucket_override)

    def join(self, folder: str, part: str) -> str:
        """Return `part` below `folder`, an absolute one too."""
        return posixpath.join(folder, part.lstrip("/"))

    def key(self, destination: str) -> str:
        """Return the key of the object that `destination`, below `root`, names.

        Raises
        ------
        DestinationError
            If it leaves the bucket, or the key is empty, longer than 1,024 bytes or not UTF-8.
        """
        if not destination.startswith(f"{self.root}/"):
            raise DestinationError(f"{destination!r} is not in the bucket {self.bucket!r}")
        key = _resolve(destination.removeprefix(self.root), destination)
        size = _utf8_size(key, destination)
        if not 0 < size <= MAX_KEY_BYTES:
            raise DestinationError(
                f"{destination!r} makes a key of {size:,} bytes; S3 takes 1 to "
                f"{MAX_KEY_BYTES:,}. Change it by a substitution"
            )
        return key

    @property
    def receiver(self) -> str:
        """Name of the bucket that really receives."""
        return self.bucket_override or self.bucket

    @property
    def label(self) -> str:
        """What people read: the bucket that really receives, and the prefix."""
        return f"s3://{self.receiver}/{self.prefix}".rstrip("/")

    def report(self, destination: str) -> str:
        """Return `destination` as ``out_file`` shows it: resolved, in the bucket that has it."""
        return f"s3://{self.receiver}/{self.key(destination)}"

    def __str__(self) -> str:
        return f"{self.root}/{self.prefix}" if self.prefix else self.root


Location = LocalDirectory | S3Prefix


def parse(text: str, name: str = "base_directory") -> Location:
    """Read a location as users write it.

    Parameters
    ----------
    text
        A directory, relative to the working directory or absolute, ``~`` allowed; or
        ``s3://bucket/prefix`` (the scheme in any case, as nipype takes it).
    name
        Of the input, for errors.

    Raises
    ------
    SettingsError
        For an ``s3://`` without a bucket, any other scheme, a path that was made of an address,
        and a home directory that is not known.
    """
    if "\0" in text:
        raise SettingsError(f"{name} {text!r} holds a NUL character")
    if not can_be_encoded(text):
        raise SettingsError(f"{name} {text!r} holds half a character (a lone surrogate)")
    match = _SCHEME.match(text)
    if match is None:
        _refuse_address_in_path(text, name)
        return LocalDirectory(os.path.abspath(expand_home(text, name)))
    if match["scheme"].lower() != "s3":
        raise SettingsError(
            f"{name} {text!r} has the unknown scheme {match[0]!r}; "
            "use a directory or 's3://bucket/prefix'"
        )
    bucket, _, prefix = text[match.end() :].partition("/")
    if not bucket:
        raise SettingsError(f"{name} {text!r} names no bucket; write 's3://bucket/prefix'")
    return S3Prefix(bucket, _resolve(prefix, text))


def expand_home(path: str, name: str) -> str:
    """Replace ``~`` or ``~user`` at the beginning of a path.

    Parameters
    ----------
    path
        As users write it.
    name
        Of the input, for errors.

    Raises
    ------
    SettingsError
        If there is no such home directory.
    """
    expanded = os.path.expanduser(path)
    if path.startswith("~") and expanded == path:
        user = path.partition("/")[0]
        raise SettingsError(
            f"{name} {path!r} begins with {user!r}, and no home directory of that name is known; "
            f"write the whole path, or './{user}' for a folder of that name"
        )
    return expanded


def without_password(text: str) -> str:
    """Return `text` with whatever stands before an ``@`` in its addresses left out.

    Examples
    --------
    >>> without_password("cannot reach https://me:secret@minio.example.org:9000/b")
    'cannot reach https://minio.example.org:9000/b'
    """
    return re.sub(r"(?<=://)[^\s\"'<>]*@", "", text)


def refuse_password(address: str, name: str) -> None:
    """Refuse an address that holds a user's name or password.

    Parameters
    ----------
    address
        Of a store, or a base directory.
    name
        Of the input, for errors.

    Raises
    ------
    SettingsError
        Naming the host only.
    """
    match = _SCHEME.match(address.strip())
    rest = address.strip()[match.end() :] if match else address
    if match and match["scheme"].lower() == "s3":  # keys may hold any character
        rest = rest.partition("/")[0]
    if "@" in rest:
        host = rest.rpartition("@")[2].partition("/")[0]
        raise SettingsError(
            f"{name}: the address of {host!r} holds a user name or password, which nipype would "
            "write into reports and pickles; use creds_path, s3_profile or the environment"
        )


def check_container(container: str) -> None:
    """Refuse a container that is a place of its own, and not a folder in the base directory.

    Raises
    ------
    SettingsError
        For a NUL character, and for an address.
    """
    if "\0" in container:
        raise SettingsError(f"container {container!r} holds a NUL character")
    if _SCHEME.match(container.strip()) or _ADDRESS_IN_PATH.search(container):
        raise SettingsError(
            f"container {container!r} is an address, and not a folder in the base directory; "
            "set base_directory to it"
        )


def _refuse_address_in_path(text: str, name: str) -> None:
    """Refuse to make a folder called ``s3:``."""
    match = _ADDRESS_IN_PATH.search(text)
    if match is None:
        return
    if match["arn"]:
        _, _, meant = match["arn"].rpartition(":::")  # an access point's ARN has none
    elif match["scheme"].lower() == "s3":
        meant = match["rest"]
    else:
        raise SettingsError(
            f"{name} {text!r} holds the unknown scheme {match['scheme']!r}; "
            "use a directory or 's3://bucket/prefix'"
        )
    raise SettingsError(
        f"{name} {text!r} is no directory; if {f's3://{meant}'!r} is meant, write it as text, "
        "without blanks before it: os.path.abspath and pathlib.Path damage addresses"
    )


def can_be_encoded(text: str) -> bool:
    """Return whether a file can have this name: bytes that are not UTF-8 can be kept, too."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def check_bucket_name(bucket: str) -> None:
    """Refuse what can be no bucket's name, before anything is written.

    Raises
    ------
    SettingsError
        If neither a bucket nor an access point can have this name.
    """
    if not _BUCKET.fullmatch(bucket) and not _ACCESS_POINT.fullmatch(bucket):
        raise SettingsError(
            f"{bucket!r} cannot be a bucket: names have 3 to 255 letters, digits, dots, hyphens "
            "and underscores, and start with a letter or digit"
        )


def _resolve(path: str, whole: str) -> str:
    """Resolve empty, ``.`` and ``..`` parts of `path` as a file system would."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise DestinationError(f"{whole!r} leaves its bucket by '..'")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _utf8_size(key: str, destination: str) -> int:
    try:
        return len(key.encode())
    except UnicodeEncodeError:
        raise DestinationError(
            f"{destination!r} is not UTF-8, which S3 keys must be; rename it by a substitution"
        ) from None
