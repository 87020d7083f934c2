"""`check` examines each place of a workflow once, before any node runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Function, IdentityInterface, Node, Workflow
from nipype.interfaces import io as upstream

from nipype_datasink import DataSink, PlaceReport, check
from nipype_datasink.delivery.check_report import StepVerdict
from nipype_datasink.s3.client import forget_clients
from nipype_datasink.sink_check import place_checks
from tests.conftest import contents, tree
from tests.s3.scripted_store import Script, error_reply, scripted
from tests.stores import ACCESS_KEY, SECRET_KEY
from tests.workflows.examples import SUBJECTS, function_node, new_workflow

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


@pytest.fixture
def script(credentials: None) -> Iterator[Script]:
    """A store whose responses a test chooses."""
    with scripted() as script:
        yield script
    forget_clients()


def fail() -> str:
    raise AssertionError("a node has run")


def name_of(subject_id: str) -> str:
    return f"derivatives/{subject_id}"


def workflow_of(*sinks: Node) -> Workflow:
    """Return a workflow in which each sink gets a file for each subject."""
    workflow = new_workflow()
    subjects = Node(IdentityInterface(fields=["subject_id"]), name="subjects")
    subjects.iterables = ("subject_id", SUBJECTS)
    for sink in sinks:
        workflow.connect(subjects, "subject_id", sink, "@subject")
        if sink.name.startswith("each"):
            workflow.connect(subjects, "subject_id", sink, "container")
    return workflow


def sink_node(name: str, **inputs: Any) -> Node:
    return Node(DataSink(infields=["@subject"], **inputs), name=name)


def places(workflow: Workflow) -> dict[str, PlaceReport]:
    """Return the report of each place, by its name."""
    before = tree(Path.cwd())
    report = check(workflow)
    assert tree(Path.cwd()) == before
    assert len({place.place for place in report.places}) == len(report.places)
    assert report.ok == all(place.ok for place in report.places)
    return {place.place: place for place in report.places}


def test_each_place_and_identity_is_checked_once(workdir: Path, script: Script) -> None:
    store = {"s3_endpoint_url": script.url}
    workflow = workflow_of(
        sink_node("one", base_directory="s3://lab/deriv", **store),
        sink_node("two", base_directory="s3://lab/deriv", **store),
        sink_node("each", base_directory="s3://lab/each", **store),
        sink_node("local", base_directory=str(workdir / "out"), local_copy=str(workdir / "copy")),
    )

    found = places(workflow)

    assert list(found) == [
        "s3://lab/deriv",
        "s3://lab/each",
        str(workdir / "out"),
        str(workdir / "copy"),
    ]
    listed = [step.text for step in found["s3://lab/each"].steps if step.name == "list"]
    assert listed == ["below each/sub-01/, one of 2 containers"]
    assert found["s3://lab/deriv"].sinks == ("wf.one", "wf.two")
    assert len(script.requests) == 6
    begun = [request.path for request in script.requests_of("CreateMultipartUpload")]
    assert begun[1].startswith("/lab/each/sub-01/.datasink-check-")


@pytest.mark.parametrize(
    "inputs",
    [
        {"encrypt_bucket_keys": True},
        {"s3_region": "eu-central-1"},
        {"creds_path": "keys"},
        {"s3_upload_args": {"StorageClass": "STANDARD_IA"}},
        {"container": "elsewhere"},
    ],
)
def test_another_identity_is_checked_too(
    workdir: Path, script: Script, inputs: dict[str, Any]
) -> None:
    path = workdir / "keys"
    path.write_text(f"AWSAccessKeyId={ACCESS_KEY}\nAWSSecretKey={SECRET_KEY}\n")
    inputs = {name: str(path) if value == "keys" else value for name, value in inputs.items()}
    store = {"base_directory": "s3://lab/deriv", "s3_endpoint_url": script.url}
    workflow = workflow_of(sink_node("one", **store), sink_node("two", **{**store, **inputs}))

    report = check(workflow)

    assert len(report.places) == (1 if "container" in inputs else 2)
    assert report.ok


def test_a_single_container_is_checked(workdir: Path, script: Script) -> None:
    sink = sink_node(
        "sink", base_directory="s3://lab/deriv", container="c", s3_endpoint_url=script.url
    )
    assert list(places(workflow_of(sink))) == ["s3://lab/deriv/c"]


def test_each_container_on_disk_is_checked(workdir: Path) -> None:
    (workdir / "out").mkdir()
    (workdir / "out" / SUBJECTS[-1]).touch()

    (report,) = places(workflow_of(sink_node("each", base_directory=str(workdir / "out")))).values()

    assert not report.ok
    assert f"{SUBJECTS[-1]} is not a directory" in report.steps[0].advice


def test_a_failure_names_its_sinks(workdir: Path, script: Script) -> None:
    script.answer("CreateMultipartUpload", error_reply("AccessDenied"))
    store = {"base_directory": "s3://lab/deriv", "s3_endpoint_url": script.url}
    workflow = workflow_of(sink_node("one", **store), sink_node("two", **store))
    assert "\n  used by    wf.one, wf.two\nwould work: no" in str(check(workflow))


def test_places_that_a_node_must_name_first(workdir: Path) -> None:
    workflow = workflow_of(
        sink_node("base"), sink_node("container", base_directory=str(workdir / "out"))
    )
    source = Node(Function(function=fail), name="source")
    workflow.connect(source, "out", workflow.get_node("base"), "base_directory")
    workflow.connect(source, "out", workflow.get_node("container"), "container")

    found = places(workflow)

    assert list(found) == ["wf.base", str(workdir / "out")]
    (step,) = found["wf.base"].steps
    assert step.verdict is StepVerdict.UNKNOWN
    assert step.text == "known when the workflow runs: base_directory (source.out)"
    assert found[str(workdir / "out")].not_known == ("container (source.out)",)


def test_relative_paths_are_those_of_the_node(workdir: Path, credentials: None) -> None:
    (workdir / "keys").write_text(f"AWSAccessKeyId={ACCESS_KEY}\nAWSSecretKey={SECRET_KEY}\n")
    workflow = new_workflow()
    workflow.add_nodes(
        [
            sink_node("disk", base_directory="out"),
            sink_node("store", base_directory="s3://lab", creds_path="keys"),
        ]
    )
    found = places(workflow)
    assert list(found) == [str(workdir / "work/wf/disk/out"), "s3://lab"]
    advice = [step.advice for step in found["s3://lab"].steps]
    assert f"creds_path '{workdir}/work/wf/store/keys' cannot be read" in advice[0]


def test_the_root_is_the_base_of_containers_in_it() -> None:
    sink = DataSink(base_directory="/", container="tmp")
    (found,) = place_checks(sink, directory="/", write_object=False)
    assert (found.place, found.base) == ("/tmp", "/")


def test_without_a_base_directory_the_place_is_the_directory_of_the_node(workdir: Path) -> None:
    workflow = new_workflow()
    workflow.add_nodes([sink_node("a"), sink_node("b", local_copy="copy")])
    assert list(places(workflow)) == [f"{workdir}/work/wf/a", f"{workdir}/work/wf/b/copy"]


@pytest.mark.parametrize("name", ["local_copy", "sink_manifest_dir"])
def test_a_connected_directory_is_not_known(name: str, workdir: Path) -> None:
    workflow = new_workflow()
    source = Node(Function(function=fail), name="source")
    sink = sink_node("sink", base_directory=str(workdir / "out"))
    workflow.connect(source, "out", sink, name)
    assert places(workflow)[str(workdir / "out")].not_known == (f"{name} (source.out)",)


def test_wrong_sinks_do_not_hide_others(workdir: Path, credentials: None) -> None:
    class Broken(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            raise RuntimeError(f"no {bucket_name}\ntoday")

    workflow = new_workflow()
    workflow.add_nodes(
        [
            Node(Broken(base_directory="s3://lab"), name="broken"),
            sink_node("scheme", base_directory="gs://lab"),
            sink_node("right", base_directory=str(workdir / "out")),
        ]
    )
    found = places(workflow)
    assert [place.ok for place in found.values()] == [False, False, True]
    (step,) = found["s3://lab"].steps
    assert (step.name, step.text) == ("bucket", "lab")
    assert step.advice == "RuntimeError: no lab\\ntoday"


def test_the_configuration_of_the_workflow_counts(workdir: Path, script: Script) -> None:
    workflow = workflow_of(sink_node("sink", base_directory="s3://lab"))
    workflow.config["execution"]["datasink_s3_endpoint_url"] = script.url
    (place,) = places(workflow).values()
    assert place.steps[0].text.startswith(f"{script.url} (nipype's configuration), region")


def test_a_node_of_nipypes_class_is_checked(workdir: Path) -> None:
    workflow = new_workflow()
    sink = upstream.DataSink(base_directory=str(workdir / "out"))
    workflow.add_nodes([Node(sink, name="sink")])
    assert places(workflow)[str(workdir / "out")].ok


def test_a_file_in_the_place_of_a_directory(workdir: Path) -> None:
    (workdir / "out").write_text("x")
    (place,) = places(workflow_of(sink_node("sink", base_directory=str(workdir / "out")))).values()
    assert not place.ok


def test_a_workflow_without_a_sink(workdir: Path) -> None:
    workflow = new_workflow()
    workflow.add_nodes([function_node(fail)])
    report = check(workflow)
    assert report.ok
    assert str(report) == "no sinks: nothing to check"


def test_an_address(workdir: Path, bucket: Bucket, endpoint: str, requests: Counter[str]) -> None:
    (workdir / "keys").write_text(f"AWSAccessKeyId={ACCESS_KEY}\nAWSSecretKey={SECRET_KEY}\n")
    report = check(
        "s3://mybucket/deriv",
        endpoint_url=endpoint,
        creds_path=str(workdir / "keys"),
        region="eu-west-1",
        encrypt=True,
        write_object=True,
    )
    assert report.ok
    assert ", region eu-west-1" in str(report)
    assert "object written and deleted, AES256" in str(report)
    assert requests["PutObject"] == 1
    assert contents(bucket) == {}


def test_a_directory(workdir: Path) -> None:
    report = check(workdir / "out")
    assert report.ok
    assert [place.place for place in report.places] == [str(workdir / "out")]


@pytest.mark.parametrize("address", ["gs://lab", "s3:/lab", "s3://", "s3://me:word@lab"])
def test_a_wrong_address_is_a_finding(address: str) -> None:
    report = check(address)
    assert not report.ok
    assert "word" not in str(report).replace("password", "")


def test_options_go_with_an_address_only(workdir: Path) -> None:
    with pytest.raises(TypeError, match="set s3_region of the sinks"):
        check(new_workflow(), region="eu-west-1")
    with pytest.raises(TypeError):
        check(3)


@pytest.mark.parametrize("options", [{"encrypt": True}, {"write_object": True}])
def test_options_for_a_store_are_not_allowed_with_a_directory(
    workdir: Path, options: dict[str, bool]
) -> None:
    (name,) = options
    with pytest.raises(TypeError, match=f"{name}: only with an s3:// address"):
        check(workdir, **options)  # type: ignore[arg-type]


def test_advice_names_the_arguments_of_the_function(credentials: None) -> None:
    report = str(check("s3://mybucket", endpoint_url="http://127.0.0.1:9"))
    assert "(endpoint_url), region" in report
    assert "check endpoint_url (host and port)" in " ".join(report.split())
    assert "s3_" not in report


def test_a_path_in_advice_is_not_taken_for_a_setting(workdir: Path) -> None:
    report = check("s3://mybucket", creds_path="/nowhere/s3_region")
    assert "creds_path '/nowhere/s3_region'" in str(report)


def test_500_sinks_below_one_place_take_three_requests(workdir: Path, script: Script) -> None:
    workflow = new_workflow()
    subjects = Node(IdentityInterface(fields=["subject_id"]), name="subjects")
    subjects.iterables = ("subject_id", [f"sub-{number:03}" for number in range(500)])
    sink = sink_node("each", base_directory="s3://lab/deriv", s3_endpoint_url=script.url)
    workflow.connect(subjects, "subject_id", sink, "container")
    report = check(workflow)
    assert [place.place for place in report.places] == ["s3://lab/deriv"]
    assert len(script.requests) == 3
