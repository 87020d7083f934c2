"""Where a source goes: container, field, parameterization and substitutions.

Nothing here reads a disk or a bucket. The two steps that subclasses of the sink override
(`relative_destination` and `Substitutions.apply`) reach `route` as callables.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from nipype_datasink.display import escaped
from nipype_datasink.errors import SettingsError
from nipype_datasink.planning.location import Location

__all__ = ["Substitutions", "logged", "relative_destination", "route"]

_logger = logging.getLogger("nipype.interface")


def relative_destination(source: str, *, parameterization: bool, strip_dir: str | None) -> str:
    """Return the part of a destination that the source's own path decides.

    Parameters
    ----------
    source
        Absolute path of a file or directory; trailing slashes do not count.
    parameterization
        Keep the folders whose names start with ``_``: nipype names the working directories of
        iterables so (``_subject_id_sub001``).
    strip_dir
        Text to cut out of the source's directory before those folders are sought.

    Returns
    -------
    str
        Never absolute: the source's name, below its parameterization folders.

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
    """Rules that rewrite a destination, each seeing what the one before it left."""

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
        """Rewrite `path` by every rule.

        Parameters
        ----------
        path
            Whole destination: people anchor on its beginning.
        root
            Beginning that no rule may change (``s3://bucket``). A rule that would is applied
            only to what follows, which starts with its slash.
        """
        for rule, pairs in ((_replace_literal, self.literal), (_replace_regular, self.regular)):
            for pair in pairs:
                path = _below(root, path, rule, pair)
        return path


def logged(substitute: Callable[[str], str]) -> Callable[[str], str]:
    """Return `substitute` that logs each path that it changes, once and as nipype does."""
    seen: set[str] = set()

    def substitute_and_log(path: str) -> str:
        changed = substitute(path)
        if changed != path and path not in seen:
            seen.add(path)
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


def _below(
    root: str,
    path: str,
    rule: Callable[[tuple[str, str], str], str],
    pair: tuple[str, str],
) -> str:
    changed = rule(pair, path)
    if not root or changed.startswith(f"{root}/"):
        return changed
    return f"{root}/{rule(pair, path.removeprefix(root)).lstrip('/')}"


def route(
    source: str,
    field: str,
    location: Location,
    *,
    relative: Callable[[str], str],
    substitute: Callable[[str], str],
) -> str:
    """Return the whole destination of `source`.

    Parameters
    ----------
    source
        Absolute path; a directory's ends in a slash.
    field
        Name of the sink's input: dots separate folders, parts that start with ``@`` and empty
        ones add none.
    location
        Base directory and container.
    relative
        Gives the part that the source's own path decides, as `relative_destination` does.
    substitute
        Rewrites a whole destination, as `Substitutions.apply` does.

    Examples
    --------
    >>> from nipype_datasink.planning.location import S3Prefix
    >>> route("/w/a.par", "motion.@par", S3Prefix("bucket", "out/sub001"),
    ...       relative=lambda source: "a.par", substitute=lambda path: path)
    's3://bucket/out/sub001/motion/a.par'
    """
    destination = str(location)
    for part in field.split("."):
        if part and not part.startswith("@"):
            destination = location.join(destination, part)
    return substitute(location.join(destination, relative(source)))
