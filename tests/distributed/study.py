"""The workflow of the demo with more nodes: 52 nodes, five series of real images."""

from __future__ import annotations

from pathlib import Path

from nipype import Function, JoinNode, MapNode, Workflow
from nipype.interfaces.base import Undefined

from nipype_datasink.demo.workflow import build_workflow

__all__ = ["study"]


def mean_of(in_file: str, half: int) -> str:
    """Save the mean of a series' first or second half."""
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    image = nb.Nifti1Image.from_filename(in_file)
    volumes = np.array_split(image.get_fdata(), 2, axis=3)[half]
    out_file = Path(f"half{half}.nii").resolve()
    nb.Nifti1Image(volumes.mean(axis=3), image.affine).to_filename(out_file)
    return str(out_file)


def table_of(folders: list[str]) -> str:
    """Write a folder with the summaries of all subjects."""
    from pathlib import Path

    folder = Path("group").resolve()
    folder.mkdir(exist_ok=True)
    rows = [(Path(each) / "summary.json").read_text() for each in folders]
    (folder / "all.jsonl").write_text("".join(" ".join(row.split()) + "\n" for row in rows))
    return str(folder)


def study(
    base_directory: str,
    working_directory: Path,
    *,
    local_copy: Path | None = None,
    endpoint_url: str | None = None,
) -> Workflow:
    """Return a workflow with iterables, a MapNode, a JoinNode, folders and large files."""
    workflow = build_workflow(
        base_directory, local_copy or Path(), working_directory, endpoint_url=endpoint_url
    )
    workflow.config["execution"]["poll_sleep_duration"] = "0.1"
    sink = workflow.get_node("datasink")
    if local_copy is None:
        sink.inputs.local_copy = Undefined
    group_sink = sink.clone("group_datasink")
    group_sink.inputs.container = "group"
    halves = MapNode(
        Function(function=mean_of, output_names=["mean"]), iterfield=["half"], name="halves"
    )
    halves.inputs.half = [0, 1]
    group = JoinNode(
        Function(function=table_of, output_names=["folder"]),
        joinsource="subjects",
        joinfield="folders",
        name="group",
    )
    workflow.connect(workflow.get_node("convert"), "bold", halves, "in_file")
    workflow.connect(halves, "mean", sink, "halves")
    workflow.connect(workflow.get_node("assess"), "folder", group, "folders")
    workflow.connect(group, "folder", group_sink, "@table")
    return workflow
