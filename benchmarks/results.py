"""Results of one run of the benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measurements import Measurement, Summary, summarise
from benchmarks.row import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Results of one run of the benchmark."""

    rows: Sequence[Row]
    """Rows in the order in which they ran."""

    measurements: Sequence[Measurement]
    """Measurements of all runs."""

    overheads: Mapping[str, float]
    """Costs that do not depend on files."""

    profile: Mapping[str, float]
    """CPU time of a small PUT in ms by stage."""

    phases: Mapping[str, Mapping[str, float]]
    """Seconds of small files sent with TLS, by sink and phase."""

    machine: Mapping[str, str]
    """Machine and versions."""

    seconds: float
    """Duration of all measurements."""

    @property
    def summaries(self) -> dict[str, dict[str, Summary]]:
        """Summaries by row and tool."""
        return summarise(self.measurements)

    def write_json(self, path: Path) -> None:
        """Write all numbers as JSON, for further analysis."""
        content = {
            "machine": self.machine,
            "seconds": self.seconds,
            "overheads": self.overheads,
            "profile": self.profile,
            "phases": self.phases,
            "rows": {row.name: str(row) for row in self.rows},
            "measurements": [asdict(one) for one in self.measurements],
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
