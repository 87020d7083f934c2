"""Test which directories are named because no sink has its base directory in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from nipype import Function, IdentityInterface, Node, Workflow, config

from nipype_datasink import DataSink
from nipype_datasink.workflows.check import check
from nipype_datasink.workflows.plan import plan
from nipype_datasink.workflows.salvage import salvage_sinks
from nipype_datasink.workflows.unused_copies import recorded_sinks

OPTION = "datasink_s3_copy"


def workflow_of(workdir: Path, *sinks: dict[str, Any], **options: str) -> Workflow:
    workflow = Workflow(name="study", base_dir=str(workdir / "work"))
    workflow.config["execution"] = options
    for number, inputs in enumerate(sinks):
        workflow.add_nodes([Node(DataSink(x=__file__, **inputs), name=f"sink{number}")])
    return workflow


def set_copies(*lines: str) -> None:
    config.set("execution", OPTION, "\n".join(lines))


def test_plan_check_and_salvage_name_a_directory_without_a_sink(workdir: Path) -> None:
    base = f"{workdir}/derivatives"
    set_copies(f"{workdir}/derivative=s3://mybucket/p", f"{workdir}/work=s3://mybucket/w")
    workflow = workflow_of(workdir, {"base_directory": base})
    (workdir / "work/study").mkdir(parents=True)
    expected = [
        f"no sink has its base directory in {workdir}/derivative, which does not exist; nothing is "
        f"copied to s3://mybucket/p; base directories of the sinks: {base}",
        f"no sink has its base directory in {workdir}/work; nothing is copied to "
        f"s3://mybucket/w; base directories of the sinks: {base}",
    ]
    for report in (plan(workflow), check(workflow), salvage_sinks(workflow)):
        assert report.as_json()["warnings"] == expected
        assert report.ok
        shown = str(report)
        assert shown.count("WARNING") == 2
        assert " ".join(expected[0].split()) in " ".join(shown.split())


@pytest.mark.parametrize(
    "inputs",
    [
        {"base_directory": "/data/out/mytool"},
        {"base_directory": "//data/out/mytool"},
        {"base_directory": "/data/out", "s3_copy": "s3://own/p"},
        {"local_copy": "/data/out"},
        {"base_directory": "/elsewhere", "container": "/data/out/sub-01"},
        {},
    ],
)
def test_directory_of_a_base_directory_is_not_named(workdir: Path, inputs: dict[str, Any]) -> None:
    place = "/data/out" if inputs else f"{workdir}/work/study/sink0"
    set_copies(f"{place}=s3://mybucket/p")
    assert not [
        text
        for text in plan(workflow_of(workdir, inputs)).warnings
        if text.startswith("no sink has")
    ]


@pytest.mark.parametrize(
    ("inputs", "base"),
    [
        ({"base_directory": "s3://mybucket/out"}, "s3://mybucket/out"),
        ({"base_directory": "/data", "container": "out"}, "/data"),
        ({"base_directory": "/data", "local_copy": "/data/out"}, "/data"),
        ({"base_directory": "/data/output"}, "/data/output"),
    ],
)
def test_only_base_directories_on_disk_count(
    workdir: Path, inputs: dict[str, Any], base: str
) -> None:
    set_copies("/data/out=s3://mybucket/p")
    (text,) = plan(workflow_of(workdir, inputs)).warnings
    assert text.endswith(f"base directories of the sinks: {base}")


def test_first_base_directories_and_the_number_of_others_are_named(workdir: Path) -> None:
    set_copies("/data/out=s3://mybucket/p")
    sinks = [{"base_directory": f"/data/{number}"} for number in range(6)]
    (text,) = plan(workflow_of(workdir, *sinks, *sinks)).warnings
    assert text.endswith("sinks: /data/0, /data/1, /data/2, /data/3, 2 more")


def test_option_of_a_workflow_replaces_the_global_one(workdir: Path) -> None:
    set_copies(f"{workdir}=s3://mybucket/global")
    own = {OPTION: f"{workdir}/x=s3://mybucket/own"}
    found = plan(workflow_of(workdir, {"base_directory": f"{workdir}/out"}, **own)).warnings
    assert [text.partition(";")[0] for text in found] == [
        f"no sink has its base directory in {workdir}",
        f"no sink has its base directory in {workdir}/x, which does not exist",
    ]


def make_base() -> str:
    return "/data/out"


def test_base_directory_that_a_node_returns_is_not_known(workdir: Path) -> None:
    set_copies(f"{workdir}/out=s3://mybucket/p")
    workflow = workflow_of(workdir, {"base_directory": "/data"}, {})
    made = Node(Function(function=make_base, output_names=["base"]), name="made")
    workflow.connect(made, "base", workflow.get_node("sink1"), "base_directory")
    (text,) = plan(workflow).warnings
    assert text.startswith(f"no sink is known to have its base directory in {workdir}/out, which")
    assert "; perhaps nothing is copied to s3://mybucket/p; " in text
    assert text.endswith(
        "; not known: study.sink1 (made.base); base directories of the sinks: /data"
    )


def test_option_that_is_not_valid_is_named_once(workdir: Path) -> None:
    set_copies("nonsense")
    found = plan(workflow_of(workdir, {"base_directory": "/data"}))
    assert not found.warnings
    assert len(found.errors) == 1


# While a program runs.


class ElsewherePlugin:
    """A plugin that runs no node in this process; they have run before."""

    plugin_args: dict[str, Any] = {}  # noqa: RUF012

    def run(self, graph: Any, *, updatehash: bool, config: Any) -> None:
        pass


# A sink with these inputs fails before it writes anything.
FAILING: dict[str, Any] = {"creds_path": "none", "s3_profile": "none"}


def test_sinks_of_the_run_are_recorded(workdir: Path) -> None:
    set_copies(*(f"{workdir}/{name}=s3://mybucket/{name}" for name in ("a", "b", "c")))
    run, deliver = Workflow.run, DataSink._list_outputs
    with recorded_sinks() as unused:
        assert unused.describe()[0] == (
            "no sink was seen, so perhaps nothing is copied to s3://mybucket/a from "
            f"{workdir}/a, which does not exist"
        )
        with pytest.raises(Exception, match="either creds_path or"):
            DataSink(base_directory=f"{workdir}/a", x=__file__, **FAILING).run()
        assert [text.partition(",")[0][-1] for text in unused.describe()] == ["b", "c"]
        inputs = {"base_directory": "b", **FAILING}
        workflow = workflow_of(workdir, inputs, crashdump_dir=str(workdir))
        with pytest.raises(Exception, match="either creds_path or"):
            workflow.run(plugin="Linear")
    assert (Workflow.run, DataSink._list_outputs) == (run, deliver)
    texts = unused.describe()
    assert len(texts) == 2
    assert texts[0].endswith(f"sinks: {workdir}/a, {workdir}/work/study/sink0/b")


def test_base_directory_that_a_node_has_returned_is_known_after_the_run(workdir: Path) -> None:
    set_copies("/data/out=s3://mybucket/p", f"{workdir}=s3://mybucket/work")
    workflow = workflow_of(workdir, FAILING, crashdump_dir=str(workdir))
    made = Node(Function(function=make_base, output_names=["base"]), name="made")
    workflow.connect(made, "base", workflow.get_node("sink0"), "base_directory")
    assert len(plan(workflow).warnings) == 2
    with pytest.raises(Exception, match="either creds_path or"):
        workflow.run(plugin="Linear")
    with recorded_sinks() as unused:
        workflow.run(plugin=ElsewherePlugin())
    (text,) = unused.describe()
    assert text.endswith("copied to s3://mybucket/work; base directories of the sinks: /data/out")


def test_inputs_and_the_directory_of_the_call_count(workdir: Path) -> None:
    set_copies(f"{workdir}/a=s3://mybucket/a", f"{workdir}/b=s3://mybucket/b")
    (workdir / "b").mkdir()
    with recorded_sinks() as unused:
        for inputs in ({"base_directory": f"{workdir}/a"}, {"cwd": f"{workdir}/b"}):
            with pytest.raises(Exception, match="either creds_path or"):
                DataSink(x=__file__, **FAILING).run(**inputs)
    assert not unused.describe()


def test_methods_can_be_pickled_while_sinks_are_recorded(workdir: Path) -> None:
    workflow, sink = Workflow(name="study"), DataSink(base_directory="out")
    with recorded_sinks():
        for bound in (workflow.run, sink.run, sink._list_outputs):
            assert pickle.loads(pickle.dumps(bound)).__name__ == bound.__name__


def append(path: str, log: str) -> str:
    with open(log, "a") as file:
        file.write("called\n")
    return path


@pytest.mark.parametrize(("copied", "calls"), [("out", 1), ("other", 2)])
def test_functions_of_connections_are_called_again_only_in_doubt(
    workdir: Path, copied: str, calls: int
) -> None:
    set_copies(f"{workdir}/{copied}=s3://mybucket/p")
    inputs = {"base_directory": f"{workdir}/out", **FAILING}
    workflow = workflow_of(workdir, inputs, crashdump_dir=str(workdir))
    given = Node(IdentityInterface(fields=["y"]), name="given")
    given.inputs.y = __file__
    log = f"{workdir}/log"
    workflow.connect(given, ("y", append, log), workflow.get_node("sink0"), "anat")
    with recorded_sinks(), pytest.raises(Exception, match="either creds_path or"):
        workflow.run(plugin="Linear")
    assert len(Path(log).read_text().splitlines()) == calls
