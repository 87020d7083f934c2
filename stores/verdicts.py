"""Result of one trial."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Verdict", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Result of one trial, as the table shows it."""

    word: str
    """Text of the table cell."""

    note: str = ""
    """Text of the footnote: an error, or file names."""

    good: bool | None = True
    """Whether this is what a user wants. None if the store does not have the feature, or if the
    result is neither good nor bad."""


def failed(note: str) -> Verdict:
    """Return the verdict of a run that should have succeeded and failed."""
    return Verdict(word="error", note=note, good=False)
