"""A script with two workflows like those of public packages, with functions instead of tools.

The first resembles t1-linear of clinica: it connects containers, rules and the identifier of each
image. The second resembles the group connectivity of niflow: it connects the identifier of a group,
and an interface names an output that it does not write.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conftest import tree

SCRIPT = '''
import json, os, sys
from nipype import Function, IdentityInterface, JoinNode, Node, Workflow
from nipype.interfaces.io import DataSink
from nipype.interfaces.utility import Merge

IMAGES = ["sub-01/ses-M00/anat/sub-01_ses-M00_T1w", "sub-02/ses-M12/anat/sub-02_ses-M12_T1w"]


def identifier_of(image):
    return image.split("/")[-1]


def container_of(image):
    return "subjects/" + "/".join(image.split("/")[:2])


def rules_of(image):
    name = image.split("/")[-1]
    return [(r"/t1_linear/_image_[^/]*/", "/t1_linear/"), (r"(Warped|Affine)", name + r"_\\1")]


def register(image):
    from pathlib import Path

    made = [Path(name).resolve() for name in ("Warped.nii.gz", "Affine.mat")]
    for path in made:
        path.write_text(image + path.name)
    return [str(path) for path in made]


def with_name(container, name):
    return container + "/" + name


def t1_linear():
    workflow = Workflow(name="t1", base_dir=os.path.abspath("work"))
    image = Node(IdentityInterface(["image"]), name="image", iterables=[("image", IMAGES)])
    write = Node(DataSink(base_directory=os.path.abspath("caps")), name="write")
    nodes = {}
    for function, output in [
        (identifier_of, "image_id"),
        (container_of, "container"),
        (rules_of, "regexp_substitutions"),
        (register, ["outfile_reg", "affine_mat"]),
    ]:
        names = [output] if isinstance(output, str) else output
        nodes[function.__name__] = node = Node(
            Function(function=function, output_names=names), name=function.__name__
        )
        workflow.connect(image, "image", node, "image")
    workflow.connect(nodes["identifier_of"], "image_id", write, "@image_id")
    workflow.connect(
        nodes["container_of"], ("container", with_name, "t1_linear"), write, "container"
    )
    workflow.connect(
        nodes["rules_of"], "regexp_substitutions", write, "regexp_substitutions"
    )
    workflow.connect(nodes["register"], "outfile_reg", write, "@outfile_reg")
    workflow.connect(nodes["register"], "affine_mat", write, "@affine_mat")
    return workflow


def segment(subject):
    """Return a file that is not written, as FSL's FAST does."""
    from pathlib import Path

    made = [Path(subject + ending).resolve() for ending in ("_seg.nii.gz", "_mixeltype.nii.gz")]
    made[0].write_text(subject)
    return [str(path) for path in made]


def matrix_of(segments, group):
    from pathlib import Path

    path = Path("matrix.cff").resolve()
    path.write_text(group + "".join(Path(each).read_text() for each in sorted(segments)))
    return str(path)


def connectivity():
    workflow = Workflow(name="group", base_dir=os.path.abspath("work"))
    group = Node(IdentityInterface(["group_id"], group_id="patients"), name="group")
    subject = Node(IdentityInterface(["subject"]), name="subject")
    subject.iterables = [("subject", ["s1", "s2"])]
    segmented = Node(Function(function=segment, output_names=["seg", "mixeltype"]), name="fast")
    both = Node(Merge(2), name="both")
    matrix = JoinNode(
        Function(function=matrix_of, output_names=["out"]),
        name="matrix", joinsource="subject", joinfield=["segments"],
    )
    sink = Node(DataSink(base_directory=os.path.abspath("connectivity")), name="l1output")
    group_sink = sink.clone("l2output")
    workflow.connect([
        (subject, segmented, [("subject", "subject")]),
        (segmented, both, [("seg", "in1"), ("mixeltype", "in2")]),
        (segmented, matrix, [("seg", "segments")]),
        (group, matrix, [("group_id", "group")]),
        (both, sink, [("out", "subject.@all")]),
        (group, sink, [("group_id", "@group_id")]),
        (group, group_sink, [("group_id", "@group_id"), ("group_id", "container")]),
        (matrix, group_sink, [("out", "cff.@matrix")]),
    ])
    return workflow


if __name__ == "__main__":
    plugin, execution = map(json.loads, sys.argv[1:])
    for workflow in (t1_linear(), connectivity()):
        workflow.config["execution"].update(
            crashdump_dir=os.path.abspath("crashes"), poll_sleep_duration="0.1", **execution
        )
        workflow.run(**plugin)
'''

IMPORT = "from nipype.interfaces.io import DataSink"

# How the script gets this library's class, and the setting to skip missing sources.
INSTALLATIONS = {
    "install-nipype.cfg": (f"import nipype_datasink; nipype_datasink.install()\n{SCRIPT}", ()),
    "import-workflow": (SCRIPT.replace(IMPORT, "from nipype_datasink import DataSink"), ()),
    "run-missing": (SCRIPT, ("-m", "nipype_datasink", "run", "--missing", "skip")),
}


def run_shapes(
    installation: str | None, plugin: Mapping[str, Any], directory: Path
) -> dict[str, bytes]:
    """Run both workflows in a directory; return the files that their sinks delivered.

    Parameters
    ----------
    way
        One of `WAYS`; None for nipype's own class.
    plugin
        Arguments of ``Workflow.run``.
    directory
        Working directory of the script.
    """
    text, python = INSTALLATIONS[installation] if installation else (SCRIPT, ())
    (directory / "script.py").write_text(text)
    if installation == "install-nipype.cfg":
        (directory / "nipype.cfg").write_text("[execution]\ndatasink_missing = skip\n")
    execution = {"datasink_missing": "skip"} if installation == "import-workflow" else {}
    command = [sys.executable, *python, "script.py", json.dumps(plugin), json.dumps(execution)]
    done = subprocess.run(
        command, cwd=directory, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        f"{place}/{name}": data
        for place in ("caps", "connectivity")
        for name, data in tree(directory / place).items()
        if data is not None
    }
