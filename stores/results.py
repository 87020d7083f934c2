"""Results of all trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stores.catalogue import Store
from stores.verdicts import Verdict

TRANSPORTS = ("classic", "crt", "auto")
DEFAULT = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Results of one store."""

    store: Store
    version: str
    verdicts: Mapping[str, Mapping[str, Verdict]]
    """By transport and row."""

    remedies: Mapping[str, str] = field(default_factory=dict)
    """Maps each row that fails with default settings to settings that make it work, or to empty
    text if no setting helps. Rows for which no settings were tried are not included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Results of all trials."""

    tried: Sequence[Tried]
    absent: Mapping[str, str]
    """Maps each store that could not be started to the reason."""

    seconds: float
