"""What a workflow computes when some of its nodes fail, and what `salvage` delivers of it.

As `tests.model`, this follows the documentation, not the code. A pipeline is a few steps and sinks.
A step runs once for each subject, or once for all (the subject ""). Its units are what can fail by
itself: the node, or each item of a MapNode. Paths of sources are relative to the working directory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.model import Sink, leaves

SUBJECT = "the subject"  # as the container of a sink
ITEMS = ("0", "1")  # of each MapNode
_MAPS, _JOINS, _PASS_ON = ("items", "each"), ("join", "collect"), ("collect", "merge")

Run = tuple[str, str]  # step, subject
Unit = tuple[str, str, str]  # step, subject, item


@dataclass(frozen=True)
class Step:
    """A node that takes the outputs of the steps in `after`, and writes a file for each unit."""

    name: str
    kind: str = "file"
    """Other kinds: "folder", which it writes instead; "items", a MapNode; "each", a MapNode over
    the items of another; "join", a JoinNode that writes one file; "collect", a JoinNode that passes
    on what it joins; "merge", which passes on the outputs of two steps in one list."""

    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class SinkNode:
    """A sink with steps connected to its inputs."""

    name: str
    fields: Mapping[str, str]
    """Steps by the names of inputs."""

    container: str = ""
    """`SUBJECT`, or the step that it is connected to; empty text if it is constant."""

    through_function: tuple[str, ...] = ()
    """Inputs that are connected through a function, which needs the whole value."""

    rules: Sink = field(default_factory=lambda: Sink({}))
    """All other inputs."""

    @property
    def container_step(self) -> str:
        return "" if self.container == SUBJECT else self.container


@dataclass(frozen=True)
class Pipeline:
    """A workflow; without subjects, it has no iterables."""

    steps: tuple[Step, ...]
    sinks: tuple[SinkNode, ...]
    subjects: tuple[str, ...] = ()

    def subjects_of(self, name: str) -> tuple[str, ...]:
        """Return the subjects of which a step has runs."""
        step = self.step(name)
        is_joined = step.kind in _JOINS
        is_joined |= bool(step.after) and all(
            self.subjects_of(each) == ("",) for each in step.after
        )
        return ("",) if is_joined else self.subjects or ("",)

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def run_for(self, name: str, subject: str) -> Run:
        """Return the run of a step that another run for a subject takes its output from."""
        return name, subject if subject in self.subjects_of(name) else ""

    def before(self, run: Run) -> list[Run]:
        """Return the runs before a run of a step."""
        step = self.step(run[0])
        if step.kind in _JOINS:
            return [(name, each) for name in step.after for each in self.subjects_of(name)]
        return [self.run_for(name, run[1]) for name in step.after]

    def units(self, run: Run) -> list[Unit]:
        kind = self.step(run[0]).kind
        items = ITEMS if kind in _MAPS else ("",) * (kind not in _PASS_ON)
        return [(*run, item) for item in items]

    def all_units(self) -> list[Unit]:
        runs = [(step.name, each) for step in self.steps for each in self.subjects_of(step.name)]
        return [unit for run in runs for unit in self.units(run)]

    def subjects_of_sink(self, sink: SinkNode) -> tuple[str, ...]:
        steps = filter(None, [*sink.fields.values(), sink.container_step])
        is_joined = all(self.subjects_of(name) == ("",) for name in steps)
        return ("",) if is_joined and sink.container != SUBJECT else self.subjects or ("",)


def label(unit: Unit) -> str:
    """Return the name by which a unit is let fail, and counted."""
    return f"{unit[0]}-{unit[1] or 'all'}{unit[2]}"


def directory(run: Run) -> str:
    """Return the working directory of a run."""
    return "/".join(filter(None, ["study", run[1] and f"_subject_{run[1]}", run[0]]))


def unit_directory(unit: Unit) -> str:
    inside = f"/mapflow/_{unit[0]}{unit[2]}" if unit[2] else ""
    return directory(unit[:2]) + inside


def path(unit: Unit) -> str:
    """Return the output of a unit."""
    return f"{unit_directory(unit)}/{label(unit).replace('-', '_')}.dir"


@dataclass
class WorkingDirectory:
    """What the runs of a pipeline have left in its working directory."""

    pipeline: Pipeline
    versions: Counter[str] = field(default_factory=Counter)
    """An input of each step; another value lets it run again."""

    written: dict[Unit, str] = field(default_factory=dict)
    """What each unit has written when it ran last; nothing if it failed."""

    crashed: set[Run] = field(default_factory=set)
    """What has failed at any time, and has crash files."""

    sunk: set[tuple[str, str]] = field(default_factory=set)
    """Runs of sinks (name, subject) that ended well when they ran last."""

    def run(self, failing: Collection[str]) -> Counter[str]:
        """Run what has not finished and can run; return which units have run."""
        ran: Counter[str] = Counter()
        for unit in self.pipeline.all_units():
            ready = all(map(self.is_finished, self.pipeline.before(unit[:2])))
            if ready and self.written.get(unit) != self.text(unit):
                ran[label(unit)] += 1
                self.written[unit] = self.text(unit)
                if label(unit) in failing:
                    del self.written[unit]
                    self.crashed.add(unit[:2])
        return ran

    def is_finished(self, run: Run) -> bool:
        before, units = self.pipeline.before(run), self.pipeline.units(run)
        return all(map(self.is_finished, before)) and all(map(self._is_written, units))

    def _is_written(self, unit: Unit) -> bool:
        return self.written.get(unit) == self.text(unit)

    def text(self, unit: Unit) -> str:
        """Return what a unit writes, if all runs before it have finished."""
        given = [leaf for run in self.pipeline.before(unit[:2]) for leaf in leaves(self.value(run))]
        if self.pipeline.step(unit[0]).kind == "each":
            given = given[int(unit[2]) :][:1]
        texts = {path(each): text for each, text in self.written.items()}
        inputs = ", ".join(texts[each] for each in given)
        return f"{label(unit)} {self.versions[unit[0]]} [{inputs}]"

    def value(self, run: Run) -> Any:
        """Return the output of a run, with None in place of what is not known."""
        before = self.pipeline.before(run)
        kind = self.pipeline.step(run[0]).kind
        if kind in _PASS_ON:
            return [self.value(each) for each in before]
        is_ready = all(map(self.is_finished, before))
        units = self.pipeline.units(run)
        paths = [path(unit) if is_ready and self._is_written(unit) else None for unit in units]
        return paths if kind in _MAPS else paths[0]

    def causes(self, run: Run) -> set[tuple[str, bool]]:
        """Return the directories of what must finish first, and whether crash files are named.

        They are not for what has finished with other inputs.
        """
        unfinished = [each for each in self.pipeline.before(run) if not self.is_finished(each)]
        if unfinished:
            return {cause for each in unfinished for cause in self.causes(each)}
        units = [unit for unit in self.pipeline.units(run) if not self._is_written(unit)]
        return {
            (unit_directory(unit), run in self.crashed and unit not in self.written)
            for unit in units
        }

    def sources(self) -> dict[str, bytes]:
        """Return all files, by path."""
        files = {}
        for unit, text in self.written.items():
            is_folder = self.pipeline.step(unit[0]).kind == "folder"
            for inside in ("/x.txt", "/in/y.txt") if is_folder else ("",):
                files[path(unit) + inside] = text.encode()
        return files


@dataclass(frozen=True)
class Delivery:
    """What one run of a sink delivers of what is known."""

    name: str
    sink: Sink
    undelivered: frozenset[tuple[str, bool, frozenset[tuple[str, bool]]]]
    """Inputs that are not, whether the other part is, and what must finish first."""

    is_possible: bool
    """Whether its container is known."""


def deliveries(work: WorkingDirectory) -> Iterator[tuple[tuple[str, str], Delivery]]:
    """Yield what each run of each sink delivers, by name and subject."""
    for node in work.pipeline.sinks:
        for subject in work.pipeline.subjects_of_sink(node):
            yield (node.name, subject), _delivery(work, node, subject)


def _delivery(work: WorkingDirectory, node: SinkNode, subject: str) -> Delivery:
    fields: dict[str, Any] = {}
    undelivered = set()
    for name, step in node.fields.items():
        run = work.pipeline.run_for(step, subject)
        is_finished = work.is_finished(run)
        is_usable = is_finished or name not in node.through_function
        fields[name] = work.value(run) if is_usable else None
        if not is_finished:
            is_partial = any(leaves(fields[name]))
            undelivered.add((name, is_partial, frozenset(work.causes(run))))
    container = subject if node.container == SUBJECT else node.rules.container
    is_possible = True
    if node.container_step:
        run = work.pipeline.run_for(node.container_step, subject)
        container = label((*run, ""))
        is_possible = work.is_finished(run)
        if not is_possible:
            undelivered.add(("container", False, frozenset(work.causes(run))))
    name = f"study.{node.name}" + (f"[subject={subject}]" if subject else "")
    sink = replace(node.rules, fields=fields, container=container)
    return Delivery(name, sink, frozenset(undelivered), is_possible)
