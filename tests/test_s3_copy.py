"""Test the S3 copy of what a sink delivers to disk: its inputs, its content and its failures."""

from __future__ import annotations

import posixpath
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Function, Node, Workflow, config
from nipype.interfaces.io import DataSink as NipypeDataSink

from nipype_datasink import DataSink, DestinationError, MissingSourceError, S3Error, SettingsError
from nipype_datasink.manifest_verification import read_manifests
from nipype_datasink.s3.client import forget_clients
from nipype_datasink.workflows.check import check
from nipype_datasink.workflows.plan import plan
from tests.conftest import contents, tree
from tests.faultproxy import Fault, Faults
from tests.stores import ACCESS_KEY, SECRET_KEY, faulty

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

OPTION = ("execution", "datasink_s3_copy")
KEYS = {"anat/a.txt": b"a", "qa/folder/b.txt": b"b", "qa/folder/deep/c.txt": b"c"}


@pytest.fixture
def sources(workdir: Path) -> dict[str, str]:
    """A file and a directory, by the field that they are connected to."""
    for name in ("a.txt", "folder/b.txt", "folder/deep/c.txt"):
        path = workdir / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.stem)
    return {"anat": str(workdir / "in/a.txt"), "qa.@folder": str(workdir / "in/folder")}


def make_sink(
    sources: dict[str, str], endpoint: str, kind: type = DataSink, **inputs: Any
) -> DataSink:
    sink = kind(base_directory=str(Path("out").resolve()), s3_endpoint_url=endpoint, **inputs)
    for field, source in sources.items():
        setattr(sink.inputs, field, source)
    return sink


def files(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(directory).items() if data is not None}


def below(prefix: str, keys: dict[str, bytes]) -> dict[str, bytes]:
    return {posixpath.join(prefix, name): data for name, data in keys.items()}


# Content.


@pytest.mark.parametrize("place", ["s3://mybucket", "s3://mybucket/study", "S3://mybucket/study/"])
@pytest.mark.parametrize("container", ["", "sub-01/ses-1"])
def test_keys_equal_the_tree_and_out_file_that_of_nipype(
    place: str,
    container: str,
    sources: dict[str, str],
    workdir: Path,
    bucket: Bucket,
    endpoint: str,
) -> None:
    rules = [(rf"^{workdir}/out/(.*)qa/", rf"{workdir}/out/\1QA/"), ("deep", "shallow")]
    inputs: dict[str, Any] = {"container": container, "regexp_substitutions": rules}
    sink = make_sink(sources, endpoint, s3_copy=place, **inputs)

    out_file = sink.run().outputs.out_file

    ours = files(workdir / "out")
    assert len(ours) == 3
    assert contents(bucket) == below(place.lower().partition("mybucket")[2].strip("/"), ours)
    (workdir / "out").rename(workdir / "ours")
    theirs = NipypeDataSink(base_directory=str(workdir / "out"), **inputs)
    for field, source in sources.items():
        setattr(theirs.inputs, field, source)
    assert theirs.run().outputs.out_file == out_file
    assert files(workdir / "out") == ours


def test_unchanged_files_are_not_sent_again(
    sources: dict[str, str], bucket: Bucket, endpoint: str, requests: Counter[str]
) -> None:
    sink = make_sink(sources, endpoint, s3_copy="s3://mybucket/p")
    sink.run()
    assert requests["PutObject"] == 3
    requests.clear()
    sink.run()
    assert requests == {"ListObjectsV2": 1}
    assert contents(bucket) == below("p", KEYS)


def test_settings_of_s3_apply_to_the_copy(
    sources: dict[str, str],
    workdir: Path,
    bucket: Bucket,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    keys = workdir / "keys.csv"
    keys.write_text(f"Access key ID,Secret access key\n{ACCESS_KEY},{SECRET_KEY}\n")
    sink = make_sink(
        sources,
        endpoint,
        s3_copy="s3://mybucket/p",
        creds_path=str(keys),
        encrypt_bucket_keys=True,
        s3_upload_args={"Metadata": {"study": "one"}},
    )
    sink.run()
    stored = bucket.Object("p/anat/a.txt")
    assert stored.server_side_encryption == "AES256"
    assert stored.metadata["study"] == "one"


def test_an_injected_bucket_receives_the_copy(sources: dict[str, str], bucket: Bucket) -> None:
    sink = DataSink(base_directory="out", bucket=bucket, s3_copy="s3://other/p")
    sink.inputs.anat = sources["anat"]
    sink.run()
    assert contents(bucket) == {"p/anat/a.txt": b"a"}


def test_remove_dest_dir_removes_in_both_places(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    sink = make_sink(sources, endpoint, s3_copy="s3://mybucket/p", remove_dest_dir=True)
    (workdir / "out/qa/folder").mkdir(parents=True)
    (workdir / "out/qa/folder/old").touch()
    for key in ("p/qa/folder/old", "p/qa/other"):
        bucket.put_object(Key=key)
    sink.run()
    assert files(workdir / "out") == KEYS
    assert contents(bucket) == {**below("p", KEYS), "p/qa/other": b""}


def test_a_missing_source_withholds_nothing_else(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    sink = make_sink({**sources, "x": f"{workdir}/none.txt"}, endpoint, s3_copy="s3://mybucket/p")
    with pytest.raises(MissingSourceError):
        sink.run()
    assert files(workdir / "out") == KEYS
    assert contents(bucket) == below("p", KEYS)


def test_without_a_base_directory_the_working_directory_is_copied(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    sink = DataSink(s3_copy="s3://mybucket/p", s3_endpoint_url=endpoint, x=sources["anat"])
    assert sink.run().outputs.out_file == [f"{workdir}/x/a.txt"]
    assert contents(bucket) == {"p/x/a.txt": b"a"}


def test_beside_a_local_copy_alone_that_is_copied(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    rules = [(f"{workdir}/copy/c/", f"{workdir}/copy/C/")]
    sink = DataSink(
        local_copy=f"{workdir}/copy",
        container="c",
        s3_copy="s3://mybucket/p",
        s3_endpoint_url=endpoint,
        substitutions=rules,
        x=sources["anat"],
    )
    assert sink.run().outputs.out_file == [f"{workdir}/copy/C/x/a.txt"]
    assert contents(bucket) == {"p/C/x/a.txt": b"a"}
    sink.inputs.base_directory = f"{workdir}/out"
    sink.inputs.s3_copy = "s3://mybucket/q"
    assert len(sink.run().outputs.out_file) == 2
    assert set(contents(bucket)) == {"p/C/x/a.txt", "q/c/x/a.txt"}


def test_a_destination_outside_the_base_directory_is_an_error_before_writing(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    rules = [("out/anat", "elsewhere/anat")]
    sink = make_sink(sources, endpoint, s3_copy="s3://mybucket/p", substitutions=rules)
    with pytest.raises(DestinationError) as caught:
        sink.run()
    assert f"anat: '{workdir}/elsewhere/anat/a.txt' is not below the base" in str(caught.value)
    assert not (workdir / "out").exists()
    assert contents(bucket) == {}


def test_other_methods_report_the_place_on_disk(
    sources: dict[str, str], workdir: Path, endpoint: str
) -> None:
    sink = make_sink(sources, endpoint, s3_copy="s3://mybucket/p")
    assert sink.destination("x.txt", "anat") == f"{workdir}/out/anat/x.txt"


# Manifest, plan and check.


def test_a_manifest_has_rows_of_both_places_and_the_same_name_without_a_copy(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    inputs: dict[str, Any] = {"container": "c", "sink_manifest_dir": f"{workdir}/m"}
    make_sink(sources, endpoint, **inputs).run()
    make_sink(sources, endpoint, s3_copy="s3://mybucket/p", **inputs).run()
    (rows,) = read_manifests([f"{workdir}/m"], {})
    found = {(row.destination, row.base) for row in rows}
    assert found == {
        *((f"{workdir}/out/c/{name}", f"{workdir}/out") for name in KEYS),
        *((f"s3://mybucket/p/c/{name}", "s3://mybucket/p") for name in KEYS),
    }


def test_a_manifest_names_where_a_missing_source_would_have_gone(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    sink = make_sink(
        {**sources, "x": f"{workdir}/none.txt"},
        endpoint,
        s3_copy="s3://mybucket/p",
        sink_manifest_dir="s3://mybucket/manifests",
        sink_missing="skip",
    )
    sink.run()
    (rows,) = read_manifests(["s3://mybucket/manifests"], {"s3_endpoint_url": endpoint})
    missing = [row.destination for row in rows if row.status == "missing"]
    assert missing == [f"{workdir}/out/x/none.txt", "s3://mybucket/p/x/none.txt"]


def test_plan_and_check_show_both_places(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    sink = make_sink(sources, endpoint, s3_copy="s3://mybucket/p", container="c")
    shown = plan(sink, compare=True)
    assert str(shown).startswith(f"DataSink -> {workdir}/out, copy in s3://mybucket/p\n")
    assert set(shown.destinations) == {
        f"{place}/c/{name}"
        for place in (f"{workdir}/out", "s3://mybucket/p")
        for name in ("anat/a.txt", "qa/folder")
    }
    report = check(sink)
    assert [each.place for each in report.places] == [f"{workdir}/out/c", "s3://mybucket/p/c"]
    assert report.ok


def make_address() -> tuple[str, str]:
    return "s3://mybucket/p", ""


def test_an_s3_copy_that_a_node_will_return_is_in_braces(workdir: Path) -> None:
    made = Node(Function(function=make_address, output_names=["place", "rules"]), name="made")
    sink = Node(DataSink(base_directory=f"{workdir}/out", x=__file__), name="sink")
    workflow = Workflow(name="study", base_dir=str(workdir / "work"))
    workflow.connect(made, "place", sink, "s3_copy")
    sink.inputs.container = "sub-01"
    workflow.connect(made, "rules", sink, "y")
    shown = plan(workflow, compare=True)
    assert f"sink -> {workdir}/out, copy in {{made.place}}" in str(shown)
    name = Path(__file__).name
    places = (f"{workdir}/out", "{made.place}")
    assert shown.destinations == tuple(
        f"{place}/sub-01/{path}" for path in (f"x/{name}", "y/{made.rules}") for place in places
    )
    assert (shown.clashes, shown.possible) == ((), ())

    (report,) = check(workflow).places
    assert report.not_known == ("s3_copy (made.place)",)


# Inputs and configuration.


def test_only_an_s3_copy_that_is_set_is_part_of_the_hash(workdir: Path) -> None:
    sink = DataSink(base_directory="/out", x=__file__)
    theirs = NipypeDataSink(base_directory="/out", x=__file__)
    before = sink.inputs.get_hashval()
    assert before == theirs.inputs.get_hashval()
    sink.inputs.s3_copy = "s3://mybucket/p"
    assert sink.inputs.get_hashval() != before


@pytest.mark.parametrize("of_inputs", [True, False])
def test_beside_a_base_directory_in_s3_the_input_is_an_error(of_inputs: bool) -> None:
    sink = DataSink(base_directory="s3://mybucket/out", x=__file__)
    (sink.inputs if of_inputs else sink).s3_copy = "s3://mybucket/p"
    with pytest.raises(SettingsError, match=r"base_directory 's3://.*' is in S3 itself; unset s3_"):
        sink.plan()


def test_beside_a_base_directory_in_s3_the_option_is_ignored() -> None:
    config.set(*OPTION, "nonsense")
    sink = DataSink(base_directory="s3://mybucket/out", x=__file__)
    assert len(sink.plan().deliveries) == 1


def planned_copies(sink: DataSink, **options: str) -> list[str]:
    """Return the copies of the sink's only file, with these options of a workflow."""
    workflow = Workflow(name="study")
    workflow.config = {"execution": options}
    workflow.add_nodes([Node(sink, name="sink")])
    return [each for each in plan(workflow).destinations if each.startswith("s3://")]


def test_the_input_and_then_the_workflow_take_precedence(workdir: Path) -> None:
    config.set(*OPTION, "/=s3://global/p")
    own = {OPTION[1]: "/=s3://workflow/p"}
    sink = DataSink(base_directory="/out", x=__file__)
    name = Path(__file__).name
    assert planned_copies(sink) == [f"s3://global/p/out/x/{name}"]
    assert planned_copies(sink, **own) == [f"s3://workflow/p/out/x/{name}"]
    assert planned_copies(sink, **{OPTION[1]: ""}) == []
    sink.inputs.s3_copy = "s3://input/p"
    assert planned_copies(sink, **own) == [f"s3://input/p/x/{name}"]


def test_options_of_s3_are_read_only_where_something_is_copied(workdir: Path) -> None:
    config.set("execution", "datasink_s3_endpoint_url", "no address")
    sink = DataSink(base_directory="/out", x=__file__)
    config.set(*OPTION, "/other=s3://mybucket/p")
    assert len(sink.plan().deliveries) == 1
    config.set(*OPTION, "/out=s3://mybucket/p")
    with pytest.raises(SettingsError, match="the endpoint 'no address'"):
        sink.plan()


def test_an_option_that_is_not_valid_is_an_error(workdir: Path) -> None:
    config.set(*OPTION, "/out=/copy")
    expected = r"section \[execution\]: datasink_s3_copy: '/out=/copy' is not valid"
    with pytest.raises(SettingsError, match=expected):
        DataSink(base_directory="/out", x=__file__).plan()


def test_a_percent_sign_in_the_configuration_is_doubled(workdir: Path) -> None:
    config.set(*OPTION, "/100%%=s3://mybucket/p")
    sink = DataSink(base_directory="/100%/out", x=__file__)
    assert planned_copies(sink) == [f"s3://mybucket/p/out/x/{Path(__file__).name}"]


# Failures.


def test_if_s3_cannot_be_reached_the_tree_on_disk_is_complete(
    sources: dict[str, str], workdir: Path, credentials: None
) -> None:
    sink = make_sink(sources, "http://127.0.0.1:9", s3_copy="s3://mybucket/p")
    with pytest.raises(S3Error) as caught:
        sink.run()
    forget_clients()
    assert files(workdir / "out") == KEYS
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("s3://mybucket/p: nothing accepts connections")
    assert "  s3_copy: a copy of the files on disk" in lines
    assert f"  all files have arrived in {workdir}/out" in lines
    arrived = {each.transfer.destination for each in caught.value.outcomes if each.status.arrived}
    assert arrived == {f"{workdir}/out/{name}" for name in KEYS}


def test_with_a_slow_store_the_tree_on_disk_is_there_first(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    seen: list[dict[str, bytes]] = []

    class Watched(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            seen.append(files(workdir / "out"))
            return super()._fetch_bucket(bucket_name)

    with faulty(endpoint) as proxy:
        proxy.set(Faults(kinds=(Fault.TRICKLE,), pause=0.1))
        make_sink(sources, proxy.address, Watched, s3_copy="s3://mybucket/p").run()
        assert proxy.hits()[Fault.TRICKLE] >= 4
    assert seen == [KEYS]
    assert contents(bucket) == below("p", KEYS)


def test_an_object_that_s3_rejects_is_the_only_failure(
    sources: dict[str, str], workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    with faulty(endpoint) as proxy:
        proxy.set(Faults(kinds=(Fault.EXPIRED,), only="PUT .*b.txt"))
        sink = make_sink(sources, proxy.address, s3_copy="s3://mybucket/p")
        with pytest.raises(S3Error, match="s3_copy"):
            sink.run()
    assert files(workdir / "out") == KEYS


def test_errors_name_the_input_that_holds_the_address(
    sources: dict[str, str], bucket: Bucket, endpoint: str
) -> None:
    sink = make_sink(sources, endpoint, s3_copy="s3://mybucket/p", bucket="mybucket")
    with pytest.raises(SettingsError, match="the name of the bucket into s3_copy, as s3://"):
        sink.plan()

    class Other(DataSink):
        def _fetch_bucket(self, bucket_name: str) -> Any:
            return super()._fetch_bucket("other-bucket")

    sink = make_sink(sources, endpoint, Other, s3_copy="s3://mybucket/p")
    with pytest.raises(S3Error, match="write its name into s3_copy"):
        sink.run()
