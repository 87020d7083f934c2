"""Outcomes of a delivery: what they show, and that a sink and its errors have them."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from nipype import Node
from nipype.interfaces.base import Str

from nipype_datasink import (
    DataSink,
    DataSinkError,
    DataSinkInputSpec,
    DeliveryError,
    MissingSourceError,
    Outcome,
    Outcomes,
    SettingsError,
    Status,
)
from nipype_datasink.delivery import atomic, file_writer
from nipype_datasink.planning.plan import FileTransfer


def outcome(name: str, status: Status, *, size: int = 1000, **options: Any) -> Outcome:
    transfer = FileTransfer(source=name, destination=f"/out/{name}", size=size)
    return Outcome(transfer=transfer, status=status, **options)


EACH = Outcomes(
    [
        outcome("same", Status.UNCHANGED),
        outcome("new", Status.NEW),
        outcome("linked", Status.NEW, linked=True),
        outcome("replaced", Status.REPLACED, size=2_500_000),
        outcome("doubtful", Status.SENT, verified=False),
        outcome("late", Status.NOT_TRIED, cause=OSError("disk full")),
        outcome("bad\nname", Status.FAILED, cause=OSError("disk\nfull")),
    ]
)


def test_problems_come_first() -> None:
    assert str(EACH).splitlines() == [
        "7 files: 2 new, 1 replaced, 1 sent, 1 unchanged, 1 failed, 1 not tried; 2.5 MB written",
        r"  failed              /out/bad\nname: disk; full",
        "  not tried           /out/late (1 kB)",
        "  sent, not verified  /out/doubtful (1 kB)",
        "  new                 /out/new (1 kB)",
        "  new                 /out/linked (1 kB)",
        "  replaced            /out/replaced (2.5 MB)",
        "  unchanged           /out/same (1 kB)",
    ]
    assert EACH.bytes_written == 2_502_000


@pytest.mark.parametrize(
    ("outcomes", "summary"),
    [
        ([], "0 files"),
        ([outcome("a", Status.UNCHANGED)], "1 file: 1 unchanged"),
        ([outcome("a", Status.NEW, linked=True)], "1 file: 1 new"),
        ([outcome("a", Status.NEW)] * 5000, "5,000 files: 5,000 new; 5 MB written"),
    ],
)
def test_the_summary_leaves_out_what_is_zero(outcomes: list[Outcome], summary: str) -> None:
    found = Outcomes(outcomes)
    assert str(found).splitlines()[0] == summary
    assert repr(found) == f"<Outcomes of {summary}>"


def test_thousands_of_files_are_shown_in_few_lines_the_failed_ones_among_them() -> None:
    many = [outcome(f"{index:04}", Status.UNCHANGED) for index in range(4998)]
    failed = outcome("last", Status.FAILED, cause=OSError("too large"))
    *_, before, last = lines = str(Outcomes([*many, outcome("new", Status.NEW), failed])).split(
        "\n"
    )
    assert lines[1].split() == ["failed", "/out/last:", "too", "large"]
    assert lines[2].split()[:2] == ["new", "/out/new"]
    assert (before.split()[1], last) == ("/out/0037", "  and 4,960 more")
    assert len(lines) <= 60


def test_notebooks_show_the_same_text() -> None:
    shown = Outcomes([outcome("<b>", Status.NEW)])._repr_html_()
    assert shown.startswith("<pre>1 file")
    assert "/out/&lt;b&gt;" in shown


# Of a sink.


def sink(workdir: Path, *names: str) -> Any:
    for name in names:
        (workdir / name).write_text(name)
    made: Any = DataSink(base_directory=f"{workdir}/out", infields=["x"], local_hardlink=False)
    made.inputs.x = [f"{workdir}/{name}" for name in names]
    return made


def statuses(found: Any) -> dict[str, Status]:
    return {os.path.basename(each.transfer.destination): each.status for each in found}


def test_a_sink_has_the_outcomes_of_its_last_run(workdir: Path) -> None:
    assert sink(workdir, "a").outcomes is None  # it has not run
    made = sink(workdir, "a", "b")
    result = made.run()
    assert isinstance(made.outcomes, Outcomes)
    assert statuses(made.outcomes) == {"a": Status.NEW, "b": Status.NEW}
    assert sorted(result.outputs.get()) == ["out_file"]

    (workdir / "a").write_text("A")
    made.run()
    assert statuses(made.outcomes) == {"a": Status.REPLACED, "b": Status.UNCHANGED}


def test_a_run_that_tried_nothing_has_no_outcomes(workdir: Path) -> None:
    made = sink(workdir, "a")
    made.run()
    made.inputs.base_directory = "gs://bucket"
    with pytest.raises(SettingsError) as caught:
        made.run()
    assert made.outcomes is None
    assert caught.value.outcomes == ()
    assert isinstance(caught.value.outcomes, Outcomes)


def test_an_error_and_its_sink_have_the_same_outcomes(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sink(workdir, "a", "b")

    def failing(source: str, *args: Any) -> None:
        if source.endswith("a"):
            raise OSError("broken")
        atomic.copy(source, *args)

    monkeypatch.setattr(file_writer, "copy", failing)
    with pytest.raises(DeliveryError) as caught:
        made.run()
    assert made.outcomes is caught.value.outcomes
    assert isinstance(made.outcomes, Outcomes)
    assert statuses(made.outcomes) == {"a": Status.FAILED, "b": Status.NEW}


def test_outcomes_remain_if_a_source_is_missing_or_the_manifest_cannot_be_written(
    workdir: Path,
) -> None:
    made = sink(workdir, "a", "b")
    made.inputs.sink_manifest_dir = f"{workdir}/a"  # a file
    with pytest.raises(DeliveryError, match="but not the manifest"):
        made.run()
    assert made.outcomes
    assert statuses(made.outcomes) == {"a": Status.NEW, "b": Status.NEW}

    made.inputs.sink_manifest_dir = ""
    (workdir / "a").unlink()
    with pytest.raises(MissingSourceError):
        made.run()
    assert statuses(made.outcomes) == {"b": Status.UNCHANGED}


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_of_a_sink_keep_its_outcomes(make: Any, workdir: Path) -> None:
    made = sink(workdir, "a")
    assert make(made).outcomes is None
    made.run()
    assert make(made).outcomes == made.outcomes
    assert type(make(made).outcomes) is Outcomes


def test_result_files_of_nodes_do_not_contain_outcomes(workdir: Path) -> None:
    node = Node(sink(workdir, "a"), name="sink", base_dir=str(workdir))
    node.run()
    assert statuses(node.interface.outcomes) == {"a": Status.NEW}
    (result,) = workdir.glob("sink/result_*.pklz")
    assert b"Outcome" not in gzip.decompress(result.read_bytes())


class OwnSpec(DataSinkInputSpec):
    outcomes = Str()


class OwnInput(DataSink):
    input_spec = OwnSpec


class OwnAttribute(DataSink):
    def __init__(self, **inputs: Any) -> None:
        self.outcomes: Any = "its own"
        super().__init__(**inputs)


@pytest.mark.parametrize("kind", [OwnInput, OwnAttribute])
def test_a_subclass_may_use_the_name(kind: Any, workdir: Path) -> None:
    (workdir / "a").write_text("a")
    made = kind(base_directory=f"{workdir}/out", infields=["x"], x=f"{workdir}/a")
    made.outcomes = "its own"
    made.run()
    assert made.outcomes == "its own"
    assert getattr(made.inputs, "outcomes", None) == ("its own" if kind is OwnInput else None)


def test_outcomes_can_be_the_name_of_a_folder(workdir: Path) -> None:
    made = sink(workdir, "a")
    made.inputs.outcomes = f"{workdir}/a"
    made.run()
    assert (workdir / "out/outcomes/a").exists()
    assert made.outcomes
    assert len(made.outcomes) == 2


def test_every_error_has_outcomes() -> None:
    assert type(DataSinkError().outcomes) is Outcomes
