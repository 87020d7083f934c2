"""Random sequences of runs, faults and strangers end as the model says (`tests/model.py`).

A sequence that does not is printed as a script, which runs from the root of the repository.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from hypothesis import Phase

from tests import fuse
from tests.machines.bucket import BucketMachine
from tests.machines.directory import DirectoryMachine
from tests.machines.exploration import Machine, drawn, explore, plant
from tests.machines.folding import FoldingMachine
from tests.machines.s3_copy import S3CopyMachine
from tests.machines.salvage import SalvageMachine
from tests.seeds import SEEDS


@pytest.mark.no_cover  # other tests cover the same code, and measuring takes a third of the time
@pytest.mark.parametrize(
    ("machine", "sequences"),
    [
        (DirectoryMachine, 25),
        (FoldingMachine, 2),
        (BucketMachine, 4),
        (S3CopyMachine, 2),
        (SalvageMachine, 3),
    ],
    ids=["directory", "ignored case", "bucket", "S3 copy", "salvage"],
)
def test_sequences_end_as_the_model_says(
    machine: Machine, sequences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if machine is FoldingMachine and (why := fuse.unavailable_reason()):
        pytest.skip(why)
    counts = explore(machine, sequences, derandomize=True)
    assert counts["sequences"] >= sequences
    assert sum(drawn(machine).values()) >= 8 * sequences


@pytest.mark.parametrize("name", SEEDS)
def test_seeded_faults_replace_what_exists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(SEEDS[name], monkeypatch)


def test_a_counterexample_is_printed_as_a_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(os.getcwd())
    plant(SEEDS["missing sources are not named"], monkeypatch)
    with pytest.raises(AssertionError, match="what is missing was not"):
        explore(DirectoryMachine, 100, derandomize=True, phases=[Phase.generate])
    program = capsys.readouterr().out.partition("# Run it")
    names: dict[str, Any] = {}
    try:
        with pytest.raises(AssertionError, match="what is missing was not"):
            exec("".join(program[1:]), names)
    finally:
        shutil.rmtree(names["state"].root, ignore_errors=True)
