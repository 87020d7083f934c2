"""Define what is known of a sink's destinations before its workflow runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from nipype_datasink.delivery.changes import Change
from nipype_datasink.display import describe_counts
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.planning.sources import Problem
from nipype_datasink.settings import substitutions_of
from nipype_datasink.workflows.sink_run import SinkRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Where one source of a sink will go."""

    field: str
    """Name of the sink's input."""

    source: str = ""
    """Absolute path; empty if a node has not run that will tell it."""

    output: str = ""
    """Node and output that the source comes from, such as ``realign.par``; empty if the path is set
    on the sink, or comes from an IdentityInterface."""

    destination: str
    """Path or address. What only a node that has not run can name stands in braces."""

    is_known: bool = True
    """Whether the destination has no braces."""

    has_folders: bool = False
    """Whether the braces may also stand for folders, as those of a MapNode's items do."""

    hides_folders: bool = False
    """Whether the braces stand for folders, too, that the rules of the sink may change."""

    is_missing: bool = False
    """Whether the source does not exist, and will not be written before the sink runs."""

    is_skipped: bool = False
    """Whether the source is missing and the sink skips it (`sink_missing`)."""

    changes: tuple[Change, ...] = ()
    """After a comparison, what each of the transfers would do."""

    is_copy: bool = False
    """Whether the destination is that of a copy, beside the one in the base directory."""

    transfers: tuple[FileTransfer, ...] = ()
    """Files to transfer, if the source exists."""

    possible_destinations: frozenset[str] = frozenset()
    """Destination for each directory that the source may lie in; see `has_folders`."""

    written_by: frozenset[tuple[str, str]] = frozenset()
    """Directory and output of each node that may write the source."""

    @property
    def note(self) -> str:
        """What is known beside the destination: ``does not exist``, ``new``, ``2 unchanged``."""
        if self.is_skipped:
            return "missing, skipped"
        if self.is_missing:
            return "does not exist"
        if len(self.changes) == 1:
            return self.changes[0].value
        return describe_changes(self.changes)


def add_unknown_copies(
    predictions: Iterable[Prediction], base: str, copy: str
) -> Iterator[Prediction]:
    """Yield predictions and, after each that lies below the base directory, that of its S3 copy.

    Parameters
    ----------
    predictions
        Of a sink on disk.
    base
        Base directory, without container.
    copy
        Name of the output that will tell the address of the copy, in braces.
    """
    root = base.rstrip("/")
    for each in predictions:
        yield each
        if each.destination.startswith(f"{root}/") and not each.is_copy:
            yield replace(
                each,
                destination=copy + each.destination.removeprefix(root),
                is_known=False,
                is_copy=True,
                transfers=(),
                possible_destinations=frozenset(),
            )


def count_changes(changes: Iterable[Change]) -> dict[str, int]:
    """Return how often each change occurs, by a key for JSON; others are left out."""
    counts = Counter(changes)
    return {key_of(each): counts[each] for each in Change if counts[each]}


def key_of(change: Change) -> str:
    """Return the key of a change in JSON."""
    return change.value.replace(" ", "_")


def describe_changes(changes: Iterable[Change]) -> str:
    """Return how often each change occurs, as text such as ``2 new, 1 unchanged``."""
    counts = Counter(changes)
    return describe_counts({each.value: counts[each] for each in Change})


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPlan:
    """What one run of a sink will do, as far as it is known."""

    run: SinkRun
    """The sink, its node and the values of its iterables."""

    bases: tuple[str, ...] = ()
    """Base directory, `local_copy` and `s3_copy`, without container."""

    predictions: tuple[Prediction, ...] = ()
    """In the order of ``out_file``."""

    ignored: tuple[str, ...] = ()
    """Texts that are not paths of files, such as the identifier of a subject."""

    missing: tuple[Problem, ...] = ()
    """Sources that do not exist, and will not be written before the sink runs."""

    skips_missing: bool = False
    """Whether the sink skips missing sources (`sink_missing`)."""

    paths: tuple[str, ...] = ()
    """Destinations before the substitutions change them."""

    removes_others: bool = False
    """Whether `remove_dest_dir` removes other files from the folders that are delivered."""

    manifest_directory: str = ""
    """Where the manifest will be written (`sink_manifest_dir`); empty text without one."""

    error: str = ""
    """Why the sink would fail; empty text if nothing is known to be wrong."""

    comparison_error: str = ""
    """Why its sources could not be compared with their destinations."""

    @property
    def is_known(self) -> bool:
        """Whether every destination below the base directory is known."""
        return not self.error and not self._has_unknown

    @property
    def _has_unknown(self) -> bool:
        return any(not (each.is_known or each.is_copy) for each in self.predictions)

    @property
    def renames_unknown(self) -> bool:
        """Whether rules will apply to names that are not known yet."""
        rules = substitutions_of(self.run.interface.inputs)
        return self._has_unknown and bool(rules.literal or rules.regular)
