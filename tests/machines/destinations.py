"""Destinations in a directory, as a stranger writes and sees them beside the library."""

from __future__ import annotations

from pathlib import Path

from tests.machines import manifests, values
from tests.machines.checks import Seen
from tests.machines.disk import make, read_tree, remove
from tests.model import above


class Destinations:
    """Files below the base directory and the local copy, by paths that begin with the place."""

    out: Path

    def address(self, path: str) -> str:
        """Return a destination as `out_file` has it."""
        return f"{self.out}/{path}"

    def path_of(self, address: str) -> str:
        place = next(each for each in ("base", "copy") if address.startswith(self.address(each)))
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
        remove(self.out / path)
        if data is not None:
            make(self.out / path, data)

    def put_old(self) -> None:
        for path in values.OLD:
            self.put(path, b"old")

    @staticmethod
    def same(path: str) -> str:
        return path

    @staticmethod
    def has_folders(place: str) -> bool:
        return True
