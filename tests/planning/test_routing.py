"""Test the destination of a source: container, field, parameterization and substitutions."""

from __future__ import annotations

import logging
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink.errors import DestinationError, SettingsError
from nipype_datasink.planning.contents import scan
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import make_plan
from nipype_datasink.planning.routing import (
    Rules,
    Substitutions,
    bucket_root,
    log_changes,
    relative_destination,
    route,
)
from nipype_datasink.planning.s3_copy import make_s3_copy
from nipype_datasink.planning.sources import Source

NAMES = st.text("abX_.-@ é", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
TEXTS = st.text("s3:/bucket.x", max_size=6)
CASCADE = Substitutions(literal=(("a", "x"), ("x_", "y")), regular=(("y(.)", "z"), ("^z", "")))
RULES = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("/w/a.nii", "a.nii", id="file"),
        pytest.param("/w/d/", "d", id="directory"),
        pytest.param("/a.nii", "a.nii", id="file-in-root"),
        pytest.param("/w/_run_1/a.nii", "_run_1/a.nii", id="one"),
        pytest.param("/_sub_1/w/_run_2/x/a.nii", "_sub_1/_run_2/a.nii", id="two-in-order"),
        pytest.param("/_s/w/_d/", "_s/_d", id="directory-in-one"),
        pytest.param("/w/a_b/a.nii", "a.nii", id="underscore-inside"),
        pytest.param("/w/_/a.nii", "_/a.nii", id="underscore-only"),
        pytest.param("/w/_a.nii", "_a.nii", id="name-with-underscore"),
        pytest.param("/w/_a//", "_a", id="slashes-do-not-count"),
    ],
)
def test_parameterization_keeps_the_folders_of_iterables(source: str, expected: str) -> None:
    assert relative_destination(source, parameterization=True, strip_dir=None) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("/w/_run_1/a.nii", "a.nii"), ("/w/_run_1/d/", "d"), ("/w/_d/", "_d"), ("/a", "a")],
)
def test_without_parameterization_only_the_name_is_kept(source: str, expected: str) -> None:
    assert relative_destination(source, parameterization=False, strip_dir="w") == expected


@pytest.mark.parametrize(
    ("strip_dir", "expected"),
    [
        pytest.param("/w/_a", "_b/_f", id="beginning"),
        pytest.param("_a/", "_b/_f", id="middle"),
        pytest.param("_", "_f", id="everywhere-but-the-name"),
        pytest.param("/", "_f", id="slashes-too"),
        pytest.param("/else", "_a/_b/_f", id="nowhere"),
        pytest.param("", "_a/_b/_f", id="nothing"),
        pytest.param("/w/", "_a/_b/_f", id="leaves-a-relative-path"),
    ],
)
def test_strip_dir_is_removed_from_the_directory(strip_dir: str, expected: str) -> None:
    source = "/w/_a/_b/_f"
    assert relative_destination(source, parameterization=True, strip_dir=strip_dir) == expected


def routed(field: str, location: Location, relative: str = "a.nii") -> str:
    rules = Rules(locations=(location,), relative=lambda _: relative, substitute=lambda path: path)
    return route("/w/a.nii", field, location, rules)


@pytest.mark.parametrize(
    ("field", "folders"),
    [
        ("motion", "motion/"),
        ("motion.par", "motion/par/"),
        ("motion.@par", "motion/"),
        ("@motion", ""),
        ("@motion.par", "par/"),
        ("a.@b.c.@d", "a/c/"),
        ("a.b@c", "a/b@c/"),
        ("a..b", "a/b/"),
        ("a.", "a/"),
        (".a", "a/"),
        (".", ""),
        ("a/b", "a/b/"),
    ],
)
@pytest.mark.parametrize(
    ("location", "begin"),
    [
        pytest.param(LocalDirectory("/out/sub"), "/out/sub/", id="disk"),
        pytest.param(S3Prefix("b", "out/sub"), "s3://b/out/sub/", id="s3"),
        pytest.param(S3Prefix("b"), "s3://b/", id="s3-root"),
    ],
)
def test_dots_separate_folders(field: str, folders: str, location: Location, begin: str) -> None:
    assert routed(field, location) == f"{begin}{folders}a.nii"


def test_absolute_result_stays_below_the_base_in_s3_only() -> None:
    assert routed("x", LocalDirectory("/out"), "/else/a") == "/else/a"
    assert routed("x", S3Prefix("b", "out"), "/else/a") == "s3://b/out/x/else/a"
    assert routed("/x", LocalDirectory("/out")) == "/x/a.nii"
    assert routed("/x", S3Prefix("b", "out")) == "s3://b/out/x/a.nii"


def test_both_steps_get_absolute_paths() -> None:
    seen: list[str] = []

    def relative(source: str) -> str:
        seen.append(source)
        return "_p/d"

    def substitute(path: str) -> str:
        seen.append(path)
        return "elsewhere"

    place = LocalDirectory("/o")
    rules = Rules(locations=(place,), relative=relative, substitute=substitute)
    assert route("/w/d/", "x", place, rules) == "elsewhere"
    assert seen == ["/w/d/", "/o/x/_p/d"]


@pytest.mark.parametrize(
    ("literal", "regular", "expected"),
    [
        pytest.param((), (), "/o/_run_1/a.nii", id="none"),
        pytest.param((("_run_1", "run-1"),), (), "/o/run-1/a.nii", id="literal"),
        pytest.param((("a.n", "b.n"),), (), "/o/_run_1/b.nii", id="not-a-pattern"),
        pytest.param((("/o/", "/p/"),), (), "/p/_run_1/a.nii", id="whole-path"),
        pytest.param((("i", "I"),), (), "/o/_run_1/a.nII", id="every-occurrence"),
        pytest.param((("1", "2"), ("2", "3")), (), "/o/_run_3/a.nii", id="cascade"),
        pytest.param((("2", "3"), ("1", "2")), (), "/o/_run_2/a.nii", id="in-order"),
        pytest.param((), ((r"_run_(\d)", r"r\1"),), "/o/r1/a.nii", id="regular"),
        pytest.param((), (("1", "2"), ("2", "3")), "/o/_run_3/a.nii", id="regular-cascade"),
        pytest.param((), (("i", "I"),), "/o/_run_1/a.nII", id="regular-everywhere"),
        pytest.param((("2", "3"),), (("1", "2"),), "/o/_run_2/a.nii", id="literal-first"),
        pytest.param((), ((r"^/o", "/p"),), "/p/_run_1/a.nii", id="anchored"),
    ],
)
def test_substitutions_are_applied_in_order(
    literal: tuple[tuple[str, str], ...], regular: tuple[tuple[str, str], ...], expected: str
) -> None:
    rules = Substitutions(literal=literal, regular=regular)
    assert rules.apply("/o/_run_1/a.nii") == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param(("out", "in"), "s3://bucket/in/bucket/a", id="after-the-bucket"),
        pytest.param(("s3://bucket/out/", "s3://bucket/"), "s3://bucket/bucket/a", id="anchored"),
        pytest.param(("bucket", "x"), "s3://bucket/out/x/a", id="bucket-kept"),
        pytest.param(("s3", "S3"), "s3://bucket/out/bucket/a", id="scheme-kept"),
        pytest.param(("//", "/"), "s3://bucket/out/bucket/a", id="slashes-kept"),
        pytest.param(("bucket/out", "bucket"), "s3://bucket/bucket/a", id="across-the-border"),
        pytest.param(("bucket/", "bucket"), "s3://bucket/out/bucketa", id="border-kept"),
        pytest.param(("/out", "in"), "s3://bucket/in/bucket/a", id="slash-of-the-border"),
        pytest.param(("/", ""), "s3://bucket/outbucketa", id="all-slashes"),
        pytest.param(("/", "X/"), "s3://bucket/X/outX/bucketX/a", id="slash-given-back"),
    ],
)
@pytest.mark.parametrize("kind", ["literal", "regular"])
def test_substitutions_do_not_change_scheme_or_bucket(
    kind: str, rule: tuple[str, str], expected: str
) -> None:
    rules = Substitutions(literal=(rule,)) if kind == "literal" else Substitutions(regular=(rule,))
    assert rules.apply("s3://bucket/out/bucket/a", root="s3://bucket") == expected


def test_substitution_sees_the_slash_after_the_bucket() -> None:
    rules = Substitutions(regular=(("^(s3:.)?/out/", r"\1/in/"), ("^.*/", "/")))
    assert rules.apply("s3://bucket/out/x/a", root="s3://bucket") == "s3://bucket/a"


def test_each_substitution_keeps_the_bucket() -> None:
    rules = Substitutions(literal=(("bucket", "x"), ("s3://bucket/a", "s3://bucket/b")))
    assert rules.apply("s3://bucket/a", root="s3://bucket") == "s3://bucket/b"


@given(literal=RULES, regular=RULES, path=TEXTS)
def test_result_is_always_in_the_bucket(
    literal: tuple[tuple[str, str], ...], regular: tuple[tuple[str, str], ...], path: str
) -> None:
    rules = Substitutions(literal=literal, regular=regular)
    changed = rules.apply(f"s3://bucket/{path}", root="s3://bucket")
    assert changed.startswith("s3://bucket/")


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        pytest.param(("(", "x"), "missing )", id="pattern"),
        pytest.param(("a", r"\1"), "invalid group reference", id="group-number"),
        pytest.param(("a", r"\g<name>"), "unknown group name", id="group-name"),
        pytest.param(("a", r"\q"), "bad escape", id="escape"),
    ],
)
def test_invalid_regular_expression_is_an_error(pair: tuple[str, str], why: str) -> None:
    rules = Substitutions(regular=(("b", "c"), pair))
    for attempt in (rules.check, lambda: rules.apply("/o/a")):
        with pytest.raises(SettingsError) as caught:
            attempt()
        assert str(caught.value).startswith(
            f"regexp_substitutions: {pair!r} is not a regular expression and a replacement for it: "
        )
        assert why in str(caught.value)
        assert caught.value.__cause__ is not None


def test_valid_substitutions_pass_the_check() -> None:
    Substitutions(literal=(("(", r"\1"),), regular=((r"(a)|b", r"\1"),)).check()


def test_each_changed_path_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rules = Substitutions(literal=(("a", "b"), ("b", "c\n"), ("/", "/")))
    before: list[int] = []
    substitute = log_changes(rules.apply, before=lambda: before.append(len(caplog.records)))
    assert [substitute(path) for path in ("/a", "/a", "/x")] == ["/c\n", "/c\n", "/x"]
    assert caplog.record_tuples == [("nipype.interface", logging.INFO, r"sub: /a -> /c\n")]
    assert before == [0]


@given(folders=st.lists(NAMES, max_size=5), name=NAMES)
def test_name_and_parameterization_folders_are_kept(folders: list[str], name: str) -> None:
    source = "/".join(["", *folders, name])
    for path in (source, f"{source}/"):
        kept = relative_destination(path, parameterization=True, strip_dir=None)
        assert kept.split("/") == [*(part for part in folders if part[0] == "_"), name]
        assert relative_destination(path, parameterization=False, strip_dir=None) == name


@given(parts=st.lists(NAMES.filter(lambda name: "." not in name), min_size=1, max_size=4))
def test_keys_in_s3_equal_relative_paths_on_disk(parts: list[str]) -> None:
    field = ".".join(parts)
    on_disk = routed(field, LocalDirectory("/out"))
    in_s3 = routed(field, S3Prefix("b", "out"))
    assert posixpath.relpath(on_disk, "/out") == in_s3[len("s3://b/out/") :]


@pytest.mark.parametrize(
    ("path", "unused"),
    [
        pytest.param("/out/a_b.nii", Substitutions(regular=(("^z", ""),)), id="after-each-other"),
        pytest.param("/out/c.nii", CASCADE, id="none"),
        pytest.param(
            "/out/x_.nii",
            Substitutions(literal=(("a", "x"),), regular=(("^z", ""),)),
            id="without-the-first",
        ),
    ],
)
def test_substitutions_that_match_nothing_are_found(path: str, unused: Substitutions) -> None:
    assert CASCADE.unused([path]) == unused


def test_a_substitution_that_matches_one_of_several_destinations_is_used() -> None:
    rules = Substitutions(literal=(("a", "x"),), regular=(("b$", ""),))
    assert rules.unused(["/out/b", "/out/a"]) == Substitutions()


@pytest.mark.parametrize("kind", ["literal", "regular"])
def test_no_substitution_matches_the_result_of_a_change_to_the_bucket(kind: str) -> None:
    rules = Substitutions(**{kind: (("bucket", "other"), ("other", "third"))})
    assert rules.unused(["s3://bucket/a"]) == Substitutions(**{kind: (("other", "third"),)})


@pytest.mark.parametrize(
    ("path", "root"),
    [("s3://bucket/out/a", "s3://bucket"), ("s3://bucket", "s3://bucket"), ("/s3://bucket", "")],
)
def test_the_root_of_an_address_is_its_bucket(path: str, root: str) -> None:
    assert bucket_root(path) == root


def test_an_s3_copy_has_the_path_that_rules_give_on_disk() -> None:
    base = LocalDirectory("/data/out")
    copy = make_s3_copy("s3://bucket/study", base, "sub-01")
    assert copy
    rules = Rules(
        locations=(base.child("sub-01"), S3Prefix("else", ""), copy.location),
        relative=posixpath.basename,
        substitute=Substitutions(literal=(("/data/out/sub-01/x", "/data/out/s/y"),)).apply,
        s3_copy=copy,
    )
    assert [route("/w/a", "x.@y", location, rules) for location in rules.locations] == [
        "/data/out/s/y/a",
        "s3://else/x/a",
        "s3://bucket/study/s/y/a",
    ]


def test_a_destination_outside_the_base_directory_has_no_copy() -> None:
    base = LocalDirectory("/data/out")
    copy = make_s3_copy("s3://bucket/study", base, "")
    assert copy
    source = Source("x", "/proc/version")
    rules = Rules(
        locations=(copy.location,),
        relative=posixpath.basename,
        substitute=lambda path: path.replace("/out/", "/other/"),
        s3_copy=copy,
    )
    with pytest.raises(DestinationError, match="x: '/data/other/x/version' is not below the base"):
        make_plan([(source, scan(source))], rules)
