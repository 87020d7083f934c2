"""All that one run of the benchmark found, and the files that tell of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measurements import Measurement, Summary, summarise
from benchmarks.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was found."""

    rows: Sequence[Row]
    """In the order in which they ran."""

    measurements: Sequence[Measurement]
    """Every run."""

    overheads: Mapping[str, float]
    """What a sink costs beside its files."""

    profile: Mapping[str, float]
    """CPU of a small PUT by stage, in ms."""

    machine: Mapping[str, str]
    """Where."""

    seconds: float
    """How long it all took."""

    @property
    def summaries(self) -> dict[str, dict[str, Summary]]:
        """By row and contestant."""
        return summarise(self.measurements)

    def write_json(self, path: Path) -> None:
        """Write every number, so that others can compute with them."""
        content = {
            "machine": self.machine,
            "seconds": self.seconds,
            "overheads": self.overheads,
            "profile": self.profile,
            "rows": {row.name: str(row) for row in self.rows},
            "measurements": [asdict(one) for one in self.measurements],
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
