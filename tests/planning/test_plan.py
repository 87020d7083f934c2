"""Test where every file of a sink goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from nipype_datasink.errors import DestinationError
from nipype_datasink.planning.contents import scan
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import (
    Delivery,
    FileTransfer,
    Plan,
    make_plan,
)
from nipype_datasink.planning.real_paths import RealPathCache
from nipype_datasink.planning.routing import Rules, Substitutions
from nipype_datasink.planning.sources import Problem, Source


def plan_for(
    paths: list[Path],
    *locations: Location,
    rules: tuple[tuple[str, str], ...] = (),
    remove_dest_dir: bool = False,
    manifest_directory: Location | None = None,
) -> Plan:
    sources = [Source("x", str(path)) for path in paths]
    return make_plan(
        [(source, scan(source)) for source in sources],
        Rules(
            locations=locations,
            relative=lambda source: source.rstrip("/").rpartition("/")[2],
            substitute=Substitutions(literal=rules).apply,
            remove_dest_dir=remove_dest_dir,
            manifest_directory=manifest_directory,
        ),
    )


def file(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def targets(plan: Plan) -> list[str]:
    return [transfer.destination for item in plan.deliveries for transfer in item.transfers]


def test_a_file_is_one_delivery_of_one_linkable_transfer(tmp_path: Path) -> None:
    path = file(tmp_path / "in" / "a", b"123")
    place = LocalDirectory(str(tmp_path / "out"))
    destination = str(tmp_path / "out/x/a")
    transfer = FileTransfer(source=str(path), destination=destination, size=3, linkable=True)
    assert plan_for([path], place).deliveries == (
        Delivery(
            field="x",
            source=str(path),
            destination=destination,
            location=place,
            transfers=(transfer,),
        ),
    )


def test_a_directory_is_one_delivery_of_many_transfers(tmp_path: Path) -> None:
    file(tmp_path / "in/d/a")
    file(tmp_path / "in/d/b/c")
    (tmp_path / "in/d/empty").mkdir()
    out = tmp_path / "out/x/d"
    (delivery,) = plan_for([tmp_path / "in/d"], LocalDirectory(str(tmp_path / "out"))).deliveries
    assert delivery.destination == str(out)
    assert [item.destination for item in delivery.transfers] == [str(out / "a"), str(out / "b/c")]
    assert not any(item.linkable for item in delivery.transfers)
    assert delivery.directories == (str(out), str(out / "b"), str(out / "empty"))
    assert delivery.cleared_folder is None


def test_companions_are_linkable_and_keep_their_extensions(tmp_path: Path) -> None:
    for name in ("a.img", "a.hdr", "a.mat"):
        file(tmp_path / name)
    plan = plan_for([tmp_path / "a.img"], S3Prefix("b"), rules=(("a.img", "c.nii.gz"),))
    assert targets(plan) == ["s3://b/x/c.nii.gz", "s3://b/x/c.hdr", "s3://b/x/c.mat"]
    assert all(item.linkable for item in plan.transfers)


def test_every_source_goes_to_all_locations_in_order(tmp_path: Path) -> None:
    paths = [file(tmp_path / name) for name in "ab"]
    copy = LocalDirectory("/copy")
    plan = plan_for(paths, S3Prefix("b", "p"), copy)
    assert targets(plan) == ["s3://b/p/x/a", "/copy/x/a", "s3://b/p/x/b", "/copy/x/b"]
    assert targets(plan.for_location(copy)) == ["/copy/x/a", "/copy/x/b"]


def test_remove_dest_dir_applies_to_directories_only(tmp_path: Path) -> None:
    paths = [file(tmp_path / "a"), file(tmp_path / "d/b").parent]
    places: list[Location] = [LocalDirectory("/o"), S3Prefix("b")]
    plan = plan_for(paths, *places, remove_dest_dir=True)
    assert [item.cleared_folder for item in plan.deliveries] == [None, None, "/o/x/d", "s3://b/x/d"]


@pytest.mark.parametrize("folder", ["/o/T1/", "/o/MAX//", "/"])
def test_substitutions_may_add_slashes_after_a_directory(folder: str, tmp_path: Path) -> None:
    file(tmp_path / "d/a")
    (tmp_path / "d/sub").mkdir()
    (delivery,) = plan_for(
        [tmp_path / "d"], LocalDirectory("/o"), rules=(("/o/x/d", folder),)
    ).deliveries
    top = folder.rstrip("/")
    assert delivery.destination == folder
    assert [item.destination for item in delivery.transfers] == [f"{top}/a"]
    assert delivery.directories == (top or "/", f"{top}/sub")


def test_the_destination_of_a_directory_is_decided_with_a_slash_at_its_end(tmp_path: Path) -> None:
    """nipype does so, and substitutions and subclasses may depend on it."""
    file(tmp_path / "d/a")
    seen: list[str] = []

    def relative(path: str) -> str:
        seen.append(path)
        return "name"

    rules = Rules(
        locations=(LocalDirectory("/o"),), relative=relative, substitute=lambda path: path
    )
    for name in ("d", "d/a"):
        source = Source("x", str(tmp_path / name))
        make_plan([(source, scan(source))], rules)
    assert seen == [f"{tmp_path}/d/", f"{tmp_path}/d/a"]


def test_links_in_destinations_are_resolved(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (real / "a").symlink_to("elsewhere")
    path = file(tmp_path / "in/a")
    (delivery,) = plan_for(
        [path], LocalDirectory(str(tmp_path)), rules=(("/x/", "/link/./../link/"),)
    ).deliveries
    assert delivery.destination == f"{tmp_path}/link/./../link/a"
    assert [item.destination for item in delivery.transfers] == [str(real / "a")]


def test_a_relative_destination_is_below_the_working_directory(workdir: Path) -> None:
    path = file(workdir / "in/a")
    plan = plan_for([path], LocalDirectory("/o"), rules=(("/o/x/", "here/"),))
    assert plan.deliveries[0].destination == "here/a"
    assert targets(plan) == [str(workdir / "here/a")]


def test_destination_names_the_injected_bucket(tmp_path: Path) -> None:
    (delivery,) = plan_for([file(tmp_path / "a")], S3Prefix("b", "p", "mine")).deliveries
    assert delivery.destination == "s3://mine/p/x/a"
    assert delivery.transfers[0].destination == "s3://mine/p/x/a"
    assert delivery.transfers[0].key == "p/x/a"


@pytest.mark.parametrize(("path", "folder"), [("/o/x/a", "/o/x"), ("/a", "/")])
def test_a_file_has_a_folder(path: str, folder: str) -> None:
    assert FileTransfer(source="/a", destination=path, size=0).folder == folder


def test_equal_destinations_are_transferred_once(tmp_path: Path) -> None:
    paths = [file(tmp_path / name / "f") for name in "ab"]
    middle = file(tmp_path / "g", b"12")
    plan = plan_for([paths[0], middle, paths[1]], LocalDirectory("/o"))
    assert len(plan.deliveries) == 3
    assert {item.source for item in plan.transfers} == {str(paths[0]), str(middle)}
    assert plan.size == 3


def test_plan_as_text_lists_destinations(tmp_path: Path) -> None:
    path = file(tmp_path / "a", b"x" * 1234)
    assert str(plan_for([path], S3Prefix("b", "p"))) == (
        f"x: {path} -> s3://b/p/x/a (1,234 bytes)\n1 file, 1,234 bytes"
    )


def test_plan_as_text_lists_all_deliveries_and_what_is_missing(tmp_path: Path) -> None:
    paths = [file(tmp_path / "a"), file(tmp_path / "d/b").parent]
    plan = plan_for(paths, S3Prefix("b"))
    absent = tuple(Problem("y", name, "does not exist") for name in ("/c", "/d"))
    unused = (Problem("z", "'sub1'", "is not the name of a file"),)
    assert str(Plan(plan.deliveries, absent, unused)).splitlines() == [
        f"x: {tmp_path}/a -> s3://b/x/a (1 byte)",
        f"x: {tmp_path}/d/b -> s3://b/x/d/b (1 byte)",
        "missing: y: /c does not exist",
        "missing: y: /d does not exist",
        "ignored: z: 'sub1' is not the name of a file",
        "2 files, 2 bytes, 2 missing",
    ]


def test_a_plan_without_removals_delivers_the_same(tmp_path: Path) -> None:
    paths = [file(tmp_path / "a"), file(tmp_path / "d/b").parent]
    planned = [plan_for(paths, S3Prefix("b"), remove_dest_dir=clears) for clears in (True, False)]
    reports = (Problem("y", "/c", "does not exist"),), (Problem("z", "'sub1'", "is not"),)
    with_removals, without = (Plan(plan.deliveries, *reports) for plan in planned)
    assert with_removals != without
    assert with_removals.without_removals() == without


def test_transfers_to_different_destinations_have_different_hashes() -> None:
    """Deliveries of many files look up their outcomes by transfer."""
    transfers = [FileTransfer(source="/a", destination=f"/o/{n}", size=1) for n in range(9)]
    assert len(set(map(hash, transfers))) == len(transfers)


def test_plan_as_text_lists_empty_directories_and_removals(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    plan = plan_for([empty], S3Prefix("b", "p"), remove_dest_dir=True)
    assert str(plan) == (
        f"x: {empty} -> s3://b/p/x/empty (no files)\n"
        "x: removes what else is in s3://b/p/x/empty\n"
        "0 files, 0 bytes"
    )


def test_plan_as_text_names_the_directory_of_the_manifest(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    plan = plan_for([empty], S3Prefix("b", "p"), manifest_directory=S3Prefix("b", "m"))
    assert plan.manifest_directory == "s3://b/m"
    assert str(plan).splitlines()[-2:] == ["manifest: in s3://b/m", "0 files, 0 bytes"]
    assert "manifest" not in str(plan_for([empty], S3Prefix("b", "p")))


def test_plan_of_a_sink_without_values_names_the_plan_of_a_workflow() -> None:
    plan = plan_for([], S3Prefix("b", "p"))
    assert str(plan) == "nothing is set; a connected sink is shown by plan(workflow)"


def test_plan_of_a_sink_with_unusable_values_only_names_them() -> None:
    problem = Problem("x", "sub-01", "does not exist", missing=True)
    missing, ignored = Plan((), missing=(problem,)), Plan((), ignored=(problem,))
    assert str(missing) == f"missing: {problem}\n0 files, 0 bytes, 1 missing"
    assert str(ignored) == f"ignored: {problem}\n0 files, 0 bytes"


@pytest.mark.parametrize("name", ["k" * 1021, "../../a"], ids=["1025-bytes", "outside"])
def test_destination_that_cannot_be_a_key_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(DestinationError):
        plan_for([file(tmp_path / "aa")], S3Prefix("b"), rules=(("x/aa", f"xyz/{name}"),))


def test_all_invalid_destinations_are_in_one_error(tmp_path: Path) -> None:
    for name in ("d/a", "d/\udcfe", "d/\udcff", "up", "nul", "long"):
        file(tmp_path / name)
    paths = [tmp_path / name for name in ("nul", "d", "up", "long")]
    rules = (
        ("/o/x/nul", "/o/\0"),
        ("s3://b/x/up", "s3://b/../up"),
        ("/o/x/long", f"/o/{'n' * 256}"),
    )
    with pytest.raises(DestinationError) as caught:
        plan_for(paths, LocalDirectory("/o"), S3Prefix("b"), rules=rules)
    title, *lines, last = str(caught.value).splitlines()
    assert title == last == "nothing was written, because 5 destinations are not possible"
    assert [line.strip().partition("; ")[0] for line in lines] == [
        "x: '/o/\\x00' contains a NUL character",
        "x: 's3://b/x/d/\\udcfe' is not UTF-8, which S3 keys must be",
        "x: 's3://b/x/d/\\udcff' is not UTF-8, which S3 keys must be",
        "x: 's3://b/../up' leaves its bucket by '..'",
        f"x: '/o/{'n' * 256}' contains the name '{'n' * 256}' of 256 bytes",
    ]


@pytest.mark.parametrize("folder", ["\0", "\ud800"], ids=["NUL", "surrogate"])
def test_folder_that_cannot_exist_is_an_error(folder: str, tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="contains a"):
        plan_for([file(tmp_path / "a")], LocalDirectory("/o"), rules=(("/x/", f"/{folder}/"),))


def test_folders_on_disk_are_looked_up_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.setattr(RealPathCache, "look_up", lambda _, paths: given.extend(paths))
    file(tmp_path / "d/e/a")
    plan_for([tmp_path / "d", file(tmp_path / "b")], LocalDirectory("/o"), S3Prefix("b"))
    assert sorted(given) == ["/o/x", "/o/x/d", "/o/x/d/e"]


def test_links_are_read_again_for_every_plan(tmp_path: Path) -> None:
    path = file(tmp_path / "in/a")
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / "x").unlink(missing_ok=True)
        (tmp_path / "x").symlink_to(name)
        assert targets(plan_for([path], LocalDirectory(str(tmp_path)))) == [
            str(tmp_path / name / "a")
        ]
