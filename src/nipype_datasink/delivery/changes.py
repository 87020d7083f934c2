"""Tell what a delivery would change, without writing."""

from __future__ import annotations

from enum import Enum


class Change(Enum):
    """What a delivery would do to one destination."""

    NEW = "new"
    """Nothing is there."""

    REPLACED = "replaced"
    """Other bytes are there."""

    UNCHANGED = "unchanged"
    """The same bytes are there; nothing would be sent."""

    UNKNOWN = "not known"
    """The place may not be looked at; the file would be sent."""
