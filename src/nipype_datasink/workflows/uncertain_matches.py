"""Find out whether a regular expression can match across the border of a text that is not known.

The expression is followed through the text as by an automaton, in all ways at once, with Python's
own parser. Where it is not clear whether it matches, it is taken to match. So it may be said to
cross a border that it never crosses, but not the reverse.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any

from nipype_datasink.workflows.placeholders import NAME, PLACEHOLDERS

_NEW = sys.version_info >= (3, 11)  # `sre_parse` is deprecated there
_parser: Any = import_module("re._parser" if _NEW else "sre_parse")
_compiler: Any = import_module("re._compiler" if _NEW else "sre_compile")

# Position, whether a known character was read, and the placeholder that was read: its position + 1,
# 0 for none, or `_SEVERAL`.
_Key = tuple[int, bool, int]
# The least position at which a match may begin that leads to the key.
_States = dict[_Key, int]
_SEVERAL = -1
_IGNORE_CASE = int(re.IGNORECASE)  # operators of numbers are quicker than those of `re.RegexFlag`


@dataclass(frozen=True, slots=True)
class Match:
    """A match that may read a text that is not known."""

    start: int
    """Where it begins, at the earliest."""

    end: int
    """Where it ends; the position of a placeholder if it ends inside."""

    unknown: int
    """Position of the placeholder; -1 if there are several."""

    crosses: bool
    """Whether it also reads or changes what is known, or another placeholder."""


@lru_cache(maxsize=100)  # the destinations of many outputs differ in their names only
def matches_of_unknown(pattern: str, text: str) -> tuple[Match, ...]:
    """Return the possible matches that depend on texts that are not known.

    Parameters
    ----------
    pattern
        Regular expression.
    text
        Text with placeholders. That of a name stands for text without a slash.

    Examples
    --------
    >>> [each.start for each in matches_of_unknown("_s.*", f"/_s1/{NAME}") if each.crosses]
    [1, 1]
    >>> [each.start for each in matches_of_unknown("_s[^/]*", f"/_s1/{NAME}") if each.crosses]
    []
    """
    parsed = _parse(pattern)
    begin = {(position, False, 0): position for position in _starts(parsed, text)}
    states = _Automaton(text).run(parsed, begin, parsed.state.flags)
    found: dict[Match, None] = {}
    for (end, reads_known, mark), start in states.items():
        if mark:
            unknown = mark - 1 if mark != _SEVERAL else -1
            crosses = reads_known or unknown < 0 or start < unknown
            found[Match(start, end, unknown, crosses)] = None
    return tuple(found)


@lru_cache(maxsize=1000)
def _parse(pattern: str) -> Any:
    return _parser.parse(pattern)


def _starts(parsed: Any, text: str) -> Iterable[int]:
    """Return the positions at which a match may begin; most expressions begin with a character."""
    if not parsed or not _is_literal(parsed[0], parsed.state.flags):
        return range(len(text) + 1)
    characters = (chr(parsed[0][1]), *PLACEHOLDERS)
    return [position for position, each in enumerate(text) if each in characters]


class _Automaton:
    """Follows parts of a regular expression through one text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, nodes: Any, states: _States, flags: int) -> _States:
        """Return the states after all nodes of a sequence."""
        for operation, value in nodes:
            if not states:
                break
            if operation.name in _CHARACTERS:
                states = self._character((operation, value), states, flags)
            else:
                states = getattr(self, f"_{operation.name.lower()}")(value, states, flags)
        return states

    def _character(self, node: Any, states: _States, flags: int) -> _States:
        following = self._reader(node, flags)
        after: _States = {}
        for key, start in states.items():
            for each in following(key):
                _add(after, each, start)
        return after

    def _reader(self, node: Any, flags: int) -> Callable[[_Key], Iterable[_Key]]:
        """Return a function that returns the states after one character that a node matches."""
        matches = _character_test(node, flags)
        reads_names = node[0].name != "LITERAL" or node[1] != ord("/")
        text, size = self._text, len(self._text)

        def following(key: _Key) -> Iterable[_Key]:
            position, known, mark = key
            if position == size:
                return ()
            character = text[position]
            if character not in PLACEHOLDERS:
                return ((position + 1, True, mark),) if matches(character) else ()
            if character == NAME and not reads_names:
                return ()
            read = _mark(mark, position + 1)
            return (position, known, read), (position + 1, known, read)

        return following

    def _repeat(self, value: Any, states: _States, flags: int) -> _States:
        minimum, maximum, part = value
        for _ in range(min(minimum, len(self._text) + 1)):
            states = self.run(part, states, flags)
        if maximum == minimum:
            return states
        if maximum - minimum == 1:
            return _union(states, self.run(part, states, flags))
        if len(part) == 1 and part[0][0].name in _CHARACTERS:
            return _closure(states, self._reader(part[0], flags))
        return _closure(states, lambda key: self.run(part, {key: 0}, flags))

    _max_repeat = _min_repeat = _possessive_repeat = _repeat

    def _subpattern(self, value: Any, states: _States, flags: int) -> _States:
        _, added, removed, part = value
        return self.run(part, states, (flags | added) & ~removed)

    def _atomic_group(self, part: Any, states: _States, flags: int) -> _States:
        return self.run(part, states, flags)

    def _branch(self, value: Any, states: _States, flags: int) -> _States:
        return _union(*(self.run(part, states, flags) for part in value[1]))

    def _groupref(self, _: Any, states: _States, flags: int) -> _States:
        anything = _parse("(?s:.)")
        return self._repeat((0, sys.maxsize, anything), states, flags)

    def _groupref_exists(self, value: Any, states: _States, flags: int) -> _States:
        _, then, otherwise = value
        return _union(self.run(then, states, flags), self.run(otherwise or (), states, flags))

    def _at(self, value: Any, states: _States, _: int) -> _States:
        name = value.name
        if name.startswith("AT_BEGINNING"):
            return {key: start for key, start in states.items() if key[0] == 0}
        if name.startswith("AT_END"):
            return {key: start for key, start in states.items() if key[0] == len(self._text)}
        # The border of a word depends on the characters on both sides.
        after: _States = {}
        for (position, known, mark), start in states.items():
            left, right = (
                each + 1 if self._is_unknown(each) else 0 for each in (position - 1, position)
            )
            _add(after, (position, known, _mark(mark, _mark(left, right))), start)
        return after

    def _is_unknown(self, position: int) -> bool:
        return 0 <= position < len(self._text) and self._text[position] in PLACEHOLDERS

    def _assert(self, value: Any, states: _States, flags: int) -> _States:
        after: _States = {}
        for (position, known, mark), start in states.items():
            for seen in self._seen(value, position, flags):
                _add(after, (position, known, _mark(mark, seen)), start)
        return after

    def _assert_not(self, value: Any, states: _States, flags: int) -> _States:
        after: _States = {}
        for (position, known, mark), start in states.items():
            for seen in {0, *self._seen(value, position, flags)}:
                _add(after, (position, known, _mark(mark, seen)), start)
        return after

    def _seen(self, value: Any, position: int, flags: int) -> set[int]:
        """Return what each match of a lookahead or lookbehind reads of unknown texts."""
        direction, part = value
        if direction > 0:
            return {mark for _, _, mark in self.run(part, {(position, False, 0): 0}, flags)}
        width = part.getwidth()[0]
        around = range(position - width, position + 1)
        unknown = [each + 1 for each in around if self._is_unknown(each)]
        if unknown:
            return {unknown[0] if len(unknown) == 1 else _SEVERAL}
        if width > position:
            return set()
        ends = self.run(part, {(position - width, False, 0): 0}, flags)
        return {mark for end, _, mark in ends if end == position}


_CHARACTERS = {"LITERAL", "NOT_LITERAL", "ANY", "IN"}


def _closure(states: _States, following: Callable[[_Key], Iterable[_Key]]) -> _States:
    """Return the states after any number of steps."""
    reached: _States = {}
    for first, start in sorted(states.items(), key=lambda item: item[1]):
        keys = [first]
        while keys:
            key = keys.pop()
            if key not in reached:
                reached[key] = start
                keys += following(key)
    return reached


def _is_literal(node: Any, flags: int) -> bool:
    """Return whether a node matches one character only."""
    return node[0].name == "LITERAL" and not flags & _IGNORE_CASE


def _character_test(node: Any, flags: int) -> Callable[[str], object]:
    """Return a function that tells whether a node, which matches one character, matches it."""
    operation, value = node
    if _is_literal(node, flags):
        return chr(value).__eq__
    return _compiled(f"{operation} {value}", node=_Uncompared(node), flags=flags).match


@dataclass(frozen=True)
class _Uncompared:
    """A node in the arguments of a cached function; its text is what is compared."""

    node: Any = field(compare=False)


@lru_cache(maxsize=1000)
def _compiled(_text: str, *, node: _Uncompared, flags: int) -> re.Pattern[str]:
    part = _parser.SubPattern(_parser.parse("").state, [node.node])
    pattern: re.Pattern[str] = _compiler.compile(part, flags)
    return pattern


def _add(states: _States, key: _Key, start: int) -> None:
    states[key] = min(start, states.get(key, start))


def _union(*every: _States) -> _States:
    union: _States = {}
    for states in every:
        for key, start in states.items():
            _add(union, key, start)
    return union


def _mark(first: int, second: int) -> int:
    """Return what is read if two parts of a match read these placeholders."""
    if first and second and first != second:
        return _SEVERAL
    return first or second
