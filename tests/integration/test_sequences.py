"""Many sequences of runs, faults and strangers end as the model says; it finds seeded faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import Phase
from hypothesis.errors import Flaky

from tests import fuse
from tests.integration.conftest import Count, Record
from tests.machines.bucket import BucketMachine
from tests.machines.directory import DirectoryMachine
from tests.machines.exploration import Machine, drawn, explore, plant
from tests.machines.folding import FoldingMachine
from tests.machines.s3_copy import S3CopyMachine
from tests.machines.salvage import SalvageMachine
from tests.seeds import SEEDS

NUMBERS = Path(__file__).parents[2] / "docs" / "reliability-numbers.json"

# Sequences of everyday runs.
FEW: dict[Machine, int] = {
    DirectoryMachine: 50,
    FoldingMachine: 5,
    BucketMachine: 8,
    S3CopyMachine: 5,
    SalvageMachine: 10,
}
MACHINES = {each.__name__: each for each in FEW}

# Sequences of one part, and the number of parts; each has other sequences.
PARTS: dict[str, tuple[Machine, int, int]] = {
    "a directory": (DirectoryMachine, 500, 10),
    "a directory that ignores case": (FoldingMachine, 200, 1),
    "moto": (BucketMachine, 500, 10),
    "the store": (BucketMachine, 500, 2),
    "a directory with a copy in moto": (S3CopyMachine, 500, 2),
    "a directory with a copy in the store": (S3CopyMachine, 200, 1),
    "a workflow that is salvaged": (SalvageMachine, 200, 1),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each part; everyday runs have one of each place."""
    if "part" in metafunc.fixturenames:
        soak = metafunc.config.getoption("--soak")
        parts = [
            (where, part)
            for where, (*_, parts) in PARTS.items()
            for part in range(parts)[: None if soak else 1]
        ]
        metafunc.parametrize(("where", "part"), parts)


def test_many_sequences_end_as_the_model_says(
    *,
    where: str,
    part: int,
    endpoint: str,
    count: Count,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, many, _ = PARTS[where]
    if machine is FoldingMachine and (why := fuse.unavailable_reason()):
        pytest.skip(why)
    if where.endswith("the store"):
        monkeypatch.setattr(BucketMachine, "store", endpoint)
    sequences = count(many, FEW[machine])
    # Where CI is set, Hypothesis would draw the same sequences in each part.
    counts = explore(machine, sequences, derandomize=sequences != many)
    steps = sum(drawn(machine).values())
    record(f"Sequences against the model, {where}", {**counts, "steps": steps})
    assert counts["sequences"] >= sequences
    assert steps >= 8 * sequences
    if sequences == many:
        # A part may favour some rules. All parts together are checked below.
        assert min(drawn(machine).values()) >= 0.03 * steps, drawn(machine)


@pytest.mark.parametrize("where", PARTS)
def test_the_documented_sequences_are_as_many_and_have_drawn_each_rule(where: str) -> None:
    machine, many, parts = PARTS[where]
    numbers = json.loads(NUMBERS.read_text())[f"Sequences against the model, {where}"]
    assert numbers["sequences"] >= many * parts
    assert numbers["steps"] >= 8 * numbers["sequences"]
    share = {name: numbers[name] / numbers["steps"] for name in drawn(machine)}
    assert min(share.values()) >= 0.05, share


@pytest.mark.parametrize("name", SEEDS)
def test_seeded_faults_are_found(
    name: str, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pytestconfig.getoption("--soak"):
        pytest.skip("some need hundreds of sequences")
    machine = MACHINES[SEEDS[name].machine]
    if machine is FoldingMachine and (why := fuse.unavailable_reason()):
        pytest.skip(why)
    plant(SEEDS[name], monkeypatch)
    # Some faults end a sequence in another way when Hypothesis repeats it.
    with pytest.raises((AssertionError, Flaky)):
        explore(machine, 5_000, derandomize=True, phases=[Phase.generate])
