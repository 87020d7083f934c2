"""Random pipelines of the model, and the workflows of nipype that do what they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from nipype import Function, IdentityInterface, JoinNode, MapNode, Node, Workflow
from nipype.interfaces.utility import Merge

from nipype_datasink import DataSink
from tests.machines.sinks import make_sink
from tests.model import Sink
from tests.salvage_model import ITEMS, SUBJECT, Pipeline, SinkNode, Step
from tests.workflows.failing_study import StudyDirectory

# No two sources have one destination, whatever rules are drawn.
_SUBSTITUTIONS = [("_subject_", "sub-"), ("/func/", "/bold/"), (".dir", ".d/x"), ("a_all", "A")]
_FIELDS = ["func", "anat.@x", "@flat"]


@st.composite
def _pipelines(draw: Any) -> Pipeline:
    """Draw a pipeline of up to three steps and two sinks."""
    subjects = draw(st.sampled_from([(), ("a",), ("a", "b"), ("a", "b"), ("b", "a")]))
    steps: list[Step] = []
    for name in ("one", "two", "three")[: draw(st.sampled_from([1, 2, 3, 3]))]:
        steps.append(_draw_step(draw, name, Pipeline(tuple(steps), (), subjects)))
    names = ("sink", "other")[: draw(st.integers(1, 2))]
    sinks = [_draw_sink(draw, name, steps, has_subjects=bool(subjects)) for name in names]
    return Pipeline(tuple(steps), tuple(sinks), subjects)


def _draw_sink(draw: Any, name: str, steps: list[Step], *, has_subjects: bool) -> SinkNode:
    names = [step.name for step in steps]
    each = st.permutations(names).map(lambda chosen: dict(zip(_FIELDS, chosen, strict=False)))
    some = st.dictionaries(st.sampled_from(_FIELDS), st.sampled_from(names), min_size=1)
    fields = draw(each | each | some)
    containers = ["", "", "", *[SUBJECT, SUBJECT] * has_subjects]
    containers += [step.name for step in steps if step.kind == "file"]
    container = draw(st.sampled_from(containers))
    through_function = draw(st.sampled_from([(), (), (), tuple(fields)[:1]]))
    return SinkNode(name, fields, container, through_function, draw(_rules))


_rules = st.builds(
    Sink,
    st.just({}),
    container=st.sampled_from(["", "all/c"]),
    substitutions=st.lists(st.sampled_from(_SUBSTITUTIONS), max_size=2, unique=True).map(tuple),
    parameterization=st.booleans(),
    remove_dest_dir=st.sampled_from([True, True, False]),
    hard_links=st.just(value=True),
    manifests=st.sampled_from(["", "beside"]),
)


PIPELINES = _pipelines()


def _draw_step(draw: Any, name: str, before: Pipeline) -> Step:
    files = [step.name for step in before.steps if step.kind in ("file", "items", "each", "join")]
    own = [step.name for step in before.steps if before.subjects_of(step.name) != ("",)]
    choices = [Step(name, kind) for kind in ("file", "folder", "folder", "items")]
    choices += [Step(name, kind, (each,)) for each in files for kind in ("file", "items", "folder")]
    choices += [
        Step(name, "each", (step.name,)) for step in before.steps if step.kind in ("items", "each")
    ]
    choices += [Step(name, "join", (each,)) for each in own if each in files]
    choices += [Step(name, "collect", (each,)) for each in own]
    names = [step.name for step in before.steps]
    choices += [Step(name, "merge", tuple(names))] * (len(names) > 1)
    return draw(st.sampled_from(choices))


def write(  # noqa: PLR0917 - nipype finds its inputs only among those that may be positional
    name: str,
    version: int,
    kind: str,
    directory: str,
    subject: str = "",
    item: str = "",
    before: object = (),
) -> tuple[str, str]:
    """Write a file or a folder, or fail if that is in the list of what is to fail."""
    import uuid
    from pathlib import Path

    from nipype.utils.filemanip import ensure_list
    from nipype.utils.misc import flatten

    label = f"{name}-{subject or 'all'}{item}"
    Path(directory, "ran", f"{label}.{uuid.uuid4().hex}").touch()
    if label in Path(directory, "failing").read_text().split():
        raise RuntimeError(f"{label} was to fail")
    inputs = ", ".join(Path(each).read_text() for each in flatten(ensure_list(before)))
    path = Path(f"{label.replace('-', '_')}.dir").resolve()
    files = [path / "x.txt", path / "in" / "y.txt"] if kind == "folder" else [path]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{label} {version} [{inputs}]")
    return str(path), label


def whole(value: object) -> object:
    """Return the value of a connection, which nipype has only if all of it is known."""
    return value


def build(pipeline: Pipeline, versions: Mapping[str, int], study: StudyDirectory) -> Workflow:
    """Return the workflow of a pipeline."""
    workflow = study.empty_workflow()
    workflow.config["execution"] |= {"create_report": "false"}
    subjects = Node(IdentityInterface(["subject"]), name="subjects")
    subjects.iterables = ("subject", list(pipeline.subjects))
    nodes: dict[str, Node] = {}
    for step in pipeline.steps:
        node = nodes[step.name] = _node(step, versions[step.name], study.directory)
        workflow.add_nodes([node])
        if step.kind != "merge" and pipeline.subjects_of(step.name) != ("",):
            workflow.connect(subjects, "subject", node, "subject")
        fields = {"merge": ["in1", "in2"], "collect": ["out"]}.get(step.kind, ["before"])
        for before, name in zip(step.after, fields, strict=False):
            workflow.connect(nodes[before], "out", node, name)
    for sink in pipeline.sinks:
        _connect_sink(workflow, sink, subjects, study)
    return workflow


def _node(step: Step, version: int, directory: Path) -> Node:
    if step.kind == "merge":
        return Node(Merge(2), name=step.name)
    if step.kind == "collect":
        interface, field = IdentityInterface(["out"]), "out"
    else:
        interface, field = Function(function=write, output_names=["out", "label"]), "before"
    if step.kind in ("collect", "join"):
        node = JoinNode(interface, joinsource="subjects", joinfield=field, name=step.name)
    elif step.kind in ("items", "each"):
        fields = ["item", "before"] if step.kind == "each" else ["item"]
        node = MapNode(interface, iterfield=fields, name=step.name)
        node.inputs.item = list(ITEMS)
    else:
        node = Node(interface, name=step.name)
    if step.kind != "collect":  # of a JoinNode, nipype ignores what was set before
        node.inputs.trait_set(
            name=step.name, version=version, kind=step.kind, directory=str(directory)
        )
    return node


def _connect_sink(
    workflow: Workflow, sink: SinkNode, subjects: Node, study: StudyDirectory
) -> None:
    interface = make_sink(DataSink, sink.rules, str(study.out / "base"))
    if sink.rules.manifests:
        interface.inputs.sink_manifest_dir = str(study.directory / "manifests")
    node = Node(interface, name=sink.name)
    for field, step in sink.fields.items():
        output = ("out", whole) if field in sink.through_function else "out"
        workflow.connect(workflow.get_node(step), output, node, field)
    if sink.container == SUBJECT:
        workflow.connect(subjects, "subject", node, "container")
    elif sink.container:
        workflow.connect(workflow.get_node(sink.container), "label", node, "container")
