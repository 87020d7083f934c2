"""Test what the plan of a workflow shows: destinations, clashes and errors."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nipype import Node, Workflow
from nipype.interfaces.io import SelectFiles

from nipype_datasink import DataSink, plan
from tests.workflows.examples import (
    SUBJECTS,
    bold_workflow,
    function_node,
    make_file,
    new_workflow,
    sink_node,
    subjects_node,
    write_bold,
)

BOLD = """\
wf.datasink -> s3://lab/deriv                                             2 runs
  subject_id=sub-01
    func  <- preproc.out    s3://lab/deriv/sub-01/func/_subject_id_sub-01/{preproc.out}
  subject_id=sub-02
    func  <- preproc.out    s3://lab/deriv/sub-02/func/_subject_id_sub-02/{preproc.out}
2 destinations; names in {braces} are known when the node has run"""


def test_plan_as_text(workdir: Path) -> None:
    planned = plan(bold_workflow(sink_node(base_directory="s3://lab/deriv")))

    assert str(planned) == BOLD
    assert (
        planned._repr_html_() == f"<pre>{BOLD.replace('->', '-&gt;').replace('<-', '&lt;-')}</pre>"
    )


NARROW = """\
  subject_id=sub-01
    func  <- preproc.out
        s3://lab/deriv/sub-01/func/_subject_id_sub-01/{preproc.out}
  subject_id=sub-02
"""


@pytest.mark.parametrize(("is_terminal", "columns"), [(True, 80), (True, 200), (False, 80)])
def test_long_destinations_have_a_line_of_their_own_on_a_narrow_terminal(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool, columns: int
) -> None:
    planned = plan(bold_workflow(sink_node(base_directory="s3://lab/deriv")))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", str(columns))

    shown = str(planned)

    assert (NARROW in shown) == (is_terminal and columns == 80)
    assert (shown == BOLD) == (NARROW not in shown)


ANAT = """\
wf.datasink -> /out, copy in /copy                                        2 runs
  subject_id=sub-01
    anat  <- {source}
                            /out/sub-01/anat/t1.nii
                            /copy/sub-01/anat/t1.nii
    func  <- preproc.out    /out/sub-01/func/{{preproc.out}}
                            /copy/sub-01/func/{{preproc.out}}
    ignored: @group: patients is not the name of a file
  subject_id=sub-02
    anat  <- {source}
                            /out/sub-02/anat/t1.nii
                            /copy/sub-02/anat/t1.nii
    func  <- preproc.out    /out/sub-02/func/{{preproc.out}}
                            /copy/sub-02/func/{{preproc.out}}
    ignored: @group: patients is not the name of a file
  removes what else is in the folders that it delivers (remove_dest_dir)
  the substitutions will also apply to the names in braces
8 destinations; names in {{braces}} are known when the node has run"""


def test_plan_as_text_shows_sources_copies_and_remarks(workdir: Path) -> None:
    source = make_file("given/t1.nii", "x")
    node = sink_node(base_directory="/out", local_copy="/copy", anat=source)
    setattr(node.inputs, "@group", "patients")
    node.inputs.remove_dest_dir = True
    node.inputs.regexp_substitutions = [("/_subject_id_[^/]*", "")]

    assert str(plan(bold_workflow(node))) == ANAT.format(source=source)


def test_finished_outputs_are_shown_with_the_name_of_their_node(workdir: Path) -> None:
    workflow = bold_workflow(sink_node(parameterization=False))
    workflow.run(plugin="Linear")

    planned = plan(workflow)

    assert f"func  <- preproc.out    {workdir}/out/sub-01/func/sub-01_bold.nii.gz" in str(planned)
    assert planned.as_json()["sinks"][0]["destinations"] == [
        {
            "field": "func",
            "source": str(workdir / "work/wf/_subject_id_sub-01/preproc/sub-01_bold.nii.gz"),
            "output": "preproc.out",
            "destination": str(workdir / "out/sub-01/func/sub-01_bold.nii.gz"),
            "known": True,
            "folders": False,
            "missing": False,
        }
    ]


def test_control_characters_are_escaped(workdir: Path) -> None:
    source = make_file("given/\x1b[2J.nii", "x")

    assert "\x1b" not in str(plan(sink_node(x=source)))


def test_plan_as_json_has_each_destination(workdir: Path) -> None:
    planned = plan(bold_workflow())

    def found(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (text for key, text in value.items() if key == "destination")
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from found(item)

    value = json.loads(json.dumps(planned.as_json()))
    assert tuple(found(value)) == planned.destinations
    assert len(planned.destinations) == 2


def test_each_key_of_the_json_is_documented(workdir: Path) -> None:
    sink = sink_node(x=make_file("1/f", "one"), substitutions=[("absent", "")])
    page = Path(__file__).parents[2] / "docs" / "command.md"
    table = page.read_text().partition("| key of `plan --json` |")[2].partition("\n\n")[0]

    def keys(value: Any) -> Iterator[str]:
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from each
                yield from (key for inner in each.values() for key in keys(inner))

    found = set(keys(plan(sink, compare=True).as_json()))
    assert found - set(re.findall(r"`(\w+)`", table)) == set()
    assert {"unused", "rule", "new", "bytes_to_send"} <= found


# Clashes


def subjects_into_one_folder() -> Workflow:
    workflow = bold_workflow(sink_node(parameterization=False))
    workflow.disconnect(
        workflow.get_node("subjects"), "subject_id", workflow.get_node("datasink"), "container"
    )
    return workflow


def test_runs_with_equal_destinations_possibly_clash(workdir: Path) -> None:
    planned = plan(subjects_into_one_folder())

    (clash,) = planned.possible
    assert clash.destination == str(workdir / "out/func/{preproc.out}")
    assert clash.sinks == tuple(f"wf.datasink[subject_id={subject}]" for subject in SUBJECTS)
    assert f"POSSIBLE {clash.destination} " in str(planned)
    assert not planned.clashes
    assert planned.ok
    assert len(planned.destinations) == 1


def two_sinks(first: str, second: str) -> Workflow:
    workflow = Workflow("wf", base_dir="work")
    workflow.add_nodes([sink_node(name, x=path) for name, path in (("a", first), ("b", second))])
    return workflow


def test_known_destinations_with_different_bytes_clash(workdir: Path) -> None:
    planned = plan(two_sinks(make_file("1/f", "one"), make_file("2/f", "two")))

    (clash,) = planned.clashes
    assert (clash.destination, clash.sinks) == (str(workdir / "out/x/f"), ("wf.a", "wf.b"))
    assert not planned.ok
    assert f"CLASH {workdir}/out/x/f is written by wf.a, wf.b" in str(planned)


def test_known_destinations_with_equal_bytes_do_not_clash(workdir: Path) -> None:
    planned = plan(two_sinks(make_file("1/f", "one"), make_file("2/f", "one")))

    assert planned.ok
    assert len(planned.destinations) == 1


def test_sources_that_do_not_exist_are_missing_and_may_clash(workdir: Path) -> None:
    planned = plan(two_sinks("/gone/1/f", "/gone/2/f"))

    assert [each.is_missing for sink in planned.sinks for each in sink.predictions] == [True, True]
    assert len(planned.clashes) == 1
    assert planned.possible == ()
    assert str(planned).count("(does not exist)") == 2


def test_one_output_in_two_sinks_does_not_clash(workdir: Path) -> None:
    workflow = bold_workflow()
    other = sink_node("other")
    workflow.connect(workflow.get_node("preproc"), "out", other, "func")
    workflow.connect(workflow.get_node("subjects"), "subject_id", other, "container")

    planned = plan(workflow)

    assert (planned.clashes, planned.possible) == ((), ())
    assert len(planned.destinations) == 2


def test_files_found_by_a_node_with_iterables_possibly_clash(workdir: Path) -> None:
    workflow, subjects, sink = new_workflow(), subjects_node(), sink_node()
    found = Node(SelectFiles({"t1": "{subject}/t1.nii"}, base_directory=str(workdir)), name="found")
    workflow.connect(subjects, "subject_id", found, "subject")
    workflow.connect(found, "t1", sink, "anat")

    (clash,) = plan(workflow).possible

    assert clash.destination == str(workdir / "out/anat/{found.t1}")


def test_files_found_once_do_not_clash_with_themselves(workdir: Path) -> None:
    workflow = subjects_into_one_folder()
    sink = workflow.get_node("datasink")
    found = Node(SelectFiles({"t1": "t1.nii"}, base_directory=str(workdir)), name="found")
    workflow.disconnect(workflow.get_node("preproc"), "out", sink, "func")
    workflow.connect(found, "t1", sink, "anat")
    workflow.connect(workflow.get_node("subjects"), "subject_id", sink, "@subject")

    assert plan(workflow).possible == ()


@pytest.mark.parametrize("is_last_finished", [True, False])
def test_finished_run_possibly_clashes_with_one_that_has_not_finished(
    workdir: Path, is_last_finished: bool
) -> None:
    subjects_into_one_folder().run(plugin="Linear")
    shutil.rmtree(workdir / f"work/wf/_subject_id_{SUBJECTS[not is_last_finished]}/preproc")

    planned = plan(subjects_into_one_folder())

    (clash,) = planned.possible
    assert clash.destination == str(workdir / "out/func/{preproc.out}")
    assert clash.sinks == tuple(f"wf.datasink[subject_id={subject}]" for subject in SUBJECTS)
    assert len(planned.destinations) == 2


def test_nodes_that_run_every_time_are_named_with_their_last_results(workdir: Path) -> None:
    make_file("data/t1.nii", "x")
    workflow, copied = new_workflow(), function_node(write_bold, name="copied")
    found = Node(SelectFiles({"t1": "*.nii"}, base_directory=str(workdir / "data")), name="found")
    sink = sink_node(parameterization=False)
    workflow.connect(
        [(found, sink, [("t1", "t1")]), (found, copied, [(("t1", name_of), "subject_id")])]
    )
    workflow.connect(copied, "out", sink, "func")
    before = plan(workflow)
    workflow.run(plugin="Linear")

    planned = plan(workflow)

    assert all(sink.is_known for sink in planned.sinks)
    assert planned.always_run == ("wf.found",)
    assert planned.as_json()["always_run"] == ["wf.found"]
    assert "will run again: wf.found; results of the last run are shown\n" in str(planned)
    assert before.always_run == ()
    assert "last run" not in str(before)


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


def test_sink_whose_paths_go_to_another_sink_is_not_named(workdir: Path) -> None:
    workflow, last = bold_workflow(), sink_node("last")
    workflow.connect(workflow.get_node("datasink"), "out_file", last, "again")
    workflow.run(plugin="Linear")

    planned = plan(workflow)

    assert all(sink.is_known for sink in planned.sinks)
    assert planned.always_run == ()


# Errors


def test_sink_that_would_fail_is_an_error(workdir: Path) -> None:
    planned = plan(bold_workflow(sink_node(base_directory="gs://lab")))

    assert not planned.ok
    assert [sink.error.startswith("base_directory 'gs://lab'") for sink in planned.sinks] == (
        [True, True]
    )
    assert "ERROR wf.datasink[subject_id=sub-01]: base_directory 'gs://lab'" in str(planned)


def test_collision_in_one_sink_is_an_error_and_a_clash(workdir: Path) -> None:
    sources = [make_file("1/f", "one"), make_file("2/f", "two")]

    planned = plan(sink_node(x=sources))

    (error,), (clash,) = planned.errors, planned.clashes
    assert error.startswith(f"datasink: nothing would be written: {sources[0]} and {sources[1]} ")
    assert (clash.destination, clash.sinks) == (str(workdir / "out/x/f"), ("datasink",))
    assert f"CLASH {workdir}/out/x/f is written repeatedly by datasink\n" in str(planned)
    assert planned.destinations == (str(workdir / "out/x/f"),)


def test_sources_of_which_only_one_exists_do_not_clash_if_the_other_is_skipped(
    workdir: Path,
) -> None:
    sources = [make_file("1/f", "one"), "/gone/f"]
    first, second = (sink_node(name, x=sources, sink_missing="skip") for name in ("a", "b"))

    planned = plan(two_nodes(first, second))

    assert planned.ok
    assert planned.clashes == ()


def test_sink_with_a_missing_source_would_fail(workdir: Path) -> None:
    sink = sink_node("gone", x=["/gone/a.nii", make_file("b.nii", "b")])
    (workdir / "folder").mkdir()
    (workdir / "folder" / "c.nii").symlink_to("/gone/c.nii")
    folder = str(workdir / "folder")

    planned = plan(two_nodes(sink, sink_node("linked", y=folder)))

    advice = "; if this is optional, set sink_missing to 'skip'"
    assert planned.errors == (
        f"wf.gone: x: /gone/a.nii does not exist{advice}",
        f"wf.linked: y: {folder}/c.nii links to /gone/c.nii, which does not exist{advice}",
    )
    assert not planned.ok
    assert f"ERROR {planned.errors[0]}\n" in str(planned)
    assert f"{workdir}/out/x/a.nii  (does not exist)" in str(planned)
    assert str(planned).endswith("\n3 destinations; 2 sources are missing")
    for node in (sink, sink_node("linked", y=folder)):
        with pytest.raises(Exception, match="MissingSourceError"):
            node.run()


def test_missing_relative_source_is_explained_by_the_working_directory(workdir: Path) -> None:
    make_file("t1.nii", "x")

    (error,) = plan(two_nodes(sink_node("sink", x="t1.nii"), sink_node("other"))).errors

    path = workdir / "work/wf/sink/t1.nii"
    assert error == (
        f"wf.sink: x: {path} does not exist; relative paths are below the sink's working "
        "directory, so write absolute paths; if this is optional, set sink_missing to 'skip'"
    )


def test_only_some_of_many_missing_sources_are_named(workdir: Path) -> None:
    (error,) = plan(sink_node(x=[f"/gone/{number}" for number in range(6)])).errors

    assert error.count("does not exist") == 4
    assert "; 2 more; " in error


def test_missing_source_is_an_error_where_the_container_is_not_known(workdir: Path) -> None:
    workflow, sink = new_workflow(), sink_node(x="/gone/a.nii")
    workflow.connect(function_node(write_nothing_known), "out", sink, "container")

    (error,) = plan(workflow).errors
    assert error.startswith("wf.datasink: x: /gone/a.nii does not exist; ")


def write_nothing_known() -> str:
    return "group"


def test_missing_source_is_skipped_if_the_sink_allows_it(workdir: Path) -> None:
    planned = plan(sink_node(x="/gone/a.nii", sink_missing="skip"))

    assert planned.ok
    assert f"{workdir}/out/x/a.nii  (missing, skipped)\n" in str(planned)
    assert str(planned).endswith("\n1 destination; 1 source is missing")


@pytest.mark.parametrize("slashes", ["", "/"])
def test_source_is_not_missing_if_a_node_that_will_run_may_write_it(
    workdir: Path, slashes: str
) -> None:
    paths = ["work/wf/preproc/a.nii", "subjects/b.nii", "out/x/c.nii"]
    sink = sink_node(y=[f"{slashes}{workdir}/{path}" for path in paths])
    other = sink_node("other", x=make_file("given/c.nii", "c"))
    workflow, preproc = two_nodes(sink, other), function_node(write_bold, name="preproc")
    preproc.inputs.subject_id = f"{slashes}{workdir}/subjects"

    assert plan(workflow).errors[0].count("does not exist") == 2

    workflow.add_nodes([preproc])

    planned = plan(workflow)
    assert planned.ok
    assert not any(each.is_missing for each in planned.sinks[0].predictions)
    assert str(planned).endswith("\n4 destinations")


def two_nodes(first: Node, second: Node) -> Workflow:
    workflow = new_workflow()
    workflow.add_nodes([first, second])
    return workflow


def test_last_result_that_is_gone_is_not_missing_if_its_node_runs_again(workdir: Path) -> None:
    image = make_file("data/t1.nii", "x")
    workflow = new_workflow()
    found = Node(SelectFiles({"t1": "*.nii"}, base_directory=str(workdir / "data")), name="found")
    bold = function_node(write_bold, name="bold")
    bold.inputs.subject_id = "sub-01"
    sink = sink_node()
    workflow.connect([(found, sink, [("t1", "t1")]), (bold, sink, [("out", "bold")])])
    workflow.run(plugin="Linear")
    Path(image).unlink()
    assert plan(workflow).ok

    (workdir / "work/wf/bold/sub-01_bold.nii.gz").unlink()

    (error,) = plan(workflow).errors
    assert error.startswith("wf.datasink: bold: ")


class Failing(DataSink):
    def _get_dst(self, src: str) -> str:
        raise LookupError(src)


def test_error_of_an_overridden_method_is_that_of_its_sink(workdir: Path) -> None:
    planned = plan(bold_workflow(Node(Failing(base_directory="/out"), name="datasink")))

    assert planned.errors[0].startswith("wf.datasink[subject_id=sub-01]: LookupError: ")


# Other shapes


def test_sink_without_values_says_so(workdir: Path) -> None:
    assert str(plan(sink_node(base_directory="/out"))) == (
        "datasink -> /out\n  nothing is set or connected\n0 destinations"
    )


def test_workflow_without_sinks_says_so(workdir: Path) -> None:
    assert str(plan(Workflow("wf", base_dir="work"))) == "no sinks"


def test_relative_directories_are_those_of_the_node(workdir: Path) -> None:
    workflow = bold_workflow(sink_node(base_directory="out", anat="t1.nii"))

    planned = plan(workflow)

    node = workdir / "work/wf/_subject_id_sub-01/datasink"
    assert planned.sinks[0].bases == (str(node / "out"),)
    assert planned.sinks[0].predictions[0].source == str(node / "t1.nii")


def test_directory_of_the_node_as_base_causes_one_warning_for_all_runs(workdir: Path) -> None:
    relative = bold_workflow(sink_node(base_directory="out", local_copy="~/copy"))
    not_set = bold_workflow(Node(DataSink(), name="datasink"))
    absolute = bold_workflow(sink_node(base_directory="s3://mybucket/x", local_copy="/copy"))
    invalid = bold_workflow(sink_node(base_directory="s3:/mybucket"))

    warning = (
        "wf.datasink: base_directory 'out' is relative, so files go to the sink's working "
        "directory; write an absolute path"
    )
    assert plan(relative).warnings == (warning,)
    assert f"WARNING {warning}\n" in str(plan(relative))
    assert plan(relative).as_json()["warnings"] == [warning]
    assert plan(not_set).warnings == (
        "wf.datasink: base_directory is not set, so files go to the sink's working directory",
    )
    assert plan(absolute).warnings == plan(invalid).warnings == ()
    assert plan(DataSink(base_directory="out")).warnings == ()


def test_directory_of_the_manifest_is_one_line_of_a_sink(workdir: Path) -> None:
    workflow = bold_workflow(sink_node(base_directory="/out", sink_manifest_dir="s3://lab/m"))

    assert str(plan(workflow)).count("  manifest in s3://lab/m (sink_manifest_dir)\n") == 1
    sinks = plan(workflow).as_json()["sinks"]
    assert [each["manifest_directory"] for each in sinks] == ["s3://lab/m"] * 2
    assert "manifest in" not in str(plan(bold_workflow(sink_node(base_directory="/out"))))


@pytest.mark.parametrize("is_configured", [False, True])
def test_relative_directory_of_the_manifest_is_one_of_each_node(
    workdir: Path, is_configured: bool
) -> None:
    node = sink_node(base_directory="/out")
    workflow = bold_workflow(node)
    if is_configured:
        workflow.config["execution"] = {"datasink_manifest_dir": "m"}
    else:
        node.inputs.sink_manifest_dir = "m"

    planned = plan(workflow)

    directories = [f"{workdir}/work/wf/_subject_id_{each}/datasink/m" for each in SUBJECTS]
    assert [each.manifest_directory for each in planned.sinks] == directories
    assert f"  manifest in {directories[0]} and 1 more (sink_manifest_dir)\n" in str(planned)
    warnings = () if is_configured else ("sink_manifest_dir",)
    assert [text.split()[1] for text in planned.warnings] == [*warnings]


def test_connected_directory_of_the_manifest_is_in_braces(workdir: Path) -> None:
    workflow = bold_workflow(node := sink_node(base_directory="/out"))
    workflow.connect(workflow.get_node("preproc"), "out", node, "sink_manifest_dir")

    assert "  manifest in {preproc.out} (sink_manifest_dir)\n" in str(plan(workflow))


def test_connected_base_directory_is_not_missing(workdir: Path) -> None:
    workflow = bold_workflow(node := Node(DataSink(), name="datasink"))
    workflow.connect(workflow.get_node("preproc"), "out", node, "base_directory")

    assert plan(workflow).warnings == ()


def test_text_that_is_no_path_is_not_looked_up_in_the_current_directory(workdir: Path) -> None:
    make_file("patients/secret.txt", "not an output")
    workflow = bold_workflow(sink_node(group="patients"))

    (run, _) = plan(workflow).sinks

    assert run.ignored == ("group: patients",)
    assert [each.field for each in run.predictions] == ["func"]


def test_sink_without_base_directory_delivers_below_its_node(workdir: Path) -> None:
    workflow = bold_workflow(Node(DataSink(), name="datasink"))

    directories = [str(workdir / f"work/wf/_subject_id_{each}/datasink") for each in SUBJECTS]
    assert [sink.bases for sink in plan(workflow).sinks] == [(each,) for each in directories]
