"""Compute the destination of a source: container, field, parameterization and substitutions.

Nothing here reads a disk or a bucket; only `S3Copy` reads links, for a destination that seems to be
outside the base directory. Subclasses of the sink may override two of the steps, so these steps
(`relative_destination` and `Substitutions.apply`) reach `route` as callables.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nipype_datasink.display import escaped
from nipype_datasink.errors import SettingsError
from nipype_datasink.planning.location import Location
from nipype_datasink.planning.s3_copy import S3Copy

_BUCKET = re.compile("s3://[^/]+")
_logger = logging.getLogger("nipype.interface")


def relative_destination(source: str, *, parameterization: bool, strip_dir: str | None) -> str:
    """Return the part of a destination that depends only on the path of the source.

    Parameters
    ----------
    source
        Absolute path of a file or directory; trailing slashes are ignored.
    parameterization
        Keep the folders whose names start with ``_``, such as ``_subject_id_sub001``. nipype gives
        such names to the working directories of iterables.
    strip_dir
        Text to remove from the source's directory before these folders are searched.

    Returns
    -------
    str
        Relative path: the parameterization folders and the name of the source.

    Examples
    --------
    >>> relative_destination("/w/_run_1/a.nii", parameterization=True, strip_dir=None)
    '_run_1/a.nii'
    >>> relative_destination("/w/_run_1/a.nii", parameterization=False, strip_dir=None)
    'a.nii'
    """
    directory, name = os.path.split(source.rstrip("/"))
    if not parameterization:
        return name
    if strip_dir is not None:
        directory = directory.replace(strip_dir, "")
    folders = [part for part in directory.split("/") if part.startswith("_")]
    return "/".join([*folders, name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitutions:
    """Substitutions that rewrite a destination, each applied to the result of the one before."""

    literal: tuple[tuple[str, str], ...] = ()
    """Pairs of a text and its replacement, applied first."""

    regular: tuple[tuple[str, str], ...] = ()
    """Pairs of a regular expression and its replacement, as `re.sub` takes them."""

    def check(self) -> None:
        """Compile every regular expression and its replacement.

        Raises
        ------
        SettingsError
            Naming the first pair that cannot be compiled.
        """
        for pair in self.regular:
            _replace_regular(pair, "")

    def apply(self, path: str, *, root: str = "") -> str:
        """Apply every substitution to `path`.

        Parameters
        ----------
        path
            Whole destination, because regular expressions may match its beginning.
        root
            Beginning that must not change (``s3://bucket``). A substitution that would change it
            is applied only to the rest, which starts with a slash.
        """
        for rule, pairs in (
            (_replace_literal, self.literal),
            (_replace_regular, self.regular),
        ):
            for pair in pairs:
                path = _apply_below(root, path, rule, pair)
        return path

    def unused(self, paths: Iterable[str]) -> Substitutions:
        """Return the substitutions that match none of these whole destinations."""
        used = {pair for path in paths for pair in self._matching(path, bucket_root(path))}
        return Substitutions(
            literal=tuple(pair for pair in self.literal if (_replace_literal, pair) not in used),
            regular=tuple(pair for pair in self.regular if (_replace_regular, pair) not in used),
        )

    def _matching(self, path: str, root: str) -> Iterator[tuple[object, tuple[str, str]]]:
        for pair in self.literal:
            if pair[0] in path:
                yield _replace_literal, pair
            path = _apply_below(root, path, _replace_literal, pair)
        for pair in self.regular:
            if re.search(pair[0], path):
                yield _replace_regular, pair
            path = _apply_below(root, path, _replace_regular, pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything that decides where the sources of a sink go."""

    locations: tuple[Location, ...]
    """Base directory, local copy and S3 copy, each with its container. Every source goes to all of
    them."""

    s3_copy: S3Copy | None = None
    """The S3 copy, if there is one; its location is the last of `locations`."""

    relative: Callable[[str], str]
    """Return the part of a destination that depends only on the path of the source, as
    `relative_destination` does."""

    substitute: Callable[[str], str]
    """Rewrite a whole destination, as `Substitutions.apply` does."""

    remove_dest_dir: bool = False
    """Remove all other files from the destination folder of a directory."""

    manifest_directory: Location | None = None
    """Where the manifest will be written; None without one."""


def bucket_root(path: str) -> str:
    """Return the beginning of an address that no substitution may change; empty for a path.

    Examples
    --------
    >>> bucket_root("s3://bucket/out/a.nii"), bucket_root("/out/a.nii")
    ('s3://bucket', '')
    """
    bucket = _BUCKET.match(path)
    return bucket[0] if bucket else ""


def log_changes(
    substitute: Callable[[str], str], before: Callable[[], object] = lambda: None
) -> Callable[[str], str]:
    """Return a function that does what `substitute` does, and logs each changed path once.

    Parameters
    ----------
    substitute
        Changes a path.
    before
        Called before each line of the log.
    """
    seen: set[str] = set()

    def substitute_and_log(path: str) -> str:
        changed = substitute(path)
        if changed != path and path not in seen:
            seen.add(path)
            before()
            _logger.info("sub: %s -> %s", escaped(path), escaped(changed))
        return changed

    return substitute_and_log


def _replace_literal(pair: tuple[str, str], text: str) -> str:
    return text.replace(*pair)


def _replace_regular(pair: tuple[str, str], text: str) -> str:
    try:
        return re.sub(*pair, text)
    except (re.error, IndexError) as error:
        raise SettingsError(
            f"regexp_substitutions: {pair!r} is not a regular expression and a replacement "
            f"for it: {error}"
        ) from error


def _apply_below(
    root: str,
    path: str,
    rule: Callable[[tuple[str, str], str], str],
    pair: tuple[str, str],
) -> str:
    changed = rule(pair, path)
    if not root or changed.startswith(f"{root}/"):
        return changed
    return f"{root}/{rule(pair, path.removeprefix(root)).lstrip('/')}"


def route(source: str, field: str, location: Location, rules: Rules) -> str:
    """Return the whole destination of `source` below one location.

    Parameters
    ----------
    source
        Absolute path; that of a directory ends in a slash.
    field
        Name of the sink's input: dots separate folders; empty parts and parts that start with
        ``@`` add no folder.
    location
        Base directory and container; one of ``rules.locations``.
    rules
        Their two steps are applied.

    Raises
    ------
    DestinationError
        If the destination on disk is not below the base directory, and so has no S3 copy.

    Examples
    --------
    >>> from nipype_datasink.planning.location import S3Prefix
    >>> location = S3Prefix("bucket", "out/sub001")
    >>> rules = Rules(
    ...     locations=(location,), relative=os.path.basename, substitute=lambda path: path
    ... )
    >>> route("/w/a.par", "motion.@par", location, rules)
    's3://bucket/out/sub001/motion/a.par'
    """
    if rules.s3_copy and location == rules.s3_copy.location:
        return rules.s3_copy.address(route(source, field, rules.s3_copy.local_location, rules))
    destination = str(location)
    for part in field.split("."):
        if part and not part.startswith("@"):
            destination = location.join(destination, part)
    return rules.substitute(location.join(destination, rules.relative(source)))
