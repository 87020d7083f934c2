"""Random steps with sinks into a directory, with a copy in a bucket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st

from tests.machines import values
from tests.machines.bucket import BucketMachine
from tests.machines.checks import Seen
from tests.machines.directory import DirectoryMachine
from tests.model import Expected, Sink

_MANIFESTS = st.sampled_from(["base", "s3", "beside", ""])
_MOSTLY = st.sampled_from([True, True, True, False])


def _copied(sink: Sink, *, moved: bool, **more: Any) -> Sink:
    rules = [("base/anat", "base/moved")] * moved  # not in the address of the copy
    return replace(sink, substitutions=(*rules, *sink.substitutions), **more)


def _in_both(paths: list[str]) -> list[str]:
    return [*paths, *(f"s3{path.removeprefix('base')}" for path in paths)]


class S3CopyMachine(BucketMachine):
    """Sinks into a directory, with a copy in a bucket."""

    in_bucket = "s3"
    sinks = st.builds(
        _copied, values.SINKS, moved=st.booleans(), s3_copy=_MOSTLY, manifests=_MANIFESTS
    )
    changes = st.builds(
        dict.__or__,
        values.CHANGES,
        st.fixed_dictionaries({}, optional={"s3_copy": _MOSTLY, "manifests": _MANIFESTS}),
    )
    old: ClassVar = _in_both(values.OLD)
    paths: ClassVar = _in_both(values.PATHS)

    def own_inputs(self, sink: Sink) -> dict[str, Any]:
        copy = {"s3_copy": self.address("s3")} if sink.s3_copy else {}
        return {**super().own_inputs(sink), **copy}

    def check_nipype(self, sink: Sink, before: Seen, want: Expected) -> set[str] | None:
        """Compare what is on disk without the copy, which must not change it."""
        on_disk = {path: data for path, data in before.files.items() if not self.is_key(path)}
        alone, seen = replace(sink, s3_copy=False), replace(before, files=on_disk)
        return DirectoryMachine.check_nipype(self, alone, seen, self.expected(alone, seen))
