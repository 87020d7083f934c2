"""Random steps with a workflow of which nodes fail; what is salvaged is compared with the model."""

from __future__ import annotations

import logging
import os
import posixpath
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from nipype import Workflow

from nipype_datasink import SalvageError, salvage
from tests.conftest import tree
from tests.machines.checks import Seen, assert_same
from tests.machines.destinations import Destinations
from tests.machines.pipelines import PIPELINES, build
from tests.machines.salvage_report import check_report
from tests.model import Expected, Sink, expected
from tests.salvage_model import Pipeline, WorkingDirectory, deliveries, label
from tests.workflows.failing_study import StudyDirectory

STRANGER = b"of a stranger"
_INDEX = st.sampled_from(range(12))


class SalvageMachine(Destinations, RuleBasedStateMachine):
    """A workflow that runs, fails, is salvaged and corrected, with sinks into a directory."""

    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.counts["sequences"] += 1
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="salvage-", dir=memory)).resolve()
        self.study = StudyDirectory(self.root)
        self.out = self.study.out
        self.out.mkdir()
        self.failing: set[str] = set()
        self.before = os.getcwd()

    def teardown(self) -> None:
        """Let nothing fail: the next run completes, and nothing is left to salvage."""
        try:
            self.failing.clear()
            for path in [path for path, data in self.look().files.items() if data == STRANGER]:
                self.put(path, None)  # it may be in the place of a folder
            self.run_workflow()
            assert not salvage(self.workflow()).sinks
        finally:
            os.chdir(self.before)
            shutil.rmtree(self.root)

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[None]:
        """Let nipype write no log."""
        logger = logging.getLogger("nipype.workflow")
        level = logger.level
        logger.setLevel("CRITICAL")
        try:
            yield
        finally:
            logger.setLevel(level)

    # Steps.

    @initialize(pipeline=PIPELINES, failing=st.sets(_INDEX, min_size=1, max_size=2))
    def start(self, pipeline: Pipeline, failing: set[int]) -> None:
        self.work = WorkingDirectory(pipeline)
        self.failing.update(map(self.unit, failing))
        self.run_workflow()

    @rule(is_salvaged_before=st.booleans())
    def run(self, *, is_salvaged_before: bool) -> None:
        self.counts["run"] += 1
        if is_salvaged_before:
            self.salvage_workflow()
        self.run_workflow()

    @rule()
    def salvage(self) -> None:
        self.counts["salvage"] += 1
        self.salvage_workflow()

    @rule(index=_INDEX)
    def mend(self, index: int) -> None:
        """Correct what lets a unit fail."""
        self.counts["mend"] += 1
        if self.failing:
            self.failing.remove(sorted(self.failing)[index % len(self.failing)])

    @rule(index=_INDEX)
    def let_fail(self, index: int) -> None:
        """Let a unit fail; if it has finished, it does not run again."""
        self.counts["let_fail"] += 1
        self.failing.add(self.unit(index))

    @rule(index=_INDEX)
    def change_input(self, index: int) -> None:
        self.counts["change_input"] += 1
        steps = self.work.pipeline.steps
        self.work.versions[steps[index % len(steps)].name] += 1

    @rule(
        index=_INDEX,
        beside=st.sampled_from([".", "..", "old", "old"]),
        data=st.sampled_from([None, STRANGER, STRANGER]),
    )
    def change_destination(self, index: int, beside: str, data: bytes | None) -> None:
        """Write or delete a file or its folder, or write a file beside it, as a stranger."""
        self.counts["change_destination"] += 1
        files = set(self.names())
        for _, delivery in deliveries(self.work):
            files.update(self.expected(delivery.sink, Seen(), {}).files)
        if not files:
            return
        path = posixpath.join(
            sorted(files)[index % len(files)], "../old" if beside == "old" else beside
        )
        self.put(posixpath.normpath(path), data)

    def unit(self, index: int) -> str:
        units = self.work.pipeline.all_units()
        return label(units[index % len(units)])

    # What happens, and what it is compared with.

    def workflow(self) -> Workflow:
        self.study.fail(*self.failing)
        return build(self.work.pipeline, self.work.versions, self.study)

    def run_workflow(self) -> None:
        workflow, before, error = self.workflow(), self.look(), None
        try:
            workflow.run(plugin="Linear")
        except Exception as raised:  # noqa: BLE001 - compared with the model
            error = raised
        ran, executed = self.work.run(self.failing), self.study.executions()
        assert executed == ran, f"executed: {executed}, not {ran}; {error!r}"
        fails, there = not self.failing.isdisjoint(ran), before.files
        for key, delivery in deliveries(self.work):
            if not delivery.undelivered:
                want = self.expected(delivery.sink, before, there)
                there = there if want.refusals else want.after(there)
                fails |= bool(want.refusals)
                (self.work.sunk.discard if want.refusals else self.work.sunk.add)(key)
        assert bool(error) == fails, f"unexpected error: {error!r}"
        self.check_destinations(before, there, "after the run")

    def salvage_workflow(self) -> None:
        workflow, before = self.workflow(), self.look()
        kept = self.study.beside_outputs(), tree(self.study.work)
        report, is_error = _salvage(workflow)
        changed = kept != (self.study.beside_outputs(), tree(self.study.work))
        assert not changed, "something is changed beside the outputs"
        there, done, lacks = before.files, {sink.sink: sink for sink in report.sinks}, False
        for key, delivery in deliveries(self.work):
            if delivery.undelivered or key not in self.work.sunk:
                want = self.expected(delivery.sink, before, there)
                want.removed.clear()
                self.counts["salvaged"] += bool(want.files)
                statuses = {path: want.status(path, there) for path in want.files}
                sink = done.pop(delivery.name)
                is_delivered = check_report(sink, delivery, want, statuses, self.path_of)
                there = want.after(there) if is_delivered else there
                lacks |= bool(delivery.undelivered) or not is_delivered
        assert not done, f"these sinks have finished: {done}"
        assert is_error == lacks, f"SalvageError: {is_error}"
        self.check_destinations(before, there, "after salvage")

    def expected(self, sink: Sink, before: Seen, there: dict[str, bytes]) -> Expected:
        return expected(sink, self.work.sources(), there, before.folders)

    def check_destinations(self, before: Seen, there: dict[str, bytes], when: str) -> None:
        after = self.look()
        assert not after.litter
        assert_same(after.files, there, when)
        for path in before.files.keys() & there.keys():
            same = after.versions[path] == before.versions[path]
            assert same or before.files[path] != there[path], f"{path!r} is written again"


def _salvage(workflow: Workflow) -> tuple[Any, bool]:
    """Salvage; return the report, and whether an error says that something is lacking."""
    try:
        return salvage(workflow), False
    except SalvageError as error:
        return error.report, True
