"""Define the places that outputs go to: a directory on disk, or a prefix in an S3 bucket."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace

from nipype_datasink.errors import DestinationError
from nipype_datasink.planning.places import absolute_path

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class LocalDirectory:
    """A directory on disk."""

    path: str
    """Absolute and normalised."""

    root = ""
    """Start of a destination that no substitution may change; empty, as all of it may change."""

    def child(self, container: str) -> LocalDirectory:
        """Return the directory `container`, below this one unless it is absolute."""
        return LocalDirectory(absolute_path(os.path.join(self.path, container)))

    def in_bucket(self, bucket: object) -> LocalDirectory:  # noqa: ARG002
        """Return this directory: it is in no bucket."""
        return self

    def join(self, folder: str, part: str) -> str:
        """Return `part` below `folder`, or `part` itself if it is absolute."""
        return os.path.join(folder, part)

    @property
    def label(self) -> str:
        """Text for messages."""
        return self.path

    def resolve(self, destination: str) -> str:
        """Return `destination` as ``out_file`` reports it, which is without changes.

        Raises
        ------
        DestinationError
            If no file can have that name.
        """
        if "\0" in destination:
            raise DestinationError(f"{destination!r} contains a NUL character")
        if not is_encodable(destination):
            raise DestinationError(
                f"{destination!r} contains a lone surrogate (half a Unicode character), which file "
                "names cannot contain; change it by a substitution"
            )
        return destination

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """A key prefix in a bucket, which takes the place of a directory."""

    bucket: str
    """Name in ``base_directory``, which substitutions see."""

    prefix: str = ""
    """Normalised: no empty, ``.`` or ``..`` part, no slash at either end; ``""`` is the root."""

    injected_bucket: str = ""
    """Name of the injected bucket that receives the files, if it differs from `bucket`."""

    @property
    def root(self) -> str:
        """Start of a destination that no substitution may change: ``s3://bucket``."""
        return f"s3://{self.bucket}"

    def child(self, container: str) -> S3Prefix:
        """Return the prefix `container` below this one, also where `container` is absolute."""
        prefix = normalize_prefix(f"{self.prefix}/{container}", f"{self}/{container}")
        return S3Prefix(self.bucket, prefix, self.injected_bucket)

    def in_bucket(self, bucket: object) -> S3Prefix:
        """Return this prefix in an injected bucket, which may have another name, if there is one.

        Parameters
        ----------
        bucket
            None if no bucket is injected.
        """
        name = getattr(bucket, "name", None)
        return replace(self, injected_bucket=name) if isinstance(name, str) else self

    def join(self, folder: str, part: str) -> str:
        """Return `part` below `folder`, also where `part` is absolute."""
        return posixpath.join(folder, part.lstrip("/"))

    def key(self, destination: str) -> str:
        """Return the key of the object at `destination`, which starts with `root`.

        Raises
        ------
        DestinationError
            If it leaves the bucket, or the key is empty, longer than 1,024 bytes or not UTF-8.
        """
        if not destination.startswith(f"{self.root}/"):
            raise DestinationError(f"{destination!r} is not in the bucket {self.bucket!r}")
        key = normalize_prefix(destination.removeprefix(self.root), destination)
        size = _utf8_size(key, destination)
        if not 0 < size <= MAX_KEY_BYTES:
            raise DestinationError(
                f"{destination!r} has a key of {size:,} bytes; S3 allows 1 to "
                f"{MAX_KEY_BYTES:,}. Change it by a substitution"
            )
        return key

    @property
    def actual_bucket(self) -> str:
        """Name of the bucket that receives the files."""
        return self.injected_bucket or self.bucket

    @property
    def label(self) -> str:
        """Text for messages: the bucket that receives the files, and the prefix."""
        return f"s3://{self.actual_bucket}/{self.prefix}".rstrip("/")

    def resolve(self, destination: str) -> str:
        """Return `destination` as ``out_file`` reports it: normalised, in the actual bucket."""
        return f"s3://{self.actual_bucket}/{self.key(destination)}"

    def __str__(self) -> str:
        return f"{self.root}/{self.prefix}" if self.prefix else self.root


Location = LocalDirectory | S3Prefix


def is_encodable(text: str) -> bool:
    """Return whether a file can have this name; it need not be UTF-8."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def normalize_prefix(path: str, whole: str) -> str:
    """Return `path` without empty, ``.`` and ``..`` parts, as a file system resolves them."""
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
