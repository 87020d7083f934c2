"""A list in the directory of a node names what was not delivered."""

from __future__ import annotations

from pathlib import Path

from nipype_datasink.delivery.not_delivered import FILE_NAME, remove_list, write_list
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.planning.sources import Problem


def outcome(name: str, status: Status) -> Outcome:
    transfer = FileTransfer(source=name, destination=f"/out/{name}", size=1)
    return Outcome(transfer=transfer, status=status, cause=OSError("full\t1\n2"))


def test_all_that_was_not_delivered_is_named(workdir: Path) -> None:
    outcomes = [
        outcome("a\t", Status.FAILED),
        outcome("b", Status.NEW),
        outcome("c", Status.UNCHANGED),
        outcome("d", Status.NOT_TRIED),
    ]
    missing = [Problem("x", "/w/gone", "does not exist")]
    path = write_list(str(workdir), outcomes, missing)
    assert path == str(workdir / FILE_NAME)
    assert Path(path).read_text() == (
        "destination\tstatus\tcause\n"
        "/out/a\\t\tfailed\tfull\\t1\\n2\n"
        "/out/d\tnot tried\tfull\\t1\\n2\n"
        "\tmissing\tx: /w/gone does not exist\n"
    )
    remove_list(str(workdir))
    assert not list(workdir.iterdir())


def test_a_directory_that_cannot_be_written_to_gets_no_list(workdir: Path) -> None:
    assert write_list(f"{workdir}/none", [], []) is None
    remove_list(f"{workdir}/none")


def test_without_a_node_there_is_no_list(workdir: Path) -> None:
    assert write_list(None, [outcome("a", Status.FAILED)], []) is None
    remove_list(None)
    assert not list(workdir.iterdir())
