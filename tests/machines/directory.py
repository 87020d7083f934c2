"""Random steps with sinks into a directory; each step is compared with the model."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nipype_datasink import DataSink, DataSinkError, Status, verify
from tests.machines import checks, manifests, values
from tests.machines.checks import Ended, Seen
from tests.machines.destinations import Destinations
from tests.machines.moments import Moment, at_call, is_killed
from tests.machines.parity import check_nipype
from tests.machines.sinks import make_sink
from tests.machines.sources import Sources
from tests.model import Expected, Sink, expected
from tests.source_model import Kind, Link


class DirectoryMachine(Destinations, RuleBasedStateMachine):
    """Sinks into a directory."""

    counts: ClassVar[Counter[str]] = Counter()
    disk: ClassVar[Path | None] = None
    large: ClassVar[bytes] = b"large" * (1 << 18)  # copied in a thread
    sinks: ClassVar = values.SINKS
    changes: ClassVar = values.CHANGES
    paths: ClassVar = values.PATHS

    def __init__(self) -> None:
        super().__init__()
        self.counts["sequences"] += 1
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="model-", dir=memory)).resolve()
        self.out = Path(tempfile.mkdtemp(dir=self.disk or self.root))
        self.before = os.getcwd()
        os.chdir(self.root)
        self.sources = Sources(self.root, self.large)
        self.last = Sink({})
        self.manifests = manifests.Manifests(self.path_of, self.same)
        self.prepare()
        self.put_old()

    def prepare(self) -> None:
        """Make what places of this class need."""

    def teardown(self) -> None:
        """Run the last sink again, undisturbed: it completes."""
        try:
            self.run(self.last)
        finally:
            os.chdir(self.before)
            shutil.rmtree(self.root)
            shutil.rmtree(self.out, ignore_errors=True)

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[None]:
        """Start what machines of this class need."""
        yield

    # Steps.

    @rule(name=st.sampled_from(values.TOPS), entry=values.ENTRIES, restore=st.booleans())
    def change_source(self, name: str, entry: Any, restore: bool) -> None:
        self.counts["change_source"] += 1
        if restore:
            self.sources.restore()
        self.sources.replace(name, entry)

    @rule(
        index=st.integers(0, 19),
        beside=st.sampled_from(["", "x", "old", "old", "../d.old", "inside"]),
        data=st.sampled_from([None, b"x", b"longer"]),
    )
    def change_destination(self, index: int, beside: str, data: bytes | None) -> None:
        """Write, replace, delete or block one of the files, or a file beside it, as a stranger."""
        self.counts["change_destination"] += 1
        files = self.names() or self.paths
        path = files[index % len(files)]
        if beside == "inside":
            self.put(path, None)
            path = f"{path}/inside"
        elif beside:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), beside))
        self.put(path, data)

    @rule(sink=values.OWN_SINKS)
    def sink(self, sink: Sink) -> None:
        self.counts["sink"] += 1
        self.run(sink)

    @rule(change=values.OWN_CHANGES)
    def sink_again(self, change: Mapping[str, Any]) -> None:
        self.counts["sink_again"] += 1
        self.run(replace(self.last, **change))

    @rule(
        sink=values.LAST_OR,
        moment=values.MOMENTS,
        error=st.sampled_from(["ENOSPC", "EIO", "EACCES"]),
        lasting=st.booleans(),
    )
    def sink_with_fault(self, sink: Sink | None, moment: Moment, error: str, lasting: bool) -> None:
        self.counts["sink_with_fault"] += 1
        self.put_old()
        number = getattr(errno, error)

        def fail() -> None:
            raise OSError(number, os.strerror(number))

        self.run(sink or self.last, at_call(moment, fail, lasting=lasting))

    @rule(
        sink=values.LAST_OR,
        moment=values.MOMENTS,
        name=st.sampled_from(sorted(values.SOURCES)),
        entry=values.ENTRIES,
    )
    def source_changes_during_run(
        self, sink: Sink | None, moment: Moment, name: str, entry: Any
    ) -> None:
        self.counts["source_changes_during_run"] += 1
        if isinstance(entry, (Kind, Link)):  # a hard link is made of whatever the source is by then
            sink = replace(sink or self.last, hard_links=False)
        if sink and entry is Kind.PIPE:  # the AWS Common Runtime would wait for its other end
            sink = replace(sink, transport="classic")
        self.run(sink or self.last, at_call(moment, lambda: self.sources.replace(name, entry)))

    @rule(
        sink=values.LAST_OR,
        moment=values.MOMENTS,
        path=values.OWN_PATHS,
        data=st.sampled_from([None, *values.BYTES]),
    )
    def stranger_writes_during_run(
        self, sink: Sink | None, moment: Moment, path: str, data: bytes | None
    ) -> None:
        self.counts["stranger_writes_during_run"] += 1
        if path not in self.look().folders:
            disturbance = at_call(moment, lambda: self.put(path, data))
            self.run(sink or self.last, disturbance, {self.same(path): data})

    @rule(sink=values.LAST_OR, moment=values.WRITING_MOMENTS)
    def sink_killed(self, sink: Sink | None, moment: Moment) -> None:
        """Kill a run, then run again; temporary files of the killed run are old by then."""
        self.counts["sink_killed"] += 1
        self.put_old()
        self.last = sink = sink or self.last
        before = self.look()
        want = self.expected(sink, before)
        self.counts["killed"] += self.is_killed(sink, moment)
        seen = self.look()
        self.leave_out_truncated((want,), before, seen)
        checks.check_killed(want, before.files, seen.files)
        self.manifests.check_killed(sink, want, before, seen)
        self.clean_up(seen.litter, self.expected(sink, seen), sink)
        self.run(sink)

    def leave_out_truncated(
        self, wanted: Sequence[Expected], before: Seen, after: Seen, ended: Ended | None = None
    ) -> None:
        """Leave out of the checks what may be truncated after a fault: on disk, nothing."""

    def is_killed(self, sink: Sink, moment: Moment) -> bool:
        return is_killed(lambda: self.deliver(sink), moment)

    @invariant()
    def verify(self) -> None:
        """Compare what `verify` reports with what exists."""
        seen = self.look()
        folders = {path.rpartition("/")[0] for path in seen.manifests}
        if folders:
            report = verify(*map(self.address, sorted(folders)), **self.store_options())
            self.manifests.check_report(report, seen)

    def store_options(self) -> dict[str, Any]:
        """Return the options of `verify` that decide how a store is reached."""
        return {}

    # A run, and what it is compared with.

    def run(self, sink: Sink, disturbance: Any = None, strangers: Mapping[str, Any] = {}) -> None:
        """Run a sink; compare what exists and what it reports with the model."""
        self.last = sink
        before = self.look()
        want = self.expected(sink, before)
        comparable = not (disturbance or want.refusals or want.differs_from_nipype)
        linked = self.check_nipype(sink, before, want) if comparable else None
        sources = dict(self.sources.entries)
        with disturbance or nullcontext([0]) as acted:
            ended = self.deliver(sink)
        after = self.look()
        self.counts[f"ended: {type(ended.error).__name__}{', disturbed' * bool(acted[0])}"] += 1
        assert not after.litter, f"temporary files remain: {after.litter}"
        if acted[0]:
            then = self.expected(sink, before)
            # Anything that was found and has gone before it is read is missing.
            then.missing |= self.sources.entries != sources
            self.leave_out_truncated((want, then), before, after, ended)
            for path, data in strangers.items():
                checks.leave_out(path, data, before, after, ended, (want, then))
            checks.check_disturbed(sink, (want, then), before.files, after.files, ended)
            want = checks.mixed(want, then, after.files)
        else:
            checks.check_undisturbed(sink, want, before.files, after.files, ended)
            self.check_unchanged(sink, want, before, after)
            if linked is not None:
                new = after.linked - before.files.keys()
                assert new == linked, f"nipype's class makes hard links of {linked}, not of {new}"
        self.sources.check()
        has_manifest = acted[0] and self.may_have_manifest(sink, want, before, after, ended)
        if ended.error and not has_manifest:
            self.manifests.check_failed(sink, want, before, after, disturbed=bool(acted[0]))
            return
        self.manifests.check(
            sink,
            want,
            before,
            after,
            disturbed=bool(acted[0]),
            unsure=lambda path: not self.may_stay(sink, path, before),
            without=strangers.keys() if acted[0] else (),
        )

    def may_have_manifest(
        self, sink: Sink, want: Expected, before: Seen, after: Seen, ended: Ended
    ) -> bool:
        """Return whether there may be a new manifest after a run with an error: on disk, never."""
        return False

    def check_unchanged(self, sink: Sink, want: Expected, before: Seen, after: Seen) -> None:
        """Check that files whose bytes were there were not written again."""
        for path, data in want.files.items():
            if before.files.get(path) == data and self.may_stay(sink, path, before):
                same = after.versions.get(path) == before.versions.get(path)
                assert same, f"{path!r} was unchanged, but is written again"

    def may_stay(self, sink: Sink, path: str, before: Seen) -> bool:
        return True

    def expected(self, sink: Sink, seen: Seen) -> Expected:
        return expected(
            sink,
            self.sources.entries,
            seen.files,
            seen.folders,
            same=self.same,
            has_folders=self.has_folders,
        )

    def deliver(self, sink: Sink) -> Ended:
        made = make_sink(DataSink, sink, self.address("base"))
        made.inputs.trait_set(**self.own_inputs(sink))
        try:
            reported = made.run().outputs.out_file
        except Exception as error:  # noqa: BLE001 - compared with the model
            return Ended(error, [], self.statuses(error))
        return Ended(None, list(map(self.path_of, reported)))

    def statuses(self, error: Exception) -> dict[str, Status]:
        """Return what an error says of each destination."""
        if not isinstance(error, DataSinkError):
            return {}
        checks.check_message(error)
        return {
            self.same(self.path_of(outcome.transfer.destination)): outcome.status
            for outcome in error.outcomes
        }

    def own_inputs(self, sink: Sink) -> dict[str, Any]:
        """Return inputs that nipype's class does not have, or not in this meaning."""
        inputs = {"local_copy": f"{self.out}/copy"} if sink.local_copy else {}
        if sink.skip_missing:
            inputs["sink_missing"] = "skip"
        if sink.manifests:
            inputs["sink_manifest_dir"] = self.address(manifests.PLACES[sink.manifests])
        return inputs

    def check_nipype(self, sink: Sink, before: Seen, want: Expected) -> set[str] | None:
        """Compare the model with nipype's class; return new hard links, None if not comparable."""
        return check_nipype(self.root / "nipype", sink, before, want)
