"""Report whether delivered files are still there and unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from nipype_datasink.delivery.manifest import ManifestRow
from nipype_datasink.display import ShownAsText, describe_counts, escaped


class State(Enum):
    """What is at the destination of a file that was delivered."""

    AS_DELIVERED = "as delivered"
    CHANGED = "changed"
    MISSING = "missing"
    UNREADABLE = "not readable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found at the destination of one row of a manifest."""

    row: ManifestRow
    """Row of the manifest."""

    state: State
    """What is there now."""

    cause: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VerifyReport(ShownAsText):
    """What `verify` has found; `print` shows it."""

    recorded: int
    """Number of files that the manifests list; missing sources that were skipped do not count."""

    changed: tuple[str, ...] = ()
    """Destinations that hold other bytes than were delivered."""

    missing: tuple[str, ...] = ()
    """Destinations where nothing is left."""

    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Destinations that cannot be read, and the reasons."""

    @classmethod
    def from_findings(cls, findings: Iterable[Finding]) -> VerifyReport:
        """Return the report of what was found at each destination."""
        found = list(findings)
        changed, missing, unreadable = (
            {item.row.destination: item.cause for item in found if item.state is state}
            for state in (State.CHANGED, State.MISSING, State.UNREADABLE)
        )
        return cls(
            recorded=len(found),
            changed=tuple(changed),
            missing=tuple(missing),
            unreadable=unreadable,
        )

    @property
    def ok(self) -> bool:
        """Whether everything is as it was delivered."""
        return not (self.changed or self.missing or self.unreadable)

    def as_json(self) -> dict[str, Any]:
        """Return the report as values for `json.dumps`."""
        return {
            "ok": self.ok,
            "recorded": self.recorded,
            "changed": [{"destination": path} for path in self.changed],
            "missing": [{"destination": path} for path in self.missing],
            "unreadable": [
                {"destination": path, "cause": cause} for path, cause in self.unreadable.items()
            ],
        }

    def __str__(self) -> str:
        lines = [f"changed  {escaped(path)}" for path in self.changed]
        lines += [f"missing  {escaped(path)}" for path in self.missing]
        lines += [
            f"not readable  {escaped(path)}: {escaped(cause)}"
            for path, cause in self.unreadable.items()
        ]
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        counts = {
            State.CHANGED: len(self.changed),
            State.MISSING: len(self.missing),
            State.UNREADABLE: len(self.unreadable),
        }
        counts = {State.AS_DELIVERED: self.recorded - sum(counts.values()), **counts}
        listed = describe_counts({state.value: count for state, count in counts.items()})
        return f"{self.recorded:,} recorded" + (f": {listed}" if listed else "")
