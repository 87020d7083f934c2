"""Compare the known destinations of sinks with what is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from nipype_datasink.delivery.changes import Change
from nipype_datasink.display import counted, escaped
from nipype_datasink.errors import DataSinkError
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.settings import substitutions_of
from nipype_datasink.targets import local_targets
from nipype_datasink.workflows.prediction import (
    SinkPlan,
    count_changes,
    describe_changes,
    key_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedRule:
    """A substitution of a sink that matches none of its destinations."""

    sink: str
    """Name of the sink's node."""

    input: str
    """``substitutions`` or ``regexp_substitutions``."""

    rule: tuple[str, str]
    """What is searched for, and its replacement."""

    def __str__(self) -> str:
        return escaped(f"{self.sink}: {self.input} {self.rule!r} matches nothing")


def compare(sink: SinkPlan) -> SinkPlan:
    """Return the plan of a sink with what each transfer would change. Nothing is written.

    Buckets are listed, and files of equal size are read.
    """
    transfers = [transfer for each in sink.predictions for transfer in each.transfers]
    if not transfers:
        return sink
    try:
        changes = _changes(sink, transfers)
    except DataSinkError as error:
        return replace(sink, comparison_error=str(error))
    predictions = [
        replace(each, changes=tuple(changes[transfer] for transfer in each.transfers))
        for each in sink.predictions
    ]
    return replace(sink, predictions=tuple(predictions))


def _changes(sink: SinkPlan, transfers: Sequence[FileTransfer]) -> dict[FileTransfer, Change]:
    interface = sink.run.interface
    settings, base = interface._read_settings()
    locations = settings.locations(base)
    remote = [each for each in transfers if each.destination.startswith("s3://")]
    local = [each for each in transfers if not each.destination.startswith("s3://")]
    changes: dict[FileTransfer, Change] = {}
    for target in local_targets(settings, locations)[:1]:  # each of them compares any path
        changes |= target.compare(local)
    if remote:
        for remote_target in interface._s3_targets(settings, locations):
            changes |= remote_target.compare(remote)
    return changes


def summarize(sinks: Sequence[SinkPlan]) -> str:
    """Return a line about how many files of all sinks would be new, replaced and unchanged."""
    changes = _all_changes(sinks)
    counts = [describe_changes(changes.values())] if changes else []
    if unknown := _count_unknown(sinks):
        counts.append(f"{unknown:,} not known yet")
    text = f"compared: {', '.join(counts) or 'nothing'}"
    if changes:
        text += f"; {counted(_bytes_to_send(changes), 'byte')} to send"
    if failed := _count_not_compared(sinks):
        text += f"; {counted(failed, 'file')} could not be compared"
    return text


def totals(sinks: Sequence[SinkPlan]) -> dict[str, int]:
    """Return the same as `summarize`, as numbers."""
    changes = _all_changes(sinks)
    return {
        **{key_of(each): 0 for each in Change},
        **count_changes(changes.values()),
        "not_known_yet": _count_unknown(sinks),
        "not_compared": _count_not_compared(sinks),
        "bytes_to_send": _bytes_to_send(changes),
    }


def _count_unknown(sinks: Iterable[SinkPlan]) -> int:
    """Return the number of destinations that are known when a node has run."""
    every = (each for sink in sinks for each in sink.predictions)
    return len({each.destination for each in every if not each.is_known})


def _count_not_compared(sinks: Iterable[SinkPlan]) -> int:
    """Return the number of files whose comparison has failed."""
    return len(
        {
            transfer
            for sink in sinks
            for each in sink.predictions
            for transfer in each.transfers
            if sink.comparison_error
        }
    )


def describe_failures(sinks: Iterable[SinkPlan]) -> tuple[str, ...]:
    """Return why sinks could not be compared, once for each place and cause."""
    failures = {
        f"{' and '.join(sink.bases)}: {sink.comparison_error}": None
        for sink in sinks
        if sink.comparison_error
    }
    return tuple(failures)


def _all_changes(sinks: Iterable[SinkPlan]) -> dict[FileTransfer, Change]:
    """Return the change of each transfer; each destination occurs once."""
    return {
        transfer: change
        for sink in sinks
        for each in sink.predictions
        for transfer, change in zip(each.transfers, each.changes, strict=False)
    }


def _bytes_to_send(changes: Mapping[FileTransfer, Change]) -> int:
    return sum(item.size for item, change in changes.items() if change is not Change.UNCHANGED)


def find_unused(sinks: Sequence[SinkPlan]) -> Iterator[UnusedRule]:
    """Yield the substitutions that match nothing in any run of their sink.

    Only sinks whose destinations are all known are examined.
    """
    for _, group in groupby(sinks, key=lambda sink: sink.run.name):
        runs = list(group)
        if all(run.is_known and run.paths for run in runs):
            unused = [_unused(run) for run in runs]
            for rule in unused[0]:
                if all(rule in each for each in unused):
                    yield rule


def _unused(sink: SinkPlan) -> list[UnusedRule]:
    if sink.run.interface._is_overridden("_substitute"):
        return []
    rules = substitutions_of(sink.run.interface.inputs)
    unused = rules.unused(sink.paths)
    return [
        UnusedRule(sink=sink.run.name, input=name, rule=rule)
        for name, pairs in (
            ("substitutions", unused.literal),
            ("regexp_substitutions", unused.regular),
        )
        for rule in pairs
    ]
