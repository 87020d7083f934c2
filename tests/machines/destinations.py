"""Destinations in a directory, as a stranger writes and sees them beside the library."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

from tests.machines import manifests, values
from tests.machines.checks import Seen
from tests.machines.disk import make, read_tree, remove
from tests.model import Expected, Sink, above

_OLD_SECONDS = 2 * 24 * 60 * 60  # older than temporary files that a run leaves alone


class Destinations:
    """Files below the base directory and its copies, by paths that begin with the place."""

    out: Path
    old: ClassVar = values.OLD

    def address(self, path: str) -> str:
        """Return a destination as `out_file` has it."""
        return f"{self.out}/{path}"

    def path_of(self, address: str) -> str:
        places = ("base", "copy", "s3")
        place = next(each for each in places if address.startswith(self.address(each)))
        return place + address.removeprefix(self.address(place))

    def look(self) -> Seen:
        """Return what exists, by the names that the file system treats as the same."""
        seen = read_tree(self.out, self.same)
        seen.separate(manifests.PLACES.values())
        return seen

    def names(self) -> list[str]:
        """Return all files as they are spelled."""
        seen = read_tree(self.out)
        seen.separate(manifests.PLACES.values())
        return sorted(seen.files)

    def put(self, path: str, data: bytes | None) -> None:
        """Write or delete a destination, as a stranger; do nothing where a file is in the way."""
        if any((self.out / folder).is_file() for folder in above(path)):
            return
        place = self.out / path
        remove(place)
        if data is not None:
            # Another thread of the run may make a hard link there: its source must not be written.
            make(new := self.out / ".new", data)
            place.parent.mkdir(parents=True, exist_ok=True)
            new.rename(place)

    def put_old(self) -> None:
        for path in self.old:
            self.put(path, b"old")

    def clean_up(self, litter: set[str], want: Expected, sink: Sink) -> None:
        """Make temporary files old; remove those that the next run will not find."""
        fails = want.refusals or (want.missing and not sink.skip_missing)
        old = time.time() - _OLD_SECONDS
        for path in litter:
            is_manifest = path.rpartition("/")[0] in manifests.PLACES.values()
            if want.refusals or (fails and is_manifest):
                remove(self.out / path)
            else:
                os.utime(self.out / path, (old, old))

    @staticmethod
    def same(path: str) -> str:
        return path

    @staticmethod
    def has_folders(place: str) -> bool:
        return True
