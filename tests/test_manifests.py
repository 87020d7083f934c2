"""Manifests of sinks: their rows, when they are written, and when they are removed."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from nipype import JoinNode, MapNode, Node, Workflow, config
from nipype.interfaces.utility import Function, IdentityInterface

from nipype_datasink import (
    DataSink,
    DeliveryError,
    DestinationError,
    MissingSourceError,
    S3Error,
    SettingsError,
    sink_delivery,
)
from nipype_datasink import manifests as module
from nipype_datasink.adaptive import adaptive_map
from nipype_datasink.configuration import SECTION
from nipype_datasink.delivery import digests, execution
from nipype_datasink.delivery.manifest import ManifestRow, from_text, is_manifest_name
from tests.conftest import contents, tree
from tests.machines.moments import is_killed

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


def file(path: Path, content: str = "x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def sink(fields: dict[str, Any], **inputs: Any) -> DataSink:
    made = DataSink(
        base_directory=os.path.abspath("out"),
        sink_manifest_dir=os.path.abspath("m"),
        **{"local_hardlink": False, **inputs},
    )
    for name, value in fields.items():
        setattr(made.inputs, name, value)
    return made


def manifests(directory: str = "m") -> dict[str, list[ManifestRow]]:
    """Return the rows of each manifest in a directory; a kill may leave a temporary file."""
    found = {path.name: path.read_bytes() for path in Path(directory).glob("[!.]*")}
    assert all(map(is_manifest_name, found))
    return {name: from_text(os.fsdecode(data)) for name, data in found.items()}


def rows(directory: str = "m") -> list[ManifestRow]:
    """Return the rows of the only manifest in a directory."""
    (found,) = manifests(directory).values()
    return found


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def test_a_manifest_has_a_row_for_each_file_in_each_place(workdir: Path) -> None:
    one, folder = file(workdir / "a.img"), workdir / "d"
    file(workdir / "a.hdr", "header")
    file(folder / "deep/b", "b")
    made = sink({"x.@y": one, "z": str(folder)}, container="sub-01", local_copy=f"{workdir}/copy")
    made.run()

    expected = {
        "x/a.img": ("x", "x.@y", one),
        "x/a.hdr": ("header", "x.@y", f"{workdir}/a.hdr"),
        "z/d/deep/b": ("b", "z", f"{folder}/deep/b"),
    }
    found = rows()
    assert [row.destination for row in found if row.base == f"{workdir}/out"] == [
        f"{workdir}/out/sub-01/{name}" for name in expected
    ]
    assert len(found) == 6
    assert {row.base for row in found} == {f"{workdir}/out", f"{workdir}/copy"}
    for row in found:
        content, field, source = expected[row.destination.removeprefix(f"{row.base}/sub-01/")]
        assert (row.size, row.sha256) == (len(content), sha256(content))
        assert (row.field, row.source, row.node) == (field, source, "")
        assert (row.status, row.verified, row.etag) == ("new", True, "")
    assert len({row.time for row in found}) == 1


def test_a_rerun_replaces_its_own_manifest(workdir: Path) -> None:
    names = [file(workdir / name, name) for name in "abc"]
    sink({"x": names[:2]}).run()
    first = list(manifests())
    file(workdir / "b", "B")
    sink({"x": names}).run()

    assert list(manifests()) == first
    assert [row.status for row in rows()] == ["unchanged", "replaced", "new"]
    assert [row.sha256 for row in rows()] == [sha256("a"), sha256("B"), sha256("c")]


def test_sinks_do_not_share_a_manifest(workdir: Path) -> None:
    source = file(workdir / "a")
    for made in (
        sink({"x": source}),
        sink({"y": source}),
        sink({"x": source}, container="c"),
        sink({"x": source}, local_copy=f"{workdir}/copy"),
    ):
        made.run()
    assert len(manifests()) == 4


def test_a_manifest_is_empty_if_nothing_was_delivered(workdir: Path) -> None:
    sink({}).run()
    assert rows() == []


def test_hard_links_are_recorded(workdir: Path) -> None:
    sink({"x": file(workdir / "a")}, local_hardlink=True).run()
    assert os.path.samefile(workdir / "a", workdir / "out/x/a")
    assert [(row.status, row.sha256) for row in rows()] == [("new", sha256("x"))]


def test_a_base_that_is_a_link_is_recorded_as_its_target(workdir: Path) -> None:
    (workdir / "real").mkdir()
    (workdir / "out").symlink_to("real")
    sink({"x": file(workdir / "a")}).run()
    assert [(row.destination, row.base) for row in rows()] == [
        (f"{workdir}/real/x/a", f"{workdir}/real")
    ]


def test_an_absolute_container_is_the_base(workdir: Path) -> None:
    sink({"x": file(workdir / "a")}, container=f"{workdir}/other").run()
    assert [(row.destination, row.base) for row in rows()] == [
        (f"{workdir}/other/x/a", f"{workdir}/other")
    ]


def test_skipped_sources_are_recorded_as_missing(workdir: Path) -> None:
    (workdir / "d").mkdir()
    (workdir / "d/link").symlink_to("gone")
    fields = {"x": [file(workdir / "a"), "/none/b.nii"], "y": str(workdir / "d")}
    made = sink(fields, sink_missing="skip", local_copy=f"{workdir}/copy")
    made.inputs.substitutions = [("b.nii", "c.nii")]
    made.run()

    missing = [row for row in rows() if row.status == "missing"]
    assert [(row.field, row.source, row.destination) for row in missing] == [
        ("x", "/none/b.nii", f"{workdir}/out/x/c.nii"),
        ("x", "/none/b.nii", f"{workdir}/copy/x/c.nii"),
        ("y", f"{workdir}/d/link", f"{workdir}/out/y/d/link"),
        ("y", f"{workdir}/d/link", f"{workdir}/copy/y/d/link"),
    ]
    assert {(row.size, row.sha256, row.etag, row.verified) for row in missing} == {
        (None, "", "", False)
    }


def test_a_missing_companion_would_have_had_the_name_of_its_file(workdir: Path) -> None:
    (workdir / "a.hdr").symlink_to("gone")
    made = sink({"x": file(workdir / "a.img")}, sink_missing="skip")
    made.inputs.substitutions = [("a.img", "b.img")]
    made.run()
    assert {row.destination: row.status for row in rows()} == {
        f"{workdir}/out/x/b.img": "new",
        f"{workdir}/out/x/b.hdr": "missing",
    }


def test_a_failed_run_leaves_the_older_manifest(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [file(workdir / name) for name in "ab"]
    sink({"x": names}).run()
    before = tree(workdir / "m")
    with pytest.raises(MissingSourceError):
        sink({"x": [*names, "/none/c"]}).run()
    assert tree(workdir / "m") == before

    file(workdir / "b", "other")
    monkeypatch.setattr("nipype_datasink.delivery.file_writer.copy", failing)
    with pytest.raises(DeliveryError, match="No space"):
        sink({"x": names}, remove_dest_dir=True).run()
    assert tree(workdir / "m") == before


def failing(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_manifest_that_cannot_be_written_is_an_error_after_the_delivery(workdir: Path) -> None:
    file(workdir / "m")
    message = r"all files were delivered, but not the manifest /.*/m/datasink-"
    with pytest.raises(DeliveryError, match=message) as caught:
        sink({"x": file(workdir / "a")}).run()
    assert (workdir / "out/x/a").exists()
    assert isinstance(caught.value.original, FileExistsError)
    assert caught.value.__context__ is None


def test_a_manifest_that_cannot_be_prepared_is_an_error_after_the_delivery(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.TemporaryDirectory", failing)
    with pytest.raises(DeliveryError, match=r"not the manifest .* No space left") as caught:
        sink({"x": file(workdir / "a")}).run()
    assert [outcome.status.value for outcome in caught.value.outcomes] == ["new"]
    assert isinstance(caught.value.original, OSError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_no_manifest_lists_a_file_that_is_gone_when_the_run_is_killed(workdir: Path) -> None:
    """The folder loses a file in the second run, which is killed before each of its calls."""
    for name in ("kept", "old"):
        file(workdir / "d" / name)
    made, without_manifest = sink({"x": f"{workdir}/d"}, remove_dest_dir=True), 0
    for moment in count():
        # Each temporary file of a killed run adds a call to the next one.
        for litter in workdir.rglob(".datasink-*"):
            litter.unlink()
        file(workdir / "d/old")
        made.run()
        (workdir / "d/old").unlink()
        killed = is_killed(made.run, ("writing", moment))
        found = [row for each in manifests().values() for row in each]
        assert all(os.path.exists(row.destination) for row in found), moment
        without_manifest += not found
        if not killed:
            break
    assert without_manifest, "no kill came between the removal and the new manifest"
    assert not (workdir / "out/x/d/old").exists()


def test_nothing_is_removed_if_the_manifest_cannot_be_withdrawn(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    file(workdir / "out/x/d/old")
    monkeypatch.setattr(module.ManifestFile, "withdraw", failing)
    with pytest.raises(DeliveryError, match="No space"):
        sink({"x": f"{workdir}/d"}, remove_dest_dir=True).run()
    assert (workdir / "out/x/d/old").exists()


def test_no_folder_with_manifests_is_cleared(workdir: Path) -> None:
    """Other sinks may have written some of them."""
    file(workdir / "d/a")
    other = file(Path("out/x/d/m/other-01234567.tsv"))
    made = sink({"x": f"{workdir}/d"}, remove_dest_dir=True)
    made.inputs.sink_manifest_dir = f"{workdir}/out/x/d/m"
    with pytest.raises(DestinationError, match="would empty the directory of the manifests"):
        made.run()
    assert [path for path in Path("out").rglob("*") if path.is_file()] == [Path(other)]


def test_each_source_is_read_once(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, digest_file = Counter[str](), digests.digest_file

    def counting(path: str, on_read: Any) -> Any:
        read[path] += 1
        return digest_file(path, on_read)

    monkeypatch.setattr(digests, "digest_file", counting)
    sources = [file(workdir / name) for name in "ab"]
    sink({"x": sources}, local_copy=f"{workdir}/copy").run()
    assert read == dict.fromkeys(sources, 1)


def test_sources_are_looked_up_side_by_side_where_that_takes_long(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[list[str]] = []

    def record(function: Any, items: list[str], **options: Any) -> list[Any]:
        looked_up.append(items)
        assert options.keys() == {"abandon", "on_wait"}
        return adaptive_map(function, items, **options)

    monkeypatch.setattr("nipype_datasink.delivery.digests.adaptive_map", record)
    sources = [file(workdir / name) for name in "ab"]
    sink({"x": sources}, local_copy=f"{workdir}/copy").run()
    assert looked_up == [sources]


def test_without_a_manifest_nothing_is_read(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "digest_file", failing)
    made = sink({"x": file(workdir / "a")})
    made.inputs.sink_manifest_dir = ""
    made.run()
    assert not (workdir / "m").exists()


def test_a_source_that_changes_after_it_was_read_is_recorded_as_delivered(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a", "first")
    deliver = execution.deliver

    def change_afterwards(*args: Any, **options: Any) -> Any:
        outcomes = deliver(*args, **options)
        file(workdir / "a", "second")
        return outcomes

    monkeypatch.setattr(sink_delivery, "deliver", change_afterwards)
    sink({"x": source}).run()
    assert [(row.size, row.sha256) for row in rows()] == [(5, sha256("first"))]


@pytest.mark.parametrize("transport", ["classic", "crt"])
def test_a_source_that_changes_before_it_is_sent_is_recorded_with_the_size_that_was_sent(
    transport: str, workdir: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(workdir / "a", "first")
    deliver = execution.deliver

    def change_before(*args: Any, **options: Any) -> Any:
        file(workdir / "a", "second")
        return deliver(*args, **options)

    monkeypatch.setattr(sink_delivery, "deliver", change_before)
    endpoint = bucket.meta.client.meta.endpoint_url
    made = sink({"x": source}, s3_endpoint_url=endpoint, s3_transfer_client=transport)
    made.inputs.base_directory = f"s3://{bucket.name}/out"
    made.run()
    assert [(row.size, row.sha256) for row in rows()] == [(len("second"), "")]


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="needs /proc")
def test_the_size_of_a_file_without_a_known_size_is_what_was_read(workdir: Path) -> None:
    sink({"x": "/proc/version"}).run()
    content = Path("/proc/version").read_text()
    assert [(row.size, row.sha256) for row in rows()] == [(len(content), sha256(content))]


@pytest.mark.parametrize("address", ["gs://b/m", "s3://", "s3:/b/m", "s3://B/m"])
def test_a_wrong_address_is_found_before_anything_is_written(address: str, workdir: Path) -> None:
    made = sink({"x": file(workdir / "a")})
    made.inputs.sink_manifest_dir = address
    for act in (made.plan, made.run):
        with pytest.raises(SettingsError):
            act()
    assert tree(workdir) == {"a": b"x"}


def test_the_configuration_can_ask_for_manifests(workdir: Path) -> None:
    config.set(SECTION, "datasink_manifest_dir", f"{workdir}/configured")
    made = DataSink(base_directory=f"{workdir}/out", infields=["x"], x=file(workdir / "a"))
    made.run()
    assert len(rows("configured")) == 1


# Nodes.


def study(workdir: Path) -> Workflow:
    """Return two subjects in a nested workflow, each with a sink and a MapNode of two sinks."""
    inputs: Any = {"base_directory": f"{workdir}/out", "sink_manifest_dir": f"{workdir}/m"}
    subjects = Node(IdentityInterface(["subject"]), name="subjects")
    subjects.iterables = ("subject", ["01", "02"])
    one = Node(DataSink(infields=["x"], **inputs, x=file(workdir / "a")), name="sink")
    several = MapNode(DataSink(infields=["y"], **inputs), name="sinks", iterfield=["y"])
    several.inputs.y = [file(workdir / name, name) for name in "bc"]
    inner = Workflow(name="inner")
    inner.connect(subjects, "subject", one, "container")
    inner.connect(subjects, "subject", several, "container")
    outer = Workflow(name="study", base_dir=str(workdir / "work"))
    outer.add_nodes([inner])
    return outer


def test_manifests_are_called_by_the_directory_of_the_node(workdir: Path) -> None:
    study(workdir).run()

    nodes = {row.node: row for each in manifests().values() for row in each}
    assert sorted(nodes) == [
        "study/inner/_subject_01/sink",
        "study/inner/_subject_01/sinks/mapflow/_sinks0",
        "study/inner/_subject_01/sinks/mapflow/_sinks1",
        "study/inner/_subject_02/sink",
        "study/inner/_subject_02/sinks/mapflow/_sinks0",
        "study/inner/_subject_02/sinks/mapflow/_sinks1",
    ]
    for name, (row,) in manifests().items():
        assert name.rpartition("-")[0] == row.node.replace("/", ".")
        assert row.destination.startswith(f"{workdir}/out/{row.node.split('_')[2][:2]}/")
    names = sorted(manifests())
    study(workdir).run()
    assert sorted(manifests()) == names


def items(workdir: Path, base: Path | None) -> list[Node]:
    """Return the items of a MapNode as the worker processes of a plugin receive them."""
    node = MapNode(sink({}), name="sinks", iterfield=["x"], base_dir=base and str(base))
    node.inputs.x = [file(workdir / "a")]
    return [pickle.loads(pickle.dumps(each)) for _, each in node._make_nodes()]


@pytest.mark.parametrize("base", ["work", "link", "mapflow", None])
def test_the_items_of_a_map_node_know_the_base_of_the_workflow(
    base: str | None, workdir: Path
) -> None:
    (workdir / "work").mkdir()
    (workdir / "link").symlink_to("work")
    for item in items(workdir, workdir / base if base else None):
        item.run()
    assert {row.node for row in rows()} == {"sinks/mapflow/_sinks0"}


@pytest.mark.parametrize("base", ["work", "link", "mapflow", None])
def test_a_node_that_runs_alone_has_a_name(base: str | None, workdir: Path) -> None:
    (workdir / "work").mkdir()
    (workdir / "link").symlink_to("work")
    made = sink({"x": file(workdir / "a")})
    Node(made, name="sink", base_dir=base and str(workdir / base)).run()
    assert {row.node for row in rows()} == {"sink"}


def test_a_join_node_is_called_by_its_directory(workdir: Path) -> None:
    names = Node(IdentityInterface(["name"]), name="names")
    names.iterables = ("name", [file(workdir / name) for name in "ab"])
    made = DataSink(
        infields=["x"], base_directory=f"{workdir}/out", sink_manifest_dir=f"{workdir}/m"
    )
    joined = JoinNode(made, name="joined", joinsource="names", joinfield=["x"])
    outer = Workflow(name="study", base_dir=str(workdir / "work"))
    outer.connect(names, "name", joined, "x")
    outer.run()
    assert {row.node for row in rows()} == {"study/joined"}


def run_workflow(source: str, workdir: str) -> None:
    made = DataSink(base_directory=f"{workdir}/out", sink_manifest_dir=f"{workdir}/m")
    made.inputs.x = source
    inner = Workflow(name="inner", base_dir=f"{workdir}/inner_work")
    inner.add_nodes([Node(made, name="sink")])
    inner.run()


def test_a_workflow_that_an_item_runs_has_its_own_base(workdir: Path) -> None:
    imports = ["from nipype import Node, Workflow", "from nipype_datasink import DataSink"]
    function = Function(["source", "workdir"], [], run_workflow, imports=imports)
    node = MapNode(function, name="several", iterfield=["source"], base_dir=f"{workdir}/work")
    node.inputs.workdir = str(workdir)
    node.inputs.source = [file(workdir / "a")]
    node.run()
    assert {row.node for row in rows()} == {"inner/sink"}


def test_a_relative_manifest_directory_of_a_node_is_warned_about(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = sink({"x": file(workdir / "a")})
    made.inputs.sink_manifest_dir = "m"
    Node(made, name="sink", base_dir=str(workdir)).run()
    assert "sink_manifest_dir 'm' is relative" in caplog.text


# S3.


@pytest.fixture
def s3_sink(bucket: Bucket, endpoint: str, workdir: Path) -> Callable[..., DataSink]:
    def make(fields: dict[str, Any], **inputs: Any) -> DataSink:
        made = sink(fields, s3_endpoint_url=endpoint, s3_transfer_client="classic")
        made.inputs.trait_set(
            base_directory="s3://mybucket/out", sink_manifest_dir="s3://mybucket/m", **inputs
        )
        return made

    return make


def stored_rows(bucket: Bucket) -> list[ManifestRow]:
    (data,) = [data for key, data in contents(bucket).items() if key.startswith("m/")]
    return from_text(os.fsdecode(data))


@pytest.mark.parametrize("transfer_client", ["classic", "crt"])
def test_objects_are_recorded_with_their_etags(
    transfer_client: str,
    s3_sink: Callable[..., DataSink],
    bucket: Bucket,
    workdir: Path,
    requests: Counter[str],
) -> None:
    large = workdir / "large"
    large.write_bytes(b"1" * (9 << 20))
    fields = {"x": [file(workdir / "a"), str(large)]}
    made = s3_sink(fields, s3_transfer_client=transfer_client, local_copy=f"{workdir}/copy")
    for status in ("new", "unchanged"):
        made.run()
        found = [row for row in stored_rows(bucket) if row.base == "s3://mybucket/out"]
        assert [row.destination for row in found] == [
            "s3://mybucket/out/x/a",
            "s3://mybucket/out/x/large",
        ]
        for row in found:
            assert row.etag == bucket.Object(row.destination[len("s3://mybucket/") :]).e_tag[1:-1]
            assert (row.status, row.verified) == (status, True)
            assert row.sha256 == hashlib.sha256(Path(row.source).read_bytes()).hexdigest()
        assert len(stored_rows(bucket)) == 4


def test_a_manifest_in_s3_is_withdrawn_before_objects_are_deleted(
    s3_sink: Callable[..., DataSink], bucket: Bucket, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "d/a")
    made = s3_sink({"x": f"{workdir}/d"}, remove_dest_dir=True)
    made.run()
    (name,) = [key for key in contents(bucket) if key.startswith("m/")]
    bucket.put_object(Key="out/x/d/old", Body=b"old")
    monkeypatch.setattr("nipype_datasink.s3.deletion._delete_keys", failing)
    with pytest.raises(S3Error, match="No space"):
        made.run()
    assert sorted(contents(bucket)) == ["out/x/d/a", "out/x/d/old"]
    monkeypatch.undo()
    made.run()
    assert sorted(contents(bucket)) == [name, "out/x/d/a"]


def test_no_object_is_deleted_if_the_manifest_cannot_be_withdrawn(
    s3_sink: Callable[..., DataSink], bucket: Bucket, workdir: Path
) -> None:
    file(workdir / "d/a")
    bucket.put_object(Key="out/x/d/old", Body=b"old")
    made = s3_sink({"x": f"{workdir}/d"}, remove_dest_dir=True)
    made.inputs.sink_manifest_dir = "s3://nosuchbucket/m"
    with pytest.raises(S3Error, match=r"s3://nosuchbucket/m/\S+ was not deleted"):
        made.run()
    assert "out/x/d/old" in contents(bucket)


def test_a_manifest_in_another_bucket_of_s3(
    s3_sink: Callable[..., DataSink], bucket: Bucket, workdir: Path
) -> None:
    made = s3_sink({"x": file(workdir / "a")})
    made.inputs.base_directory = f"{workdir}/out"
    made.run()
    assert [row.destination for row in stored_rows(bucket)] == [f"{workdir}/out/x/a"]
    made.inputs.sink_manifest_dir = "s3://nosuchbucket/m"
    message = r"(?s)bucket does not exist.*all files were delivered, but not the manifest"
    with pytest.raises(S3Error, match=message):
        made.run()


@pytest.mark.parametrize("name", ["mybucket", "written"])
def test_an_injected_bucket_holds_the_manifest_too(
    name: str, bucket: Bucket, workdir: Path
) -> None:
    made = sink({"x": file(workdir / "a")}, bucket=bucket)
    made.inputs.base_directory = "s3://written/out"
    made.inputs.sink_manifest_dir = f"s3://{name}/m"
    made.run()
    assert [row.destination for row in stored_rows(bucket)] == ["s3://mybucket/out/x/a"]


def test_a_bucket_that_is_no_boto3_bucket_gets_a_manifest(workdir: Path) -> None:
    stored: dict[str, bytes] = {}

    def upload_file(source: str, key: str, **_: object) -> None:
        stored[key] = Path(source).read_bytes()

    fake = SimpleNamespace(
        name="fake", upload_file=upload_file, Object=lambda key: SimpleNamespace(e_tag=None)
    )
    made = sink({"x": file(workdir / "a")}, bucket=fake)
    made.inputs.base_directory, made.inputs.sink_manifest_dir = "s3://fake/out", "s3://fake/m"
    made.run()
    first, name = stored
    assert (first, name[:2]) == ("out/x/a", "m/")
    (row,) = from_text(os.fsdecode(stored[name]))
    assert (row.status, row.verified, row.etag, row.sha256) == ("sent", False, "", sha256("x"))


def test_a_check_includes_the_place_of_the_manifest(workdir: Path) -> None:
    (workdir / "m").write_text("a file, not a directory")
    report = sink({"x": file(workdir / "a")}).check()
    assert [place.place for place in report.places] == [f"{workdir}/out", f"{workdir}/m"]
    assert [place.ok for place in report.places] == [True, False]
    assert "manifest of this sink" in str(report)


def test_a_check_of_a_bucket_includes_the_place_of_the_manifest(
    s3_sink: Callable[..., DataSink], workdir: Path
) -> None:
    report = s3_sink({"x": file(workdir / "a")}).check()
    assert [place.place for place in report.places] == ["s3://mybucket/out", "s3://mybucket/m"]
    assert report.ok
