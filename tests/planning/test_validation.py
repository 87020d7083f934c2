"""Test that invalid plans raise an error that names everything that is wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from nipype_datasink.errors import (
    CollisionError,
    DataSinkError,
    DestinationError,
    SourceError,
)
from nipype_datasink.planning.listings import find_status
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import Plan, make_plan
from nipype_datasink.planning.routing import Rules, Substitutions
from nipype_datasink.planning.validation import (
    _check_obstacles,
    _find_missing,
    make_valid_plan,
)
from tests.caseless import ignore_case
from tests.conftest import tree


def file(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def plan_for(
    fields: dict[str, object],
    location: Location,
    *rules: tuple[str, str],
    remove_dest_dir: bool = False,
    manifest_directory: Location | None = None,
) -> Plan:
    return make_valid_plan(
        fields,
        Rules(
            locations=(location,),
            relative=lambda source: source.rstrip("/").rpartition("/")[2],
            substitute=Substitutions(literal=rules).apply,
            remove_dest_dir=remove_dest_dir,
            manifest_directory=manifest_directory,
        ),
    )


def out(workdir: Path) -> LocalDirectory:
    return LocalDirectory(str(workdir / "out"))


def test_all_missing_sources_are_listed(workdir: Path) -> None:
    (workdir / "link").symlink_to("gone")
    file(workdir / "good")
    plan = plan_for({"x": ["no.ne", "good"], "y": "link"}, out(workdir))
    assert [str(problem) for problem in plan.missing] == [
        f"x: {workdir}/no.ne does not exist",
        f"y: {workdir}/link links to gone, which does not exist",
    ]
    assert [delivery.source for delivery in plan.deliveries] == [f"{workdir}/good"]


def test_text_that_is_not_a_path_is_ignored(workdir: Path) -> None:
    file(workdir / "good")
    plan = plan_for({"@id": ["sub 01", "good"], "y": "n" * 300}, out(workdir))
    assert "ignored: @id: 'sub 01' is not the name of a file" in str(plan)
    assert [str(problem) for problem in plan.ignored] == [
        "@id: 'sub 01' is not the name of a file",
        f"y: {'n' * 300!r} is not the name of a file",
    ]
    assert [delivery.source for delivery in plan.deliveries] == [f"{workdir}/good"]
    assert plan.missing == ()


@pytest.mark.parametrize("value", ["./none", "no.ne", "d/none", Path("none")], ids=str)
def test_text_that_may_be_a_path_is_missing(value: object, workdir: Path) -> None:
    plan = plan_for({"x": value}, out(workdir))
    assert [problem.missing for problem in plan.missing] == [True]
    assert plan.ignored == ()


@pytest.mark.parametrize("name", ["subject", "pair.img"])
def test_source_that_cannot_be_looked_at_is_an_error(
    name: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither an identifier nor, as a companion, absent: it may well exist."""
    file(workdir / "pair.hdr")
    lstat = os.lstat

    def fail(path: str, **options: Any) -> os.stat_result:
        if str(path).endswith(("subject", "pair.img")):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(SourceError, match=rf"{name} cannot be accessed: Input/output error"):
        plan_for({"x": name.replace("img", "hdr")}, out(workdir))


def test_directory_is_delivered_without_its_missing_files(workdir: Path) -> None:
    file(workdir / "d/a")
    (workdir / "d/link").symlink_to("gone")
    plan = plan_for({"x": "d"}, out(workdir))
    assert [transfer.source for transfer in plan.transfers] == [f"{workdir}/d/a"]
    assert [problem.value for problem in plan.missing] == [f"{workdir}/d/link"]


def test_invalid_source_raises_an_error_that_also_lists_missing_ones(workdir: Path) -> None:
    with pytest.raises(SourceError) as caught:
        plan_for({"x": [3, "no.ne"]}, out(workdir))
    assert str(caught.value).splitlines() == [
        "nothing was written, because 2 values cannot be delivered",
        "  x: 3 is an int, not a path",
        f"  x: {workdir}/no.ne does not exist",
        "nothing was written, because 2 values cannot be delivered",
    ]


def test_field_that_may_be_a_misspelt_input_is_named_with_it(workdir: Path) -> None:
    rules = Rules(
        locations=(out(workdir),), relative=os.path.basename, substitute=lambda path: path
    )
    fields: dict[str, object] = {"base_dir": "./none", "motion": "./none"}
    plan = make_valid_plan(fields, rules, inputs=["base_directory", "container"])
    assert [str(problem) for problem in plan.missing] == [
        f"base_dir: {workdir}/none does not exist; is the input 'base_directory' meant?",
        f"motion: {workdir}/none does not exist",
    ]
    with pytest.raises(SourceError, match="2 is an int, not a path; is the input 'base_directory'"):
        make_valid_plan({"base_dir": 2}, rules, inputs=["base_directory", "container"])


def test_equal_problems_are_listed_once(workdir: Path) -> None:
    plan = plan_for({"x": ["no.ne", "no.ne", "id", "id"]}, out(workdir))
    assert len(plan.missing) == len(plan.ignored) == 1


def test_missing_source_that_the_same_run_delivers_is_explained(workdir: Path) -> None:
    file(workdir / "a")
    plan = plan_for({"x": "a", "y": ["out/x/a", "no.ne"]}, out(workdir))
    assert [str(problem) for problem in plan.missing] == [
        f"y: {workdir}/out/x/a does not exist until this sink has delivered it; "
        "use two sinks, one after the other",
        f"y: {workdir}/no.ne does not exist",
    ]


@pytest.mark.parametrize("where", ["d", "d/sub", "d/x", "link"])
def test_directory_that_contains_its_destination_is_an_error(where: str, workdir: Path) -> None:
    file(workdir / "d/sub/a")
    (workdir / "link").symlink_to("d")
    with pytest.raises(SourceError) as caught:
        plan_for({"x": "d"}, LocalDirectory(str(workdir / where)))
    assert str(caught.value) == (
        f"x: {workdir}/d contains its own destination {workdir}/{where}/x/d; "
        "choose a base_directory outside it"
    )


def test_directory_that_links_to_its_destination_is_an_error(workdir: Path) -> None:
    (workdir / "d").mkdir()
    (workdir / "out").mkdir()
    (workdir / "d/link").symlink_to(workdir / "out")
    with pytest.raises(SourceError, match="contains its own destination"):
        plan_for({"x": "d"}, out(workdir))


def test_destination_that_links_into_its_source_is_an_error(workdir: Path) -> None:
    file(workdir / "d/sub/a")
    (workdir / "out/x").mkdir(parents=True)
    (workdir / "out/x/d").symlink_to(workdir / "d/sub")
    with pytest.raises(SourceError, match="contains its own destination"):
        plan_for({"x": "d"}, out(workdir))


def test_directory_may_be_sunk_onto_or_next_to_itself(workdir: Path) -> None:
    file(workdir / "out/x/d/a")
    file(workdir / "out/x/d2/a")
    assert len(plan_for({"x": "out/x/d"}, out(workdir)).deliveries) == 1
    assert len(plan_for({"x": "out/x/d2"}, out(workdir), ("d2", "d")).deliveries) == 1


@pytest.mark.parametrize("rule", [("x/a", "dir"), ("x/a", "dir/"), ("x/a", "new/")])
def test_directory_in_place_of_a_file_is_an_error(rule: tuple[str, str], workdir: Path) -> None:
    file(workdir / "a")
    (workdir / "out/dir").mkdir(parents=True)
    with pytest.raises(DestinationError) as caught:
        plan_for({"x": "a"}, out(workdir), rule)
    assert str(caught.value) == (
        f"x: {workdir}/a cannot become the file {workdir}/out/{rule[1]}, "
        "which is a directory; remove the directory, or change the destination by a substitution"
    )


@pytest.mark.parametrize("name", [".", ".."])
def test_file_named_dot_or_dotdot_is_an_error(name: str, workdir: Path) -> None:
    file(workdir / "a")
    with pytest.raises(DestinationError, match="cannot become the file"):
        plan_for({"x": "a"}, out(workdir), ("x/a", f"x/y/{name}"))
    file(workdir / "d/b")
    assert len(plan_for({"x": "d"}, out(workdir), ("x/d", f"x/y/{name}")).transfers) == 1


def test_search_for_obstacles_ends_at_the_root(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    nothing = mock.Mock(side_effect=[None] * 100)  # as after errors
    monkeypatch.setattr("nipype_datasink.planning.validation.find_status", nothing)
    assert len(plan_for({"x": "a"}, out(workdir)).transfers) == 1


def test_link_to_a_directory_may_be_replaced_by_a_file(workdir: Path) -> None:
    file(workdir / "a")
    (workdir / "out/x").mkdir(parents=True)
    (workdir / "out/x/a").symlink_to(workdir)
    assert len(plan_for({"x": "a"}, out(workdir)).transfers) == 1


@pytest.mark.parametrize(
    ("source", "obstacle", "needed", "kind"),
    [
        pytest.param("a", "out", "out/x", "file", id="base"),
        pytest.param("a", "out/x", "out/x", "file", id="folder"),
        pytest.param("d", "out/x/d", "out/x/d", "file", id="directory-itself"),
        pytest.param("d", "out/x/d/sub", "out/x/d/sub", "file", id="directory-below"),
        pytest.param("d", "out/x/d/empty", "out/x/d/empty", "file", id="empty-directory"),
        pytest.param("d", "out/x/d", "out/x/d", "link", id="dangling-link"),
        pytest.param("d", "out/x/d/sub", "out/x/d/sub", "link", id="dangling-link-below"),
    ],
)
def test_file_in_place_of_a_directory_is_an_error(
    source: str, obstacle: str, needed: str, kind: str, workdir: Path
) -> None:
    file(workdir / "a")
    file(workdir / "d/sub/b")
    (workdir / "d/empty").mkdir()
    if kind == "file":
        file(workdir / obstacle)
    else:
        (workdir / obstacle).parent.mkdir(parents=True)
        (workdir / obstacle).symlink_to("gone")
    with pytest.raises(DestinationError) as caught:
        plan_for({"x": source}, out(workdir))
    assert str(caught.value) == (
        f"x: {workdir}/out/x/{source} needs the directory {workdir}/{needed}, "
        f"but {workdir}/{obstacle} is not a directory; move it away or change the destination"
    )


@pytest.mark.parametrize("obstacle", ["out", "out/x", "out/x/d", "out/x/d/3"])
def test_an_obstacle_to_many_directories_is_found(obstacle: str, workdir: Path) -> None:
    for number in range(9):
        file(workdir / f"d/{number}/a")
    file(workdir / obstacle)
    single: dict[str, object] = {f"x.d.{number}": f"d/{number}/a" for number in range(9)}
    whole: dict[str, object] = {"x": "d"}
    for fields in (single, whole):
        with pytest.raises(DestinationError, match=f"but {workdir}/{obstacle} is not a directory"):
            plan_for(fields, out(workdir))


def test_file_in_place_of_a_directory_is_found_for_each_source(workdir: Path) -> None:
    for name in ("d", "e"):
        file(workdir / name / "a")
    file(workdir / "out/x/d")
    with pytest.raises(DestinationError, match=f"but {workdir}/out/x/d is not a directory"):
        plan_for({"x": ["d", "e"]}, out(workdir))


def test_missing_folder_is_looked_up_once_for_all_folders_in_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        file(workdir / "d" / name / "file")
    seen: list[str] = []
    lstat = os.lstat

    def record(path: Any, **options: Any) -> os.stat_result:
        seen.append(path)
        return lstat(path, **options)

    monkeypatch.setattr("nipype_datasink.planning.listings.os.lstat", record)
    plan = plan_for({"x": "d"}, out(workdir))
    seen.clear()
    _check_obstacles(plan.deliveries)
    assert seen.count(f"{workdir}/out/x") == 1


def test_existing_folder_is_looked_up_once_for_new_folders_in_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "a")
    (workdir / "out/x").mkdir(parents=True)
    calls = mock.Mock(wraps=find_status)
    monkeypatch.setattr("nipype_datasink.planning.validation.find_status", calls)
    plan_for({f"x.{number}": "a" for number in range(4)}, out(workdir))
    assert calls.call_args_list.count(mock.call(f"{workdir}/out/x")) == 1


@pytest.mark.parametrize("where", [LocalDirectory("/o"), S3Prefix("b", "o")], ids=str)
def test_different_bytes_at_one_destination_are_an_error(where: Location, workdir: Path) -> None:
    file(workdir / "1/a", "one")
    file(workdir / "2/a", "two")
    with pytest.raises(CollisionError) as caught:
        plan_for({"x": "1/a", "x.@y": "2/a"}, where)
    assert str(caught.value) == (
        f"nothing was written: {workdir}/1/a and {workdir}/2/a differ, and both would become "
        f"{where}/x/a. Change one of the destinations by the input's name, by parameterization or "
        "by a substitution"
    )


@pytest.mark.parametrize("equal", [False, True])
def test_two_names_of_one_file_are_a_collision_unless_the_bytes_are_equal(
    equal: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk := workdir / "out").mkdir()
    sources = [file(workdir / str(n) / name) for n, name in enumerate(("Bold", "mask", "bold"))]
    file(disk / "shows that case is ignored")
    ignore_case(monkeypatch, disk)
    if equal:
        assert len(plan_for({"x": sources}, out(workdir)).deliveries) == 3
        return
    sources[2].write_text("other")
    with pytest.raises(CollisionError) as caught:
        plan_for({"x": sources}, out(workdir))
    assert str(caught.value) == (
        f"nothing was written: {workdir}/0/Bold and {workdir}/2/bold differ, but the file system "
        f"treats {disk}/x/Bold and {disk}/x/bold as one file: it ignores case or Unicode form. "
        "Change one of the destinations by the input's name, by parameterization or by a "
        "substitution"
    )


def test_equal_bytes_at_one_destination_are_two_entries(workdir: Path) -> None:
    file(workdir / "1/a")
    file(workdir / "2/a")
    plan = plan_for({"x": ["1/a", "2/a"]}, out(workdir))
    assert [item.destination for item in plan.deliveries] == [f"{workdir}/out/x/a"] * 2
    assert len(plan.transfers) == 1


def test_companions_collide_too(workdir: Path) -> None:
    for number in "12":
        file(workdir / number / "a.img", "equal")
        file(workdir / number / "a.hdr", number)
    with pytest.raises(CollisionError, match=r"a\.hdr differ"):
        plan_for({"x": ["1/a.img", "2/a.img"]}, out(workdir))


def test_collision_through_a_link_is_an_error(workdir: Path) -> None:
    file(workdir / "1/a", "one")
    file(workdir / "2/a", "two")
    (workdir / "out/x").mkdir(parents=True)
    (workdir / "out/y").symlink_to("x")
    with pytest.raises(CollisionError):
        plan_for({"x": "1/a", "y": "2/a"}, out(workdir))


@pytest.mark.parametrize("where", [LocalDirectory("/o"), S3Prefix("b", "o")], ids=str)
@pytest.mark.parametrize("folder", ["f/b", "d"], ids=["folder-of-a-file", "empty-directory"])
def test_file_that_is_also_a_folder_is_an_error(
    folder: str, where: Location, workdir: Path
) -> None:
    file(workdir / "a")
    file(workdir / "f/b")
    (workdir / "d").mkdir()
    rules = [("o/x/a", "o/x/y"), ("o/y/f/b", "o/x/y/b"), ("o/y/b", "o/x/y/b"), ("o/y/d", "o/x/y")]
    with pytest.raises(CollisionError) as caught:
        plan_for({"x": "a", "y": folder}, where, *rules)
    assert str(caught.value) == (
        f"nothing was written: {workdir}/a would become the file {where}/x/y, "
        "which is also the folder of other files"
    )


def check_overwriting_is_an_error(fields: dict[str, object], workdir: Path) -> None:
    with pytest.raises(CollisionError) as caught:
        plan_for(fields, out(workdir))
    assert "would overwrite it in the same run; use two sinks, one after" in str(caught.value)


@pytest.mark.parametrize("order", ["xy", "yx"])
def test_source_that_another_delivery_would_overwrite_is_an_error(
    order: str, workdir: Path
) -> None:
    file(workdir / "out/x/a", "old")
    file(workdir / "a", "new")
    fields: dict[str, object] = {"x": "a", "y": "out/x/a"}
    check_overwriting_is_an_error({name: fields[name] for name in order}, workdir)


@pytest.mark.parametrize(
    "links",
    [
        pytest.param({"out/x/a": "{0}/real"}, id="link-itself"),
        pytest.param({"link": "{0}/out/x/a"}, id="what-it-links-to"),
        pytest.param({"link": "{0}/out/x/a", "out/x/a": "{0}/real"}, id="link-between"),
        pytest.param({"new/link": "../out/x/a"}, id="relative-link"),
    ],
)
def test_linked_source_that_would_be_overwritten_is_an_error(
    links: dict[str, str], workdir: Path
) -> None:
    file(workdir / "new/a", "new")
    file(workdir / "real", "old")
    (workdir / "out/x").mkdir(parents=True)
    if "out/x/a" not in links:
        file(workdir / "out/x/a", "old")
    for link, aim in links.items():
        (workdir / link).symlink_to(aim.format(workdir))
    source = next(iter(links))
    check_overwriting_is_an_error({"x": "new/a", "y": source}, workdir)


def test_source_may_be_overwritten_by_equal_bytes(workdir: Path) -> None:
    file(workdir / "out/x/a")
    file(workdir / "a")
    assert len(plan_for({"x": "a", "y": "out/x/a"}, out(workdir)).transfers) == 2


@pytest.mark.parametrize("target", ["out", "../w"], ids=["base", "above"])
@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_base_directory_is_never_cleared(kind: str, target: str, tmp_path: Path) -> None:
    file(tmp_path / "in/d/a")
    disk = kind == "disk"
    base = LocalDirectory(str(tmp_path / "w/out")) if disk else S3Prefix("b", "w/out")
    rule = (f"{base}/x/d", f"{base}" if target == "out" else str(base).removesuffix("/out"))
    with pytest.raises(DestinationError) as caught:
        plan_for({"x": str(tmp_path / "in/d")}, base, rule, remove_dest_dir=True)
    assert str(caught.value) == (
        f"x: remove_dest_dir would empty the base directory {base}; "
        "change the destination by a substitution, or unset remove_dest_dir"
    )


@pytest.mark.parametrize("place", ["out/x/d", "out/x/d/m", "link/m"])
def test_folder_with_manifests_is_never_cleared(place: str, workdir: Path) -> None:
    """Other sinks may have written some of them."""
    file(workdir / "in/d/a")
    (workdir / "out/x/d").mkdir(parents=True)
    (workdir / "link").symlink_to("out/x/d")
    manifests = LocalDirectory(str(workdir / place))
    with pytest.raises(DestinationError) as caught:
        plan_for({"x": "in/d"}, out(workdir), remove_dest_dir=True, manifest_directory=manifests)
    real = os.path.realpath(manifests.path)
    assert str(caught.value) == (
        f"x: remove_dest_dir would empty the directory of the manifests {real}; "
        "change the destination by a substitution, or unset remove_dest_dir"
    )
    assert plan_for({"x": "in/d"}, out(workdir), manifest_directory=manifests).transfers


def test_folder_with_manifests_in_s3_is_never_cleared(workdir: Path) -> None:
    file(workdir / "in/d/a")
    manifests = S3Prefix("b", "out/x/d/m")
    base = S3Prefix("b", "out")
    with pytest.raises(DestinationError, match=r"the manifests s3://b/out/x/d/m;"):
        plan_for({"x": "in/d"}, base, remove_dest_dir=True, manifest_directory=manifests)


def test_folder_beside_the_manifests_is_cleared(workdir: Path) -> None:
    file(workdir / "in/d/a")
    manifests = LocalDirectory(str(workdir / "out/x/m"))
    plan = plan_for({"x": "in/d"}, out(workdir), remove_dest_dir=True, manifest_directory=manifests)
    assert plan.clears_folders


def test_base_directory_is_never_cleared_through_a_link(workdir: Path) -> None:
    file(workdir / "d/a")
    (workdir / "real/out").mkdir(parents=True)
    (workdir / "link").symlink_to("real")
    with pytest.raises(DestinationError, match=f"empty the base directory {workdir}/real/out;"):
        plan_for(
            {"x": "d"},
            LocalDirectory(str(workdir / "link/out")),
            ("/x/d", ""),
            remove_dest_dir=True,
        )


def test_root_of_the_file_system_is_never_cleared(workdir: Path) -> None:
    file(workdir / "d/a")
    where = out(workdir)
    with pytest.raises(DestinationError, match=f"would empty the base directory {where};"):
        plan_for({"x": "d"}, where, (f"{where}/x/d", "/"), remove_dest_dir=True)


def test_root_of_a_bucket_is_never_cleared(workdir: Path) -> None:
    file(workdir / "d/a")
    with pytest.raises(DestinationError):
        plan_for({"x": "d"}, S3Prefix("b"), ("/x/d", ""), remove_dest_dir=True)


def test_folder_that_shares_a_name_prefix_with_the_base_may_be_cleared(workdir: Path) -> None:
    file(workdir / "d/a")
    plan = plan_for({"x": "d"}, out(workdir), ("out/x/d", "ou"), remove_dest_dir=True)
    assert plan.deliveries[0].cleared_folder == f"{workdir}/ou"


def test_folder_that_is_a_link_is_not_cleared(workdir: Path) -> None:
    file(workdir / "d/a")
    (workdir / "out/x").mkdir(parents=True)
    (workdir / "out/x/d").symlink_to(workdir / "else")
    (workdir / "else").mkdir()
    with pytest.raises(DestinationError) as caught:
        plan_for({"x": "d"}, out(workdir), remove_dest_dir=True)
    assert str(caught.value) == (
        f"x: remove_dest_dir cannot empty {workdir}/out/x/d, which is a link; "
        "replace the link by a directory, or unset remove_dest_dir"
    )


def test_making_a_plan_writes_nothing(workdir: Path) -> None:
    file(workdir / "d/a")
    before = tree(workdir)
    plan_for({"x": "d"}, out(workdir), remove_dest_dir=True)
    with pytest.raises(DataSinkError):
        plan_for({"x": "d", "y": 3}, out(workdir))
    assert tree(workdir) == before


def test_plan_without_fields_is_empty(workdir: Path) -> None:
    assert plan_for({}, out(workdir)) == Plan(())
    assert not os.path.exists(workdir / "out")


def test_base_in_an_injected_bucket_is_never_cleared(workdir: Path) -> None:
    file(workdir / "d/a")
    where = S3Prefix("written", "base", injected_bucket="real")
    with pytest.raises(DestinationError, match="would empty the base directory s3://real/base"):
        plan_for({"x": "d"}, where, ("/x/d", ""), remove_dest_dir=True)


@pytest.mark.parametrize(
    ("base", "rule"),
    [
        pytest.param("copy/x/d/base", ("", ""), id="base"),
        pytest.param("base", ("base/x/d", "copy/x/d/in"), id="delivery"),
    ],
)
def test_files_of_the_other_location_are_never_cleared(
    base: str, rule: tuple[str, str], workdir: Path
) -> None:
    file(workdir / "d/a")
    with pytest.raises(DestinationError, match=f"would empty .*{workdir}/copy/x/d/"):
        make_valid_plan(
            {"x": "d"},
            Rules(
                locations=(
                    LocalDirectory(str(workdir / base)),
                    LocalDirectory(str(workdir / "copy")),
                ),
                relative=lambda source: source.rstrip("/").rpartition("/")[2],
                substitute=lambda path: path.replace(*rule) if rule[0] else path,
                remove_dest_dir=True,
            ),
        )


def test_source_that_disappears_before_the_comparison_is_an_error(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(workdir / "1/a")
    gone = file(workdir / "2/a")

    def make_plan_and_delete_source(*args: Any, **options: Any) -> Plan:
        plan = make_plan(*args, **options)
        gone.unlink()
        return plan

    monkeypatch.setattr(
        "nipype_datasink.planning.validation.make_plan", make_plan_and_delete_source
    )
    with pytest.raises(SourceError) as caught:
        plan_for({"x": ["1/a", "2/a"]}, out(workdir))
    assert str(caught.value) == (
        f"nothing was written: {gone} cannot be read: No such file or directory"
    )
    assert isinstance(caught.value.original, FileNotFoundError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_source_that_cannot_be_compared_is_an_error(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of reading a file has no name."""

    def fail(*_: str) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for number in "12":
        file(workdir / number / "a")
    monkeypatch.setattr("nipype_datasink.planning.collisions.same_bytes", fail)
    with pytest.raises(SourceError) as caught:
        plan_for({"x": ["1/a", "2/a"]}, out(workdir))
    assert str(caught.value) == (
        f"nothing was written: {workdir}/2/a cannot be read: Input/output error"
    )


def test_time_limit_ends_a_comparison(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: str) -> bool:
        raise TimeoutError("too late")

    for number in "12":
        file(workdir / number / "a")
    monkeypatch.setattr("nipype_datasink.planning.collisions.same_bytes", end)
    with pytest.raises(TimeoutError, match="too late"):
        plan_for({"x": ["1/a", "2/a"]}, out(workdir))


def test_missing_folders_and_all_in_them_are_found(workdir: Path) -> None:
    (workdir / "3").mkdir()
    folders = [f"{workdir}/{number}" for number in range(9)]
    del folders[3]
    paths = [f"{workdir}/{number}/sub" for number in range(9)]
    assert _find_missing(paths) == {*folders, *paths} - {f"{workdir}/3/sub"}


def test_what_a_folder_that_does_not_exist_would_hold_is_not_looked_up(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        for name in "abcdef":  # so many that a listing may take the place of look-ups
            file(workdir / f"in/{number}/sub/{name}")
    looked_up: list[str] = []

    def record(function: Callable[..., Any]) -> Callable[..., Any]:
        def recording(path: Any, **options: Any) -> Any:
            looked_up.append(str(path))
            return function(path, **options)

        return recording

    for name in ("scandir", "lstat"):
        monkeypatch.setattr(os, name, record(getattr(os, name)))
    plan_for({"x": [f"in/{number}" for number in range(9)]}, out(workdir))
    assert f"{workdir}/out" in looked_up
    below = {path for path in looked_up if path.startswith(f"{workdir}/out/")}
    assert below == {f"{workdir}/out/x/0", f"{workdir}/out/x"}


def test_relative_paths_are_below_the_directory_of_the_node(workdir: Path) -> None:
    source = file(workdir / "node/a.txt")
    rules = Rules(
        locations=(out(workdir),), relative=os.path.basename, substitute=lambda path: path
    )
    plan = make_valid_plan({"x": "a.txt"}, rules, directory=str(source.parent))
    assert [transfer.source for transfer in plan.transfers] == [str(source)]


@pytest.mark.parametrize(
    ("fields", "calls"),
    [
        ({"x": "a"}, 1),
        ({"x": "e"}, 4),
        ({"x": ["a", "d/a"]}, 3),
        ({"x": "a", "y": "out/x/a"}, 3),
        ({"x": ["a", "d/A"]}, 3),
    ],
    ids=["file", "directory", "equal bytes", "a source that would be overwritten", "similar names"],
)
def test_a_function_is_called_for_each_file_that_is_looked_up_or_compared(
    fields: dict[str, object], calls: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "d/a", "d/A", "e/1", "e/2", "out/x/a"):
        file(workdir / name)
    ignore_case(monkeypatch, workdir / "out")
    called: list[None] = []
    rules = Rules(
        locations=(out(workdir),),
        relative=lambda source: source.rstrip("/").rpartition("/")[2],
        substitute=str,
    )
    make_valid_plan(fields, rules, on_progress=lambda: called.append(None))
    assert len(called) == calls


def test_a_function_is_called_while_threads_read_the_sources(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def record(function: Any, items: Any, *, on_wait: Any = None, **_: Any) -> list[Any]:
        given.append(on_wait)
        return [function(item) for item in items]

    for name in ("contents", "validation"):
        monkeypatch.setattr(f"nipype_datasink.planning.{name}.adaptive_map", record)
    file(workdir / "d/a")
    rules = Rules(locations=(out(workdir),), relative=os.path.basename, substitute=str)

    def on_progress() -> None:
        pass

    make_valid_plan({"x": "d"}, rules, on_progress=on_progress)
    assert given[:2] == [on_progress, on_progress]
