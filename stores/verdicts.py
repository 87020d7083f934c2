"""What came of a trial, in a word."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Verdict", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a trial."""

    word: str
    """For the table."""

    note: str = ""
    """For a footnote: an error, or names."""

    good: bool | None = True
    """Whether this is what a user wants; None where the store has no such thing, or it is
    neither good nor bad."""


def failed(note: str) -> Verdict:
    """Return the verdict of a run that should have ended well and did not."""
    return Verdict(word="error", note=note, good=False)
