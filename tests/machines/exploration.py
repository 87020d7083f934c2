"""Run random sequences of steps; print one that violates the model as a script."""

from __future__ import annotations

import inspect
import logging
import textwrap
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machines.directory import DirectoryMachine
from tests.machines.salvage import SalvageMachine
from tests.seeds import Seed

Machine = type[DirectoryMachine] | type[SalvageMachine]

STEPS = 10


def explore(machine: Machine, sequences: int, **more: Any) -> Counter[str]:
    """Run random sequences of `STEPS` steps; return how often each rule was drawn."""
    machine.counts.clear()
    chosen = settings(
        max_examples=sequences,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    logger = logging.getLogger("nipype.interface")
    level = logger.level
    logger.setLevel("CRITICAL")
    try:
        with machine.prepared():
            run_state_machine_as_test(machine, settings=chosen, _min_steps=STEPS)
    except Exception as error:
        print(script(machine, error))
        raise
    finally:
        logger.setLevel(level)
    return +machine.counts


def drawn(machine: Machine) -> dict[str, int]:
    """Return how often each rule was drawn in the last exploration."""
    return {name: machine.counts[name] for name, _ in inspect.getmembers(machine, _is_rule)}


def _is_rule(member: object) -> bool:
    return hasattr(member, "hypothesis_stateful_rule")


def plant(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a fault into the library."""
    for path, replacement in seed.replacements.items():
        raising = not path.endswith(".all")  # the builtin, which a name of the module hides
        monkeypatch.setattr(f"nipype_datasink.{path}", replacement, raising=raising)


def script(machine: Machine, error: BaseException) -> str:
    """Return a program that does what a failed sequence did."""
    notes = "\n".join(getattr(error, "__notes__", []))
    begin, end = "state = ", "state.teardown()"
    steps = begin + notes.partition(begin)[2].rpartition(end)[0] + end
    return (
        "# Run it with: PYTHONPATH=. python SCRIPT\n"
        f"from {machine.__module__} import {machine.__name__}\n"
        "from tests.model import Sink\n"
        "from tests.salvage_model import Pipeline, SinkNode, Step\n"
        "from tests.source_model import Kind, Link\n\n"
        f"with {machine.__name__}.prepared():\n{textwrap.indent(steps, '    ')}\n"
    )
