"""Build the workflow of the demo, with a DataSink at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nipype import Function, IdentityInterface, Node, Workflow
from nipype.algorithms.confounds import TSNR, ComputeDVARS, FramewiseDisplacement

from nipype_datasink import DataSink
from nipype_datasink.demo.nodes import assess, brain_mask, convert, enlarge, estimate_motion
from nipype_datasink.demo.series import real_series


def build_workflow(
    base_directory: str,
    local_copy: Path,
    working_directory: Path,
    *,
    endpoint_url: str | None = None,
) -> Workflow:
    """Build a workflow that computes motion, temporal SNR, DVARS and quality of every series.

    Parameters
    ----------
    base_directory
        Destination of the outputs: ``s3://bucket/prefix``, or a directory.
    local_copy
        Directory that gets a copy of every output.
    working_directory
        Working directory of nipype.
    endpoint_url
        Address of an S3-compatible store; None for AWS.

    Returns
    -------
    nipype.Workflow
        Workflow that can be run with any plugin.
    """
    workflow = Workflow(name="demo", base_dir=str(working_directory))
    workflow.config["execution"] = {
        "crashdump_dir": str(working_directory),
        "stop_on_first_crash": "true",
    }
    subjects = Node(IdentityInterface(["subject_id"]), name="subjects")
    subjects.iterables = ("subject_id", list(real_series()))
    datasink = _datasink(base_directory, local_copy, endpoint_url)
    workflow.connect(subjects, "subject_id", datasink, "container")
    _connect_analysis(workflow, subjects, datasink)
    return workflow


def _datasink(base_directory: str, local_copy: Path, endpoint_url: str | None) -> Node:
    datasink = Node(DataSink(), name="datasink")
    datasink.inputs.base_directory = base_directory
    datasink.inputs.local_copy = str(local_copy)
    datasink.inputs.encrypt_bucket_keys = True
    if endpoint_url is not None:
        datasink.inputs.s3_endpoint_url = endpoint_url
    datasink.inputs.substitutions = [
        ("fd_power_2012", "framewise_displacement"),
        ("_bold_dvars_std", "_dvars"),
    ]
    datasink.inputs.regexp_substitutions = [(r"/_subject_id_sub\d+", "")]
    return datasink


def _connect_analysis(workflow: Workflow, subjects: Node, datasink: Node) -> None:
    series = _function_node(convert, "bold")
    series.inputs.series = {subject: str(path) for subject, path in real_series().items()}
    motion = _function_node(estimate_motion, "parameters")
    displacement = Node(FramewiseDisplacement(parameter_source="SPM"), name="displacement")
    tsnr = Node(TSNR(), name="tsnr")
    mask = _function_node(brain_mask, "mask")
    mean = _function_node(enlarge, "fine", "pair")
    dvars = Node(ComputeDVARS(), name="dvars")
    quality = _function_node(assess, "folder")
    workflow.connect(subjects, "subject_id", series, "subject_id")
    workflow.connect(series, "bold", motion, "in_file")
    workflow.connect(series, "bold", tsnr, "in_file")
    workflow.connect(motion, "parameters", displacement, "in_file")
    workflow.connect(tsnr, "mean_file", mask, "mean_file")
    workflow.connect(tsnr, "mean_file", mean, "mean_file")
    workflow.connect([(series, dvars, [("bold", "in_file")]), (mask, dvars, [("mask", "in_mask")])])
    workflow.connect([(series, quality, [("bold", "bold")]), (mask, quality, [("mask", "mask")])])
    workflow.connect(displacement, "out_file", quality, "displacement")
    workflow.connect(dvars, "out_std", quality, "dvars")

    workflow.connect(motion, "parameters", datasink, "motion.@par")
    workflow.connect(displacement, "out_file", datasink, "motion.@fd")
    workflow.connect(dvars, "out_std", datasink, "motion.@dvars")
    workflow.connect(tsnr, "tsnr_file", datasink, "tsnr")
    workflow.connect(mask, "mask", datasink, "mean.@mask")
    workflow.connect(mean, "fine", datasink, "mean.@fine")
    workflow.connect(mean, "pair", datasink, "mean.@pair")
    workflow.connect(quality, "folder", datasink, "@qa")


def _function_node(function: Callable[..., object], *outputs: str) -> Node:
    return Node(Function(function=function, output_names=list(outputs)), name=function.__name__)
