"""Many sequences of runs, faults and strangers end as the model says; it finds seeded faults."""

from __future__ import annotations

import pytest
from hypothesis import Phase

from tests import fuse
from tests.integration.conftest import Count, Record
from tests.machines.bucket import BucketMachine
from tests.machines.directory import DirectoryMachine
from tests.machines.exploration import drawn, explore, plant
from tests.machines.folding import FoldingMachine
from tests.seeds import SEEDS

MACHINES = {each.__name__: each for each in (DirectoryMachine, FoldingMachine, BucketMachine)}

# Each part has other sequences; the numbers of all parts are added.
PARTS = [
    *[("a directory", DirectoryMachine, 1_000, 40)] * 5,
    *[("a directory that ignores case", FoldingMachine, 200, 4)],
    *[("moto", BucketMachine, 500, 5)] * 10,
    *[("the store", BucketMachine, 250, 5)] * 4,
]


@pytest.mark.parametrize(("where", "machine", "many", "few"), PARTS)
def test_many_sequences_end_as_the_model_says(
    *,
    where: str,
    machine: type[DirectoryMachine],
    many: int,
    few: int,
    endpoint: str,
    count: Count,
    record: Record,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if machine is FoldingMachine and (why := fuse.unavailable_reason()):
        pytest.skip(why)
    if where == "the store":
        monkeypatch.setattr(BucketMachine, "store", endpoint)
    sequences = count(many, few)
    counts = explore(machine, sequences)
    steps = sum(drawn(machine).values())
    record(f"Sequences against the model, {where}", {**counts, "steps": steps})
    assert counts["sequences"] >= sequences
    assert steps >= 8 * sequences


@pytest.mark.parametrize("name", SEEDS)
def test_seeded_faults_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = MACHINES[SEEDS[name].machine]
    if machine is FoldingMachine and (why := fuse.unavailable_reason()):
        pytest.skip(why)
    plant(SEEDS[name], monkeypatch)
    with pytest.raises(AssertionError):
        explore(machine, 1_000, derandomize=True, phases=[Phase.generate])
