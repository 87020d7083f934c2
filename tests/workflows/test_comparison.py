"""Test the comparison of a plan with what is already at its destinations."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from nipype_datasink import DataSink, plan
from nipype_datasink.delivery.changes import Change
from tests.conftest import contents, tree
from tests.workflows.examples import bold_workflow, make_file, new_workflow, sink_node

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

FILES = {"new": b"12345", "replaced": b"123", "same-size": b"abc", "unchanged": b"1234567"}
EXPECTED = [Change.NEW, Change.REPLACED, Change.REPLACED, Change.UNCHANGED]
SUMMARY = "compared: 1 new, 2 replaced, 1 unchanged; 11 bytes to send"


@pytest.fixture
def sources(workdir: Path) -> list[str]:
    (workdir / "in").mkdir()
    paths = [workdir / "in" / name for name in FILES]
    for path in paths:
        path.write_bytes(FILES[path.name])
    return list(map(str, paths))


def changes(planned: Any) -> list[Change]:
    return [
        change for sink in planned.sinks for each in sink.predictions for change in each.changes
    ]


def test_files_on_disk_are_compared(sources: list[str], workdir: Path) -> None:
    (workdir / "out" / "x").mkdir(parents=True)
    for name, text in {"replaced": "1", "same-size": "abd", "unchanged": "1234567"}.items():
        (workdir / "out" / "x" / name).write_text(text)
    before = tree(workdir)

    planned = plan(sink_node(x=sources), compare=True)

    assert changes(planned) == EXPECTED
    assert SUMMARY in str(planned).splitlines()
    assert f"{workdir}/out/x/new  (new)" in str(planned)
    assert planned.as_json()["comparison"] == {
        "new": 1,
        "replaced": 2,
        "unchanged": 1,
        "not_known": 0,
        "not_known_yet": 0,
        "not_compared": 0,
        "bytes_to_send": 11,
    }
    assert tree(workdir) == before


def test_files_in_a_directory_are_counted(sources: list[str], workdir: Path) -> None:
    (workdir / "out" / "x" / "in").mkdir(parents=True)
    (workdir / "out" / "x" / "in" / "unchanged").write_bytes(FILES["unchanged"])

    planned = plan(sink_node(x=str(workdir / "in")), compare=True)

    assert planned.sinks[0].predictions[0].note == "3 new, 1 unchanged"


def test_hard_links_are_unchanged(sources: list[str], workdir: Path) -> None:
    sink = sink_node(x=sources)
    DataSink(base_directory=str(workdir / "out"), infields=["x"], x=sources).run()
    assert os.path.samefile(workdir / "out" / "x" / "new", sources[0])

    assert changes(plan(sink, compare=True)) == [Change.UNCHANGED] * 4


def test_files_that_may_not_be_looked_at_are_not_known(
    sources: list[str], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = os.lstat

    def deny(path: Any, **options: Any) -> os.stat_result:
        if str(path) == str(workdir / "out" / "x" / "new"):
            raise PermissionError(13, "Permission denied", path)
        return lstat(path, **options)

    monkeypatch.setattr("nipype_datasink.delivery.local.os.lstat", deny)

    planned = plan(sink_node(x=sources[:1]), compare=True)

    assert changes(planned) == [Change.UNKNOWN]


@pytest.fixture
def s3_sink(bucket: Bucket, endpoint: str, sources: list[str]) -> Any:
    for name, data in {"replaced": b"1", "same-size": b"abd", "unchanged": b"1234567"}.items():
        bucket.put_object(Key=f"deriv/x/{name}", Body=data)
    return sink_node(base_directory="s3://mybucket/deriv", s3_endpoint_url=endpoint, x=sources)


def test_objects_are_compared_without_sending(
    s3_sink: Any, bucket: Bucket, workdir: Path, requests: Counter[str]
) -> None:
    before = contents(bucket), tree(workdir)
    requests.clear()

    planned = plan(s3_sink, compare=True)

    assert set(requests) <= {"ListObjectsV2", "HeadObject"}
    assert requests["ListObjectsV2"] == 1
    assert changes(planned) == EXPECTED
    assert SUMMARY in str(planned).splitlines()
    assert (contents(bucket), tree(workdir)) == before


def test_without_comparison_no_request_is_sent(s3_sink: Any, requests: Counter[str]) -> None:
    planned = plan(s3_sink)

    assert requests == {}
    assert len(planned.destinations) == 4
    assert "compared" not in str(planned)


def test_copies_on_disk_are_compared_beside_objects(s3_sink: Any, workdir: Path) -> None:
    s3_sink.inputs.local_copy = str(workdir / "copy")

    assert Counter(changes(plan(s3_sink, compare=True))) == {
        Change.NEW: 5,
        Change.REPLACED: 2,
        Change.UNCHANGED: 1,
    }


def test_bucket_that_may_not_be_listed_is_not_known(
    s3_sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")

    monkeypatch.setattr("nipype_datasink.s3.unchanged.look_up", deny)

    assert changes(plan(s3_sink, compare=True)) == [Change.UNKNOWN] * 4


def test_store_that_cannot_be_reached_is_an_error(sources: list[str], credentials: None) -> None:
    address = "http://127.0.0.1:1"
    sink = sink_node(base_directory="s3://mybucket/a", s3_endpoint_url=address, x=sources)

    planned = plan(sink, compare=True)

    assert not planned.ok
    assert planned.errors[0].startswith("s3://mybucket/a: nothing accepts ")
    assert address in planned.errors[0]
    assert len(planned.destinations) == 4


def test_failed_comparison_is_shown_once_for_each_place(
    bucket: Bucket, endpoint: str, workdir: Path
) -> None:
    source = make_file("b.nii", "b")
    places = ["s3://absent/a", "s3://absent/a", "s3://absent/b", str(workdir / "out")]
    workflow = new_workflow()
    for number, place in enumerate(places):
        options: dict[str, Any] = {"substitutions": [("b.", "c.")], "s3_endpoint_url": endpoint}
        options[f"x{number}"] = source
        workflow.add_nodes([sink_node(f"sink{number}", base_directory=place, **options)])

    planned = plan(workflow, compare=True)

    assert [error.partition(": ")[0] for error in planned.errors] == [
        "s3://absent/a",
        "s3://absent/b",
    ]
    assert all("bucket does not exist" in error for error in planned.errors)
    assert not planned.ok
    lines = str(planned).splitlines()
    assert lines[-2] == "compared: 1 new; 1 byte to send; 3 files could not be compared"
    assert not any("braces" in line for line in lines)
    assert planned.as_json()["comparison"] == {
        "new": 1,
        "replaced": 0,
        "unchanged": 0,
        "not_known": 0,
        "not_known_yet": 0,
        "not_compared": 3,
        "bytes_to_send": 1,
    }


def test_credentials_that_cannot_be_read_do_not_hide_the_plan(sources: list[str]) -> None:
    sink = sink_node(base_directory="s3://mybucket/a", creds_path="/gone/keys.csv", x=sources)

    planned = plan(sink, compare=True)

    assert "/gone/keys.csv" in planned.errors[0]
    assert str(planned).splitlines()[-2] == "compared: nothing; 4 files could not be compared"


def test_injected_mock_is_not_known(sources: list[str]) -> None:
    class Bucket:
        name = "mybucket"

    sink = sink_node(base_directory="s3://mybucket/a", bucket=Bucket(), x=sources)

    assert changes(plan(sink, compare=True)) == [Change.UNKNOWN] * 4


def test_only_known_sources_are_compared(workdir: Path) -> None:
    workflow = bold_workflow()
    assert str(plan(workflow, compare=True)).splitlines()[-2] == "compared: 2 not known yet"

    workflow.get_node("datasink").inputs.anat = make_file("t1.nii", "1")

    summary = str(plan(workflow, compare=True)).splitlines()[-2]
    assert summary == "compared: 2 new, 2 not known yet; 2 bytes to send"


RULES: dict[str, Any] = {
    "substitutions": [("same-", "equal-"), ("x/equal", "y/equal"), ("absent", "b"), ("same", "")],
    "regexp_substitutions": [(r"/y/", "/z/"), (r"\.par$", "")],
}


@pytest.mark.parametrize("base", ["/out", "s3://mybucket/deriv"])
def test_unused_rules_are_named_if_all_destinations_are_known(
    sources: list[str], base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nipype_datasink.workflows.plan.compare_files", lambda sink: sink)

    planned = plan(sink_node(base_directory=base, x=sources, **RULES), compare=True)

    assert [(each.input, each.rule) for each in planned.unused] == [
        ("substitutions", ("absent", "b")),
        ("substitutions", ("same", "")),
        ("regexp_substitutions", (r"\.par$", "")),
    ]
    assert "UNUSED datasink: substitutions ('absent', 'b') matches nothing" in str(planned)


def test_rules_of_a_sink_with_unknown_names_are_not_examined(workdir: Path) -> None:
    assert plan(bold_workflow(sink_node(**RULES)), compare=True).unused == ()


def test_rules_used_in_one_run_are_used(workdir: Path) -> None:
    workflow = bold_workflow(sink_node(substitutions=[("sub-02", "a"), ("sub-03", "b")]))
    workflow.run(plugin="Linear")

    assert [each.rule for each in plan(workflow, compare=True).unused] == [("sub-03", "b")]
