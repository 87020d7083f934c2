"""Apply substitutions to what is known of a destination.

A rule never changes a text that is not known. Where it may match across the border of such a text,
the result depends on that text, so that the folders up to there are not known either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from nipype_datasink.planning.routing import Substitutions
from nipype_datasink.workflows.placeholders import MERGED, NAME, PLACEHOLDERS, TREE
from nipype_datasink.workflows.uncertain_matches import Match, matches_of_unknown

# Names that stand for those that are not known, to try what a function does to them.
_EXAMPLES = ("a", "sub-01_bold.nii.gz", "x/_y0/T1.img")


def apply_to_known(rules: Substitutions, path: str, *, root: str) -> str:
    """Return a destination after all rules, as far as it is the same for every name.

    Parameters
    ----------
    rules
        Substitutions of a sink.
    path
        Whole destination with placeholders.
    root
        Its beginning that must not change (``s3://bucket``).

    Returns
    -------
    str
        If a rule may also change the folders before a placeholder, they become one placeholder.

    Examples
    --------
    >>> rules = Substitutions(regular=(("/_s_[^/]*", ""), ("g/.*nii", "x.nii")))
    >>> apply_to_known(rules, f"/f/_s_1/{NAME}", root="") == f"/f/{NAME}"
    True
    >>> apply_to_known(rules, f"/f/g/_s_1/{NAME}", root="") == f"/f/{MERGED}"
    True
    """
    rules.check()
    literal = [_Rule(re.escape(old), new, is_literal=True) for old, new in rules.literal]
    regular = [_Rule(old, new, is_literal=False) for old, new in rules.regular]
    for rule in (*literal, *regular):
        path = _apply_below(root, rule, path)
    return path


def apply_to_examples(substitute: Callable[[str], str], path: str) -> str:
    """Return a destination after a function of a subclass, as far as examples agree about it.

    Parameters
    ----------
    substitute
        Rewrites a whole destination.
    path
        Whole destination with placeholders.
    """
    changed = substitute(path)
    found = [each for each in PLACEHOLDERS if each in path]
    results = set()
    for example in _EXAMPLES:
        whole, expected = path, changed
        for placeholder in found:
            whole = whole.replace(placeholder, example)
            expected = expected.replace(placeholder, example)
        results.add(substitute(whole))
        if substitute(whole) != expected:
            changed = ""
    if changed and all(path.count(each) == changed.count(each) for each in found):
        return changed
    prefix = os.path.commonprefix([*results])  # noqa: RUF071 - cut at a slash below
    return f"{prefix[: prefix.rfind('/') + 1]}{MERGED}"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A regular expression and what replaces its matches."""

    pattern: str
    replacement: str
    is_literal: bool = field(kw_only=True)
    """Whether the replacement is plain text, without references to groups."""

    def new(self, match: re.Match[str]) -> str:
        """Return what replaces a match."""
        return self.replacement if self.is_literal else match.expand(self.replacement)

    def keeps_slash(self, unknown: str) -> bool:
        """Return whether a slash stays if the rule matches it and the beginning of `unknown`.

        A rule such as ``/_run_.*`` to empty text is meant for whole folders.
        """
        removes_folders = not self.replacement and self.pattern.startswith("/_")
        return self.replacement.startswith("/") or (removes_folders and unknown in (NAME, TREE))

    @property
    def adds_folders(self) -> bool:
        """Whether the replacement of a part of a name may contain a slash."""
        added = self.replacement
        if self.pattern.startswith("/") and added.startswith("/"):
            added = added[1:]
        return "/" in added or r"\g<0>" in added


def _apply_below(root: str, rule: _Rule, path: str) -> str:
    changed = _apply(rule, path)
    if not root or changed.startswith(f"{root}/"):
        return changed
    if MERGED in changed:
        return f"{root}/{MERGED}"
    return f"{root}/{_apply(rule, path.removeprefix(root)).lstrip('/')}"


def _apply(rule: _Rule, path: str) -> str:
    matches = _matches(rule.pattern, path)
    cut = min(
        (_folder(path, each, rule) for each in matches if _cuts(path, each, rule)), default=-1
    )
    if cut >= 0:
        return _replace(rule, path, cut)
    left = {each.start for each in matches if each.crosses}  # a slash before a name, and the name
    changed = _replace(rule, path, len(path), left)
    if rule.adds_folders and (matches or _is_beside_unknown(rule, path)):
        changed = changed.replace(NAME, TREE)
    return changed


def _is_beside_unknown(rule: _Rule, path: str) -> bool:
    """Return whether a rule adds something to what is not known."""
    return any(_is_in_unknown(path, match) for match in re.finditer(rule.pattern, path))


def _matches(pattern: str, path: str) -> tuple[Match, ...]:
    if not any(each in path for each in PLACEHOLDERS):
        return ()
    try:
        return matches_of_unknown(pattern, path)
    except Exception:  # noqa: BLE001 - a part of expressions that a later Python has
        return (Match(0, len(path), -1, crosses=True),)


def _cuts(path: str, match: Match, rule: _Rule) -> bool:
    """Return whether a match may change what is known before a placeholder."""
    if not match.crosses:
        return False
    only_slash = match.unknown > 0 and match.start == match.unknown - 1
    only_slash = only_slash and path[match.start] == "/" and match.end <= match.unknown + 1
    return not (only_slash and rule.keeps_slash(path[match.unknown]))


def _folder(path: str, match: Match, rule: _Rule) -> int:
    """Return the end of the folders that a match leaves as they are."""
    if path.startswith("/", match.start) and rule.replacement.startswith("/"):
        return match.start + 1
    return path.rfind("/", 0, match.start) + 1


def _replace(rule: _Rule, path: str, end: int, left: Collection[int] = ()) -> str:
    """Return the path with all matches up to `end` replaced; the rest becomes one placeholder.

    Matches that start at the positions `left` are left as they are.
    """
    found = [each for each in re.finditer(rule.pattern, path) if each.start() not in left]
    for match in reversed(found):
        if match.start() < end < match.end():
            end = path.rfind("/", 0, match.start()) + 1
    return "".join(_parts(rule, path, found, end))


def _parts(rule: _Rule, path: str, found: list[re.Match[str]], end: int) -> Iterator[str]:
    position = 0
    for match in found:
        if match.end() <= end and not _is_in_unknown(path, match):
            yield path[position : match.start()]
            yield rule.new(match)
            position = match.end()
    yield path[position:end]
    if end < len(path):
        yield MERGED


def _is_in_unknown(path: str, match: re.Match[str]) -> bool:
    """Return whether a match is in a placeholder, or is empty and beside one."""
    beside = path[max(match.start() - 1, 0) : match.end() + 1]
    return any(each in (match[0] or beside) for each in PLACEHOLDERS)
