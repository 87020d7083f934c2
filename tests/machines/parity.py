"""Compare the model with nipype's own class."""

from __future__ import annotations

import shutil
from pathlib import Path

from nipype.interfaces.io import DataSink

from tests.machines.checks import Seen, assert_same
from tests.machines.disk import make, read_tree
from tests.machines.sinks import make_sink
from tests.model import Expected, Sink


def check_nipype(root: Path, sink: Sink, before: Seen, want: Expected) -> set[str]:
    """Run nipype's class in a directory of its own; return the new hard links.

    Parameters
    ----------
    root
        The directory. It is removed afterwards.
    sink
        Inputs of the sink.
    before
        What exists there before the run.
    want
        What the model says of the run.
    """
    for path, data in before.files.items():
        make(root / path, data)
    made = make_sink(DataSink, sink, f"{root}/base")
    out_file = [path.removeprefix(f"{root}/") for path in made.run().outputs.out_file]
    seen = read_tree(root)
    shutil.rmtree(root, ignore_errors=True)
    assert_same(seen.files, want.after(before.files), "nipype's class, not the model")
    assert out_file == want.out_file, f"nipype reports {out_file}, the model {want.out_file}"
    return seen.linked - before.files.keys()
