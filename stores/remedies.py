"""Find settings that make failing trials work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from stores.sinks import Settings
from stores.trials import TRIALS, WHEN_SUPPORTED, Trial
from stores.verdicts import Verdict
from stores.visit import Visit

REMEDIES = (
    Settings(inputs={"s3_transfer_client": "classic"}),
    Settings(inputs={"s3_region": "us-east-1"}),
    Settings(inputs={"s3_max_concurrency": 1}),
    WHEN_SUPPORTED,
    *(
        Settings(inputs={"s3_upload_args": {"ChecksumAlgorithm": algorithm}})
        for algorithm in ("CRC32", "SHA256")
    ),
)


def find_remedies(
    verdicts: Mapping[str, Verdict], visit: Callable[[Settings], Visit]
) -> Iterator[tuple[str, str]]:
    """Try settings until a failing row works; yield the row with those settings or empty text.

    Parameters
    ----------
    verdicts
        Results with default settings.
    visit
        Makes a visit to the same store with other settings.
    """
    for trial in [trial for trials in TRIALS.values() for trial in trials if trial.needed]:
        failing = [row for row in trial.rows if row in verdicts and verdicts[row].good is False]
        if failing:
            settings = _find_settings(trial, visit)
            yield from ((row, settings) for row in failing)


def _find_settings(trial: Trial, visit: Callable[[Settings], Visit]) -> str:
    for settings in REMEDIES:
        found = trial.verdicts(visit(settings))
        if all(verdict.good for verdict in found.values()):
            return str(settings)
    return ""
