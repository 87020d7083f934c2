"""What a whole run has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stores.catalogue import Store
from stores.verdicts import Verdict

TRANSPORTS = ("classic", "crt", "auto")
DEFAULT = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A store that was tried."""

    store: Store
    version: str
    verdicts: Mapping[str, Mapping[str, Verdict]]
    """By transport and row."""

    remedies: Mapping[str, str] = field(default_factory=dict)
    """By row: settings with which it works where it does not by default. Empty where none was
    found; rows for which none was sought are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a whole run has found."""

    tried: Sequence[Tried]
    absent: Mapping[str, str]
    """Stores that are not installed, and why."""

    seconds: float
