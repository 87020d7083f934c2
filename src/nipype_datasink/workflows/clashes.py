"""Find destinations that would be written repeatedly: by several sinks or runs, or by one."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nipype_datasink.display import escaped
from nipype_datasink.planning.byte_comparison import same_bytes
from nipype_datasink.planning.real_paths import RealPathCache, resolve_parent
from nipype_datasink.workflows.prediction import SinkPlan

_MAX_SINKS_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A destination of several sources, of one sink or of several sinks or runs."""

    destination: str
    """Path or address."""

    sinks: tuple[str, ...]
    """Sinks, such as ``wf.datasink[subject_id=sub-01]``."""

    def __str__(self) -> str:
        shown = [*self.sinks[:_MAX_SINKS_SHOWN]]
        if len(self.sinks) > len(shown):
            shown.append(f"{len(self.sinks) - len(shown)} more")
        written = "is written" if len(self.sinks) > 1 else "is written repeatedly"
        return escaped(f"{self.destination} {written} by {', '.join(shown)}")


def find_clashes(sinks: Sequence[SinkPlan]) -> tuple[Clash, ...]:
    """Return the destinations that are wholly known, and would get different bytes."""
    return tuple(
        Clash(destination=destination, sinks=tuple(dict.fromkeys(sink for sink, _ in writers)))
        for destination, writers in _group(_known(sinks)).items()
        if not _are_equal({source for _, source in writers})
    )


def find_possible_clashes(sinks: Sequence[SinkPlan]) -> tuple[Clash, ...]:
    """Return the destinations that are equal as far as they are known.

    A destination that is known counts where it fits one of the same output that is not known, as
    in a workflow of which some runs have finished.
    """
    groups = _group(_unknown(sinks))
    _add_fitting(groups, sinks)
    order = {str(sink.run): index for index, sink in enumerate(sinks)}
    return tuple(
        Clash(destination=destination, sinks=tuple(sorted(dict(writers), key=order.__getitem__)))
        for destination, writers in groups.items()
        if len(dict(writers)) > 1 and len({source for _, source in writers}) > 1
    )


_Writer = tuple[str, Hashable]
"""Name of a sink, and what tells one source from others."""


def _group(found: Iterable[tuple[str, _Writer]]) -> dict[str, list[_Writer]]:
    groups: dict[str, list[_Writer]] = {}
    for destination, writer in found:
        groups.setdefault(destination, []).append(writer)
    return groups


def _known(sinks: Sequence[SinkPlan]) -> Iterator[tuple[str, _Writer]]:
    real_directory = RealPathCache()
    for sink in sinks:
        for prediction in sink.predictions:
            for transfer in prediction.transfers:
                yield transfer.destination, (str(sink.run), transfer.source)
            is_delivered = prediction.is_known and not prediction.is_skipped
            if is_delivered and not prediction.transfers:
                path = prediction.destination
                if not path.startswith("s3://"):
                    path = resolve_parent(path, real_directory)
                yield path, (str(sink.run), prediction.written_by or prediction.source)


def _unknown(sinks: Sequence[SinkPlan]) -> Iterator[tuple[str, _Writer]]:
    for sink in sinks:
        for prediction in sink.predictions:
            if not prediction.is_known:
                for destination in sorted(prediction.possible_destinations):
                    yield destination, (str(sink.run), prediction.written_by or prediction.source)


def _add_fitting(groups: dict[str, list[_Writer]], sinks: Sequence[SinkPlan]) -> None:
    """Add the runs with a known destination that fits one of the same output that is not known."""
    names = {
        (each.output, destination): each.has_folders
        for sink in sinks
        for each in sink.predictions
        if each.output and not each.is_known
        for destination in each.possible_destinations
    }
    for sink in sinks:
        for each in sink.predictions:
            if each.is_known and each.output:
                for pattern in _fitting(each.destination, each.output, names):
                    groups[pattern].append((str(sink.run), each.source))


def _fitting(path: str, output: str, names: Mapping[tuple[str, str], bool]) -> Iterator[str]:
    """Yield destinations that end in the name of an output, and that a path fits."""
    folder = os.path.dirname(path)
    is_direct = True
    while True:
        pattern = f"{folder.rstrip('/')}/{{{output}}}"
        if (output, pattern) in names and (is_direct or names[output, pattern]):
            yield pattern
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder, is_direct = above, False


def _are_equal(sources: set[Hashable]) -> bool:
    """Return whether all sources are one file, or files with equal bytes."""
    first, *others = sources
    try:
        return all(same_bytes(str(first), str(other)) for other in others)
    except OSError:  # one of them does not exist yet
        return False
