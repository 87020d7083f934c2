"""Test that an error in one connection does not hide what is known of other sinks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from nipype import JoinNode, MapNode, Node, Workflow
from nipype.interfaces.base import Undefined
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import utils as engine

from nipype_datasink import DataSink, check, plan
from nipype_datasink.errors import SettingsError
from nipype_datasink.workflows.expansion import _failures_recorded
from tests.conftest import tree
from tests.workflows.examples import SUBJECTS, bold_workflow, function_node, sink_node, write_bold

BOOM = "function fail failed: RuntimeError: boom"


def fail(value: object) -> object:
    raise RuntimeError("boom")


def number(value: object) -> object:
    return 1


def with_second_sink(
    function: Any, source: str = "subjects", output: str = "subject_id"
) -> Workflow:
    """Return a workflow of two sinks; the container of the second comes from a function."""
    workflow, other = bold_workflow(), sink_node("other")
    workflow.connect(workflow.get_node("preproc"), "out", other, "func")
    workflow.connect(workflow.get_node(source), (output, function), other, "container")
    return workflow


def test_failing_function_of_a_connection_is_an_error_of_its_sink(workdir: Path) -> None:
    planned = plan(with_second_sink(fail))

    assert planned.errors == tuple(
        f"wf.other[subject_id={subject}]: container <- subjects.subject_id: {BOOM}"
        for subject in SUBJECTS
    )
    (first, _, second, _) = planned.destinations
    folders = "func/_subject_id_sub-01/{preproc.out}"
    assert {first, second} == {
        f"{workdir}/out/sub-01/{folders}",
        f"{workdir}/out/{{subjects.subject_id}}/{folders}",
    }
    assert not planned.ok


def test_failing_function_also_takes_an_output_that_is_not_known_yet(workdir: Path) -> None:
    workflow = with_second_sink(fail)
    other = workflow.get_node("other")
    workflow.connect(workflow.get_node("preproc"), ("out", fail), other, "qa")

    (_, _, run, _) = plan(workflow).sinks

    assert run.error == f"container <- subjects.subject_id: {BOOM}"
    assert [each.field for each in run.predictions] == ["func", "qa"]


def test_function_that_fails_with_the_result_of_a_finished_node(workdir: Path) -> None:
    bold_workflow().run(plugin="Linear")

    planned = plan(with_second_sink(fail, "preproc", "out"))

    assert planned.errors[0] == (
        f"wf.other[subject_id={SUBJECTS[0]}]: container <- preproc.out: {BOOM}"
    )


def test_result_of_a_wrong_type_is_an_error_of_its_sink(workdir: Path) -> None:
    bold_workflow().run(plugin="Linear")

    planned = plan(with_second_sink(number, "preproc", "out"))

    assert "container <- preproc.out: TraitError: The 'container' trait" in planned.errors[0]


def in_private_bucket(value: object) -> object:
    return "s3://user:secret@bucket"


def test_value_that_the_sink_refuses_is_an_error_of_it(workdir: Path) -> None:
    workflow, other = bold_workflow(), sink_node("other")
    workflow.connect(
        workflow.get_node("preproc"), ("out", in_private_bucket), other, "base_directory"
    )
    with pytest.raises(Exception, match="contains a user name or password"):
        workflow.run(plugin="Linear")

    planned = plan(workflow)

    assert "base_directory <- preproc.out: SettingsError: base_directory: the" in planned.errors[0]
    assert "secret" not in str(planned)


def test_join_node_of_which_an_input_takes_no_list_is_an_error_of_it(workdir: Path) -> None:
    workflow = bold_workflow()
    group = JoinNode(
        sink_node("group").interface, joinsource="subjects", joinfield="container", name="group"
    )
    workflow.connect(workflow.get_node("subjects"), "subject_id", group, "container")

    planned = plan(workflow)

    (error,) = planned.errors
    assert error.startswith("wf.group: TraitError: The 'container' trait")
    assert len(planned.destinations) == 2
    assert not check(workflow).ok


@pytest.mark.parametrize(
    ("containers", "message"), [(["a", "b"], "the same length"), ([], "was not set")]
)
def test_map_node_that_nipype_would_refuse_is_an_error(
    workdir: Path, containers: list[str], message: str
) -> None:
    interface = DataSink(infields=["anat"], base_directory=str(workdir))
    node = MapNode(interface, iterfield=["anat", "container"], name="each")
    node.inputs.anat, node.inputs.container = ["a.nii", "b.nii", "c.nii"], containers
    workflow = Workflow("wf", base_dir=str(workdir / "work"))
    workflow.add_nodes([node])

    (error,) = plan(workflow).errors

    assert error.startswith("wf.each: ValueError: ")
    assert message in error
    assert "\n" not in error


def test_check_goes_on_after_a_function_has_failed(workdir: Path) -> None:
    report = check(with_second_sink(fail))

    assert not report.ok
    assert f"container <- subjects.subject_id: {BOOM}" in " ".join(str(report).split())
    assert str(workdir / "out") in [each.place for each in report.places]
    assert tree(workdir) == {}


def test_failing_function_of_another_node_names_the_workflow(workdir: Path) -> None:
    workflow = bold_workflow()
    node = function_node(write_bold, name="other")
    workflow.connect(workflow.get_node("subjects"), ("subject_id", fail), node, "subject_id")

    with pytest.raises(SettingsError, match=f"^workflow wf cannot be expanded: {BOOM}$"):
        plan(workflow)


def test_failing_function_before_an_identity_names_the_workflow(workdir: Path) -> None:
    workflow = bold_workflow()
    passing, other = Node(IdentityInterface(["x"]), name="passing"), sink_node("other")
    workflow.connect(workflow.get_node("subjects"), ("subject_id", fail), passing, "x")
    workflow.connect(passing, "x", other, "container")

    with pytest.raises(SettingsError, match=BOOM):
        plan(workflow)


def test_workflow_that_nipype_cannot_expand_is_an_error(workdir: Path) -> None:
    workflow = bold_workflow()
    workflow.get_node("preproc").itersource = ("nobody", ["x"])
    workflow.get_node("preproc").iterables = [("subject_id", {"a": ["b"]})]

    with pytest.raises(SettingsError, match=r"^workflow wf cannot be expanded: "):
        plan(workflow)


def test_function_fails_as_with_nipype_in_another_thread() -> None:
    source = "def fail(value):\n    raise RuntimeError('boom')\n"
    with _failures_recorded() as errors, ThreadPoolExecutor(1) as pool:
        with pytest.raises(RuntimeError, match="boom"):
            pool.submit(engine.evaluate_connect_function, source, (), 1).result()
        assert not errors
        assert engine.evaluate_connect_function(source, (), 1) is Undefined
        assert list(errors.values()) == [BOOM]
