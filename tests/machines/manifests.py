"""Compare manifests, and what `verify` finds, with the model and with what exists."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from nipype_datasink import VerifyReport
from tests.machines.checks import Seen, assert_same
from tests.model import Expected, Sink

PLACES = {"beside": "manifests", "base": "base/manifests", "s3": "s3/manifests"}
"""Folders of manifests, by values of `Sink.manifests`; nothing else is there."""


@dataclass(frozen=True)
class Row:
    """What a manifest says of one file."""

    path: str
    destination: str
    time: str
    size: str
    sha256: str
    status: str
    etag: str

    @property
    def is_file(self) -> bool:
        return self.status != "missing"

    def is_of(self, data: bytes | None) -> bool:
        if data is None:
            return False
        return self.size == str(len(data)) and self.sha256 in ("", hashlib.sha256(data).hexdigest())

    def has_wrong_etag(self, data: bytes | None) -> bool:
        """Return whether the store has stated a wrong ETag; that of parts is not compared."""
        known = not data or self.etag in ("", hashlib.md5(data).hexdigest())
        return not known and "-" not in self.etag


class Manifests:
    """The manifests of a sequence.

    Parameters
    ----------
    path_of
        Returns the path of a destination, as the model has it.
    same
        Returns equal names for those that the file system treats as one.
    """

    def __init__(self, path_of: Callable[[str], str], same: Callable[[str], str]) -> None:
        self._path_of = path_of
        self._same = same
        self._names: dict[object, str] = {}  # by what distinguishes sinks

    def check(
        self,
        sink: Sink,
        want: Expected,
        before: Seen,
        after: Seen,
        *,
        disturbed: bool = False,
        unsure: Callable[[str], bool] = lambda path: False,
        without: Collection[str] = (),
    ) -> None:
        """Check the manifests after a run without an error.

        Parameters
        ----------
        disturbed
            Whether something has disturbed the run.
        unsure
            Returns whether a file with the same bytes may have been written again.
        without
            Files that a stranger has written; they are not compared.
        """
        name = self._own(sink, before, after)
        if not sink.manifests:
            return
        assert name in after.manifests, "the run has not written its manifest"
        rows = [row for row in self._read(after.manifests[name]) if row.path not in without]
        files, skipped = [[row for row in rows if row.is_file is kind] for kind in (True, False)]
        paths = Counter(row.path for row in files)
        different = paths.keys() ^ (want.files.keys() - (want.perhaps - paths.keys()))
        assert not different, f"{different} should not be, or should be, in the manifest"
        for row in files:
            assert row.is_of(want.files[row.path]), f"{row} is not what was delivered"
            assert row.sha256 or disturbed, f"{row} has no digest"
            allowed = {want.status(row.path, before.files)}
            if disturbed or unsure(row.path):
                allowed |= {"replaced" if row.path in before.files else "new"}
            if disturbed and row.etag:  # perhaps the bucket could not be listed
                allowed |= {"sent"}
            # Of names that the file system treats as one, the second finds the file.
            allowed |= {"unchanged"} if paths[row.path] > 1 else set()
            assert row.status in allowed, f"{row} should be {allowed}"
        found = {row.path for row in skipped}
        if disturbed:  # anything may have gone after it was found
            assert found.isdisjoint(paths), f"{found & {*paths}} is delivered, and missing"
        else:
            missing = f"what is missing was not recorded: {want.skipped}, but {found}"
            assert found == want.skipped, missing

    def check_failed(
        self, sink: Sink, want: Expected, before: Seen, after: Seen, *, disturbed: bool = False
    ) -> None:
        """Check that a run with an error has left the older manifest, or removed it.

        It may only be removed before something else is, and must be if a file is gone.

        Parameters
        ----------
        disturbed
            Whether something has disturbed the run, and there may be other things to remove.
        """
        name = self._own(sink, before, after)
        old, new = before.manifests.get(name), after.manifests.get(name)
        removes = disturbed or want.removed or want.removed_folders
        may_go = sink.remove_dest_dir and removes
        assert new == old or (new is None and may_go), f"{name} was changed"
        gone = want.removed & before.files.keys() - after.files.keys()
        assert new is None or not gone, f"{gone} were removed, but the manifest was not"

    def check_killed(self, sink: Sink, want: Expected, before: Seen, after: Seen) -> None:
        """Check that a killed run has written its manifest only after everything else."""
        if self.has_new(sink, want, before, after):
            assert_same(after.files, want.after(before.files), "beside a new manifest")
            self.check(sink, want, before, after)
        else:
            self.check_failed(sink, want, before, after)

    def has_new(self, sink: Sink, want: Expected, before: Seen, after: Seen) -> bool:
        """Return whether a run has written its manifest."""
        name = self._own(sink, before, after)
        old, new = before.manifests.get(name), after.manifests.get(name)
        # A manifest that is written again in the same second may have the same bytes.
        removed = want.removed & before.files.keys() - after.files.keys()
        return new is not None and (new != old or bool(removed))

    def check_report(self, report: VerifyReport, seen: Seen) -> None:
        """Check that `verify` reports exactly what has changed since the last sink delivered it."""
        found = [row for text in seen.manifests.values() for row in self._read(text) if row.is_file]
        in_order = sorted(found, key=lambda row: row.time)
        rows = {row.destination: row for row in in_order}.values()
        there = seen.files.keys() | seen.folders
        missing = {row.path for row in rows if row.path not in there}
        changed = {row.path for row in rows if not row.is_of(seen.files.get(row.path))} - missing
        # Objects are compared by their ETags, and a fault may have changed one in a response.
        wrong = {row.path for row in rows if row.has_wrong_etag(seen.files.get(row.path))}
        assert {*map(self._path, report.changed)} - (wrong - changed) == changed
        assert {*map(self._path, report.missing)} == missing
        assert not report.unreadable

    def _own(self, sink: Sink, before: Seen, after: Seen) -> str:
        """Return the path of the manifest of a sink; check that all others stay."""
        if not sink.manifests:
            assert after.manifests == before.manifests, "manifests were changed"
            return ""
        identity = (sink.manifests, sink.container, sink.local_copy, *sorted(sink.fields))
        new = after.manifests.keys() - before.manifests.keys()
        if new and identity not in self._names:
            assert not new & {*self._names.values()}, "another sink has this manifest"
            (self._names[identity],) = new
        name = self._names.get(identity, "")
        for path in before.manifests.keys() | after.manifests.keys():
            same = after.manifests.get(path) == before.manifests.get(path)
            assert same or path == name, f"{path} of another sink was changed"
        return name

    def _read(self, text: bytes) -> list[Row]:
        """Return the rows of a manifest; none of its values has a character to be escaped."""
        head, *lines = text.decode().splitlines()
        table = [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
        return [
            Row(
                path=self._path(row["destination"]),
                destination=row["destination"],
                time=row["time"],
                size=row["size"],
                sha256=row["sha256"],
                status=row["status"],
                etag=row["etag"],
            )
            for row in table
        ]

    def _path(self, destination: str) -> str:
        return self._same(self._path_of(destination))
