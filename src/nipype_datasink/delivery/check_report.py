"""Report whether places would accept files: the results of each step, and advice."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from nipype_datasink.display import ShownAsText, escaped

COLUMNS = 80  # where the width of the terminal is not known
_INDENT = "  "
_NAME_COLUMNS = 11
_MAX_SINKS_SHOWN = 4
_VERDICT_COLUMNS = 9  # two spaces and the longest verdict


class StepVerdict(Enum):
    """Result of one step of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What a target must know to check its place."""

    working_directory: str
    """Directory of the sources; it need not exist."""

    write_object: bool = False
    """Whether to write an object to S3, and delete it; otherwise nothing is written."""

    setting_names: Mapping[str, str] = field(default_factory=dict)
    """Names that a report has in place of those of the sink's inputs; see `rename_settings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStep:
    """One step of a check, such as listing a prefix."""

    name: str
    """Such as ``endpoint``; not empty."""

    text: str
    """What was examined; not empty."""

    verdict: StepVerdict = StepVerdict.OK
    """Result. It is unknown where an earlier step has failed."""

    advice: str = ""
    """What is wrong and what to do; empty if nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceReport:
    """What a check has found at one place."""

    place: str
    """Directory or ``s3://`` address."""

    steps: tuple[CheckStep, ...]
    """In the order in which they were taken."""

    not_tried: tuple[str, ...] = ()
    """Names of the steps that were left out, because an earlier one had failed."""

    not_known: tuple[str, ...] = ()
    """What a check cannot find out."""

    sinks: tuple[str, ...] = ()
    """Names of the sinks that deliver to this place; empty outside a workflow."""

    @property
    def ok(self) -> bool:
        """Whether no step has failed. Warnings do not count."""
        return all(step.verdict is not StepVerdict.FAILED for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Return the report as values for `json.dumps`."""
        steps = [
            {
                "name": step.name,
                "text": step.text,
                "verdict": step.verdict.value or None,
                "advice": step.advice or None,
            }
            for step in self.steps
        ]
        return {
            "place": self.place,
            "ok": self.ok,
            "steps": steps,
            "not_tried": list(self.not_tried),
            "not_known": list(self.not_known),
            "sinks": list(self.sinks),
        }


@dataclass(frozen=True, slots=True)
class CheckReport(ShownAsText):
    """What a check has found at all places; `print` shows it."""

    places: tuple[PlaceReport, ...]
    """Each different place once."""

    warnings: tuple[str, ...] = ()
    """Directories that are to be copied to S3, but contain no base directory."""

    @property
    def ok(self) -> bool:
        """Whether every place would accept files, as far as a check can know."""
        return all(place.ok for place in self.places)

    def as_json(self) -> dict[str, Any]:
        """Return the report as values for `json.dumps`."""
        places = [place.as_json() for place in self.places]
        return {"ok": self.ok, "places": places, "warnings": list(self.warnings)}

    def as_text(self, columns: int) -> str:
        """Return the report with lines of at most `columns` characters, except for long words."""
        if not self.places:
            return "no sinks: nothing to check"
        texts = map(escaped, self.warnings)
        warnings = (line for text in texts for line in _wrap(text, columns, "WARNING "))
        verdict = f"would work: {'yes' if self.ok else 'no'}"
        return "\n".join([*_lines(self.places, columns), *warnings, verdict])

    def __str__(self) -> str:
        return self.as_text(COLUMNS)


def _lines(places: Sequence[PlaceReport], columns: int) -> Iterator[str]:
    rows = [(place, [_Row.of(step, columns) for step in place.steps]) for place in places]
    lengths = [len(row.lines[0]) for _, place_rows in rows for row in place_rows]
    most = columns - _VERDICT_COLUMNS
    column = max((length for length in lengths if length <= most), default=0)
    for place, place_rows in rows:
        yield escaped(place.place)
        for row in place_rows:
            yield from row.with_verdict(column, columns)
        for name, items in (("not tried", place.not_tried), ("not known", place.not_known)):
            if items:
                yield from _wrapped(name, ", ".join(items), columns)
        # The title of a place that is not known is the name of its sink.
        if place.sinks not in ((), (place.place,)) and not place.ok:
            yield from _wrapped("used by", _shortened(place.sinks), columns)


def _shortened(sinks: Sequence[str]) -> str:
    """Return the names of a few sinks, and the number of the others."""
    shown = [escaped(name) for name in sinks[:_MAX_SINKS_SHOWN]]
    if len(sinks) > len(shown):
        shown.append(f"{len(sinks) - len(shown)} more")
    return ", ".join(shown)


@dataclass(frozen=True, slots=True)
class _Row:
    """The lines of one step."""

    step: CheckStep
    lines: list[str]

    @classmethod
    def of(cls, step: CheckStep, columns: int) -> _Row:
        return cls(step, _wrapped(step.name, escaped(step.text), columns - _VERDICT_COLUMNS))

    def with_verdict(self, column: int, columns: int) -> Iterator[str]:
        first, *others = self.lines
        yield f"{first.ljust(column)}  {self.step.verdict.value}".rstrip()
        yield from others
        for line in self.step.advice.splitlines():
            yield from _wrap(escaped(line), columns, _INDENT + " " * _NAME_COLUMNS)


def _wrapped(name: str, text: str, columns: int) -> list[str]:
    """Return the lines of a name and the text beside it."""
    return _wrap(text, columns, f"{_INDENT}{name:<{_NAME_COLUMNS - 2}}  ")


def _wrap(text: str, columns: int, start: str) -> list[str]:
    """Return lines of at most `columns` characters, except for long words such as paths."""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
