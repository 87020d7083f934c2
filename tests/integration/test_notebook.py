"""What a notebook shows while a sink runs, after it, and after an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.integration.conftest import Count

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

SETUP = """
import os
from nipype import config
from nipype_datasink import DataSink, adaptive
from nipype_datasink.delivery import progress, progress_display

config.set_default_config()
adaptive._WAITING_SECONDS = 60  # one thread, which shows each file
progress._FIRST_SECONDS = 0  # as if the delivery took long
progress_display.Bar.seconds = 0  # each change is shown
sink = DataSink(base_directory=os.path.abspath("out"), local_hardlink=False)
sink.inputs.x = os.path.abspath("in")
"""
WITHOUT_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"
CELLS = [
    "result = sink.run()",
    "sink.outcomes",
    "sink.plan()",
    "sink.inputs.base_directory = 's3://no-such-bucket-of-ours'\nsink.run()",
    "%xmode Verbose\nsink.run()",
]


def execute(folder: Path, *setup: str) -> Any:
    """Return an executed notebook; the outputs of its last cells are those of `CELLS`."""
    cells = [nbformat.v4.new_code_cell(source) for source in (*setup, SETUP, *CELLS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return notebook


def widgets(notebook: Any, output: Any) -> list[dict[str, Any]]:
    """Return the last states of a widget, its layout, and the widgets in it."""
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    box = states[output.data["application/vnd.jupyter.widget-view+json"]["model_id"]]["state"]
    parts = [box["layout"], *box["children"]]
    return [box, *(states[each.removeprefix("IPY_MODEL_")]["state"] for each in parts)]


def streams(outputs: list[Any], name: str) -> str:
    """Return what was written to standard output or standard error."""
    return "".join(each.text for each in outputs if each.get("name") == name)


@pytest.mark.parametrize("has_widgets", [True, False], ids=["widgets", "text"])
def test_a_notebook_shows_a_bar_outcomes_and_short_errors(
    has_widgets: bool,
    bucket: Bucket,
    endpoint: str,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: Count,
) -> None:
    files = count(5000, 200)
    (workdir / "in").mkdir()
    for number in range(files):
        (workdir / "in" / str(number)).write_bytes(b"x" * 1000)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("IPYTHONDIR", str(workdir / "ipython"))
    notebook = execute(workdir, *([] if has_widgets else [WITHOUT_WIDGETS]))
    run, outcomes, plan, error, verbose = [cell.outputs for cell in notebook.cells[-len(CELLS) :]]

    if has_widgets:
        _, layout, left, bar, right = widgets(notebook, run[0])
        assert (bar["max"], bar["value"], bar["bar_style"]) == (files * 1000, files * 1000, "")
        assert "copying:\u2007100%" in left["value"]
        assert f"{files:,}/{files:,}\u2007files" in right["value"]
        assert layout["visibility"] == "hidden"
    else:
        *_, last, blank, end = streams(run, "stderr").split("\r")
        assert "copying: 100%|" in last
        assert (blank.strip(), end) == ("", "")
    assert f"{files:,} new" in streams(run, "stdout")

    (shown_outcomes,), (shown_plan,) = outcomes, plan
    for shown in (shown_outcomes, shown_plan):
        assert shown.data["text/html"].startswith("<pre>")
        assert f"{files:,} files" in shown.data["text/html"]
        assert len(shown.data["text/plain"]) < 200

    assert error[-1].output_type == verbose[-1].output_type == "error"
    lines = "\n".join(error[-1].traceback).splitlines()
    assert "%tb Verbose" in lines[0]
    assert "sink.run()" in lines[2]
    assert "the bucket does not exist" in lines[3]
    assert len(lines) <= 60 + 3
    assert "botocore/" not in "".join(lines)
    assert "nipype_datasink/interface.py" in "".join(verbose[-1].traceback)
