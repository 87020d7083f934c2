"""Compare what exists after a run, and what the run reported, with the model."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

from nipype_datasink import DataSinkError, DeliveryError, MissingSourceError, Status
from tests.model import Expected, Files, Sink, above

MAX_LINES = 60  # of an error


@dataclass
class Seen:
    """What exists at the destinations."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    litter: set[str] = field(default_factory=set)
    """Temporary files."""

    versions: dict[str, object] = field(default_factory=dict)
    """Of files, where the place can tell: another value shows that a file was written again."""

    linked: set[str] = field(default_factory=set)
    """Files that have another name (hard links)."""

    manifests: dict[str, bytes] = field(default_factory=dict)

    def separate(self, folders: Collection[str]) -> None:
        """Take the files of these folders for manifests."""
        for path in [path for path in self.files if path.rpartition("/")[0] in folders]:
            self.manifests[path] = self.files.pop(path)
        self.folders -= {*folders}


@dataclass
class Ended:
    """How a run has ended."""

    error: Exception | None
    out_file: list[str]

    statuses: dict[str, Status] = field(default_factory=dict)
    """What an error says of each destination."""


def check_undisturbed(
    sink: Sink, want: Expected, before: Files, after: Files, ended: Ended
) -> None:
    """Check a run that nothing disturbed."""
    error = ended.error
    if error is None:
        assert not want.refusals, "it should have been rejected"
        assert not want.missing or sink.skip_missing, "what is missing was not reported"
        assert_same(after, want.after(before), "after the run")
        assert ended.out_file == want.out_file, f"out_file: {ended.out_file}, not {want.out_file}"
        return
    allowed: Any = tuple(want.refusals) or MissingSourceError
    if not isinstance(error, allowed):
        raise AssertionError(f"unexpected error: {error!r}") from error
    check_error(sink, want, before, after, error)


def check_disturbed(
    sink: Sink, wanted: tuple[Expected, Expected], before: Files, after: Files, ended: Ended
) -> None:
    """Check a run that something disturbed; sources were as one, the other or both models say."""
    error, (first, second) = ended.error, wanted
    want = mixed(first, second, after)
    never_there = first.skipped & second.skipped
    if error is None:
        assert not never_there or sink.skip_missing, "what is missing was not reported"
        assert_same(after, want.after(before), "after the run")
        assert ended.out_file in (first.out_file, second.out_file)
        return
    if not isinstance(error, (DataSinkError, OSError)):
        raise AssertionError(f"unexpected error: {error!r}") from error
    check_error(sink, want, before, after, error)
    if isinstance(error, DeliveryError):
        assert error.missing or sink.skip_missing or not never_there, "what is missing is not named"
        # Whether these are part of the plan depends on when a source was read.
        unsure = first.files.keys() - second.files.keys()
        unsure = {path for path in unsure if after.get(path) == before.get(path)}
        check_outcomes(want, before, after, ended.statuses, unsure)


def mixed(want: Expected, then: Expected, after: Files) -> Expected:
    """Return what a run may do if each source may be read before or after a change."""
    files, removed = dict(want.files), set(want.removed)
    for path in want.files.keys() | then.files.keys():
        if after.get(path) != want.files.get(path):
            if path not in then.files:
                del files[path]
            elif after.get(path) == then.files[path]:
                files[path] = then.files[path]
    # What was missing may have gone altogether; then the run is complete, and removes the others.
    is_complete = bool(want.skipped) and not then.skipped
    removed |= then.removed if is_complete else then.removed & (want.files.keys() - files.keys())
    # In a bucket, a source that was read as a file, not as a folder, has the others beside it.
    surely = want.removed & then.removed
    removed = surely | {path for path in removed if files.keys().isdisjoint(above(path))}
    return Expected(
        places=want.places,
        files=files,
        perhaps=want.files.keys() - then.files.keys(),
        removed=removed - files.keys(),
        missing=want.missing or then.missing,
        removed_folders=want.removed_folders | then.removed_folders,
        skipped=want.skipped | then.skipped,
        refusals=want.refusals | then.refusals,
    )


def check_error(sink: Sink, want: Expected, before: Files, after: Files, error: Exception) -> None:
    if isinstance(error, MissingSourceError):
        assert want.missing, "nothing is missing"
        assert not sink.skip_missing, "what is missing should be skipped"
        assert_same(after, {**before, **want.files}, "after the run with missing sources")
        assert all(outcome.status.arrived for outcome in error.outcomes)
    elif not isinstance(error, DeliveryError):
        assert_same(after, before, "after the run that was rejected")


def check_message(error: Exception) -> None:
    """Check that the first line of an error is also the last one, and that it is not long."""
    lines = str(error).splitlines()
    assert lines[0] == lines[-1]
    assert len(lines) <= MAX_LINES


def check_outcomes(
    want: Expected,
    before: Files,
    after: Files,
    statuses: Mapping[str, Status],
    unsure: Collection[str],
) -> None:
    """Compare what an error says of each file with what exists."""
    unknown = want.files.keys() - statuses.keys() - {*unsure}
    assert not unknown, f"no status: {unknown}"
    for path, status in statuses.items():
        old, new = before.get(path), want.files.get(path)
        allowed = {Status.NOT_TRIED: [old], Status.FAILED: [old, new]}.get(status, [new])
        assert after.get(path) in allowed, f"{path!r} is {status.value}, but {_short(after, path)}"
    arrived = {path for path in want.files if path in statuses and statuses[path].arrived}
    check_others(before, after, removable(want, arrived), statuses.keys())


def check_killed(want: Expected, before: Files, after: Files) -> None:
    """Check what exists after a run that was killed: each file is the old or the new one.

    If a place has changed, those before it are complete.
    """
    assert after == before or not want.refusals, "it should have been rejected"
    for path, new in want.files.items():
        assert after.get(path) in (before.get(path), new), f"{path!r} is {_short(after, path)}"
    changed = {path.split("/")[0] for path in want.files if after.get(path) != before.get(path)}
    for earlier, place in pairwise(want.places):
        if place in changed:
            wanted = below(earlier, want.after(before))
            assert_same(below(earlier, after), wanted, f"when files arrive in {place!r}")
    arrived = {path for path in want.files if after.get(path) == want.files[path]}
    check_others(before, after, removable(want, arrived), want.files.keys())


def removable(want: Expected, arrived: set[str]) -> set[str]:
    """Return what may be removed: from places before the first that is incomplete."""
    incomplete = {path.split("/")[0] for path in want.files.keys() - arrived}
    complete = {*takewhile(lambda place: place not in incomplete, want.places)}
    return {path for path in want.removed if path.split("/")[0] in complete}


def below(place: str, files: Files) -> Files:
    """Return the files of one place."""
    return {path: data for path, data in files.items() if path.startswith(f"{place}/")}


def check_others(
    before: Files, after: Files, may_go: Collection[str], known: Collection[str]
) -> None:
    """Check that all other files are as before, but that those of `may_go` may be gone."""
    for path in {*before, *after} - {*known}:
        gone = path in may_go and path not in after
        assert gone or after.get(path) == before.get(path), f"{path!r} is {_short(after, path)}"


def leave_out(
    path: str,
    data: bytes | None,
    before: Seen,
    after: Seen,
    ended: Ended,
    wanted: tuple[Expected, Expected],
) -> None:
    """Check what a stranger has written during the run, and leave it out of the other checks."""
    allowed = [data, before.files.get(path), *(want.files.get(path) for want in wanted)]
    assert after.files.get(path) in [*allowed, *[None] * all(path not in w.files for w in wanted)]
    for files in (before.files, after.files, *(want.files for want in wanted)):
        files.pop(path, None)
    ended.statuses.pop(path, None)


def assert_same(files: Files, wanted: Files, when: str) -> None:
    """Compare files by destination; the message names only those that differ."""
    different = [
        f"{path!r} is {_short(files, path)}, not {_short(wanted, path)}"
        for path in sorted(files.keys() | wanted.keys())
        if files.get(path) != wanted.get(path)
    ]
    assert not different, f"{when}: " + "; ".join(different)


def _short(files: Files, path: str) -> str:
    return reprlib.repr(files[path]) if path in files else "absent"
