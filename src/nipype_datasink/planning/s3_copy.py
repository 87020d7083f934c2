"""Decide where the copy of a directory tree goes in S3 (``s3_copy``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import permutations

from nipype_datasink.errors import DestinationError, SettingsError
from nipype_datasink.planning.addresses import (
    check_bucket_name,
    check_no_password,
    expand_home,
    parse_location,
    remove_passwords,
)
from nipype_datasink.planning.location import LocalDirectory, S3Prefix
from nipype_datasink.planning.places import PathMap, ancestors, same_place

_DIRECTORY_AND_PREFIX = re.compile("(?P<directory>.+?)=(?P<prefix>s3://.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedDirectory:
    """A directory on disk, and the prefix in S3 that its contents are copied to."""

    directory: str
    """Absolute path without links."""

    prefix: S3Prefix
    """What lies in ``directory/folder`` goes to ``prefix/folder``."""

    def __str__(self) -> str:
        return f"{self.directory}={self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Copy:
    """The copy in S3 of what a sink delivers to a directory on disk.

    A copy has the relative paths of the files on disk. So the rules of the sink see only paths on
    disk, and rules that contain the base directory have the same effect on the copy.
    """

    local_location: LocalDirectory
    """Base directory on disk, with container."""

    location: S3Prefix
    """Copy of `local_location`."""

    local_base: LocalDirectory
    """Base directory without container, or `local_location` if the container leads out of it."""

    base: S3Prefix
    """Copy of `local_base`. The whole copy lies below it."""

    def in_bucket(self, bucket: object) -> S3Copy:
        """Return this copy in an injected bucket; see `S3Prefix.in_bucket`."""
        location, base = (each.in_bucket(bucket) for each in (self.location, self.base))
        return replace(self, location=location, base=base)

    def address(self, path: str) -> str:
        """Return the address of the copy of a destination on disk.

        Raises
        ------
        DestinationError
            If the destination is not below the base directory.
        """
        relative = os.path.relpath(path, self.local_base.path)
        if _leads_out(relative):
            # A rule may write the base directory in another way, through a link.
            with suppress(ValueError):  # no file can have this name
                relative = os.path.relpath(_real_path(path), os.path.realpath(self.local_base.path))
        if _leads_out(relative):
            raise DestinationError(
                f"{path!r} is not below the base directory, and {self.base.label} is the S3 copy "
                "of the base directory only; change the destination by a substitution, or leave "
                "out s3_copy"
            )
        return str(self.base.child(relative))


def _leads_out(relative: str) -> bool:
    return relative == ".." or relative.startswith("../")


def _real_path(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)


def make_s3_copy(
    written: str | Sequence[CopiedDirectory], base: LocalDirectory, container: str
) -> S3Copy | None:
    """Return the S3 copy of what a sink delivers; None if nothing is copied.

    Parameters
    ----------
    written
        Address of the copy, or directories that are copied. The innermost that contains the base
        directory decides.
    base
        Base directory of the sink.
    container
        Folder below it. If it leads out of the base directory, as an absolute path does, it
        replaces the base directory.

    Raises
    ------
    SettingsError
        If the address is not one in S3.
    """
    copied = base.child(container)
    directory = directory_to_copy(base, container)
    if isinstance(written, str):
        prefix: S3Prefix | None = parse_prefix(written, "s3_copy")
        if prefix and directory != base:
            prefix = prefix.child(container)
    else:
        prefixes = (each.prefix.child(relative) for each, relative in _outer(directory, written))
        prefix = next(prefixes, None)
    if prefix is None:
        return None
    location = prefix.child(os.path.relpath(copied.path, directory.path))
    return S3Copy(local_location=copied, location=location, local_base=directory, base=prefix)


def directory_to_copy(base: LocalDirectory, container: str) -> LocalDirectory:
    """Return the directory that decides whether there is a copy.

    It is the base directory, or, if the container leads out of it, the directory of the container.
    """
    copied = base.child(container)
    is_below = f"{copied}/".startswith(f"{base.path.rstrip('/')}/")
    return base if is_below else copied


def find_copied(
    directory: LocalDirectory, written: Sequence[CopiedDirectory]
) -> list[CopiedDirectory]:
    """Return the copied directories that are or contain a directory."""
    return [copied for copied, _ in _outer(directory, written)]


def _outer(
    directory: LocalDirectory, written: Sequence[CopiedDirectory]
) -> Iterator[tuple[CopiedDirectory, str]]:
    """Yield each copied directory that contains a directory, and the relative path in it.

    The innermost is the first.
    """
    copied = PathMap((each.directory, each) for each in written)
    real = os.path.realpath(directory.path)
    # Then as it is written: a link in a copied directory may lead out of it.
    for path in dict.fromkeys((real, directory.path)):
        for outer in (path, *ancestors(path), "/"):
            if found := copied.find(outer if path == real else os.path.realpath(outer)):
                yield found, os.path.relpath(path, outer)


def parse_prefix(address: str, name: str) -> S3Prefix:
    """Return the prefix that a user has written.

    Parameters
    ----------
    address
        Of the form ``s3://bucket/prefix``.
    name
        Name of the input, for errors.

    Raises
    ------
    SettingsError
        If it has another form, or if no bucket can have that name.
    """
    location = parse_location(address, name)
    if not isinstance(location, S3Prefix):
        raise SettingsError(
            f"{name} {address!r} is not an address in S3; write 's3://bucket/prefix'. "
            "The input for a directory is local_copy"
        )
    return location


def parse_copied_directories(
    text: str, name: str, *, working_directory: str | None = None
) -> tuple[CopiedDirectory, ...]:
    """Return the directories that a user has written, and their copies.

    Parameters
    ----------
    text
        ``DIR=s3://bucket/prefix``, one in each line.
    name
        Name of the setting, for errors.
    working_directory
        Directory that relative ones are below; None allows only absolute ones.

    Raises
    ------
    SettingsError
        If a line has another form, a directory is not absolute, two lines name one directory, or
        two directories share keys, so that their files could replace each other.
    """
    found: PathMap[CopiedDirectory] = PathMap()
    copies: list[CopiedDirectory] = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        copy = _parse_line(line, name, working_directory)
        other = found.find(copy.directory)
        if other and other.prefix != copy.prefix:
            raise SettingsError(
                f"{name}: the directory {copy.directory!r} has two copies, {other.prefix} and "
                f"{copy.prefix}; write one of them"
            )
        found.add(copy.directory, copy)
        copies.append(copy)
    _check_keys_differ(copies, name)
    return tuple(copies)


def _check_keys_differ(copies: Sequence[CopiedDirectory], name: str) -> None:
    """Check that no two files in the copied directories have one key."""
    for copy, other in permutations(copies, 2):
        relative = os.path.relpath(f"/{other.prefix.prefix}", f"/{copy.prefix.prefix}")
        if copy.prefix.bucket != other.prefix.bucket or _leads_out(relative):
            continue
        # A directory in another may have the key that it has without an option of its own.
        inside = os.path.normpath(os.path.join(copy.directory, relative))
        if not same_place(inside, other.directory):
            raise SettingsError(
                f"{name}: files of {copy.directory!r} and {other.directory!r} could replace each "
                f"other in {other.prefix}; write another prefix for one of them"
            )


def _parse_line(line: str, name: str, working_directory: str | None) -> CopiedDirectory:
    match = _DIRECTORY_AND_PREFIX.fullmatch(line)
    if match is None:
        shown = remove_passwords(line)
        raise SettingsError(f"{name}: {shown!r} is not valid; write 'DIR=s3://bucket/prefix'")
    check_no_password(match["prefix"], name)
    prefix = parse_prefix(match["prefix"], name)
    try:
        check_bucket_name(prefix.bucket)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    directory = expand_home(match["directory"], name)
    if working_directory is None and not os.path.isabs(directory):
        raise SettingsError(
            f"{name}: the directory {directory!r} is relative; write an absolute path"
        )
    real = os.path.realpath(os.path.join(working_directory or "/", directory))
    return CopiedDirectory(directory=real, prefix=prefix)
