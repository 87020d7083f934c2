"""Test what of a destination is known after the rules of a sink, before its name is known."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nipype import Node

from nipype_datasink import DataSink, plan
from nipype_datasink.planning.routing import Substitutions
from nipype_datasink.workflows import uncertain_matches
from nipype_datasink.workflows.partial_substitutions import apply_to_known
from nipype_datasink.workflows.placeholders import CONTAINER, MERGED, NAME, TREE, show
from tests.workflows.examples import bold_workflow, sink_node
from tests.workflows.test_predictor import connected

NAMES = {NAME: "n", TREE: "tree", CONTAINER: "c", MERGED: "all"}


def shown(pattern: str, new: str, path: str, *, root: str = "") -> str:
    rules = Substitutions(regular=((pattern, new),))
    return show(apply_to_known(rules, path, root=root), NAMES)


@pytest.mark.parametrize(
    ("pattern", "new", "expected"),
    [
        (r"_subject_id_", "", "/out/f/s1/{n}"),
        (r"_subject_id_\w+", "", "/out/f//{n}"),
        (r"/_subject_id_[^/]*", "", "/out/f/{n}"),
        (r"/_[^/]*", "", "/out/f/{n}"),
        (r"_subject_id_(s\d)/", r"\1/\1/", "/out/f/s1/s1/{n}"),
        (r".*/_subject_id_(\w+)/", r"/flat/\1_", "/flat/s1_{n}"),
        (r"/f/", "/g/", "/out/g/_subject_id_s1/{n}"),
        (r"(?<=f/)_subject", "S", "/out/f/S_id_s1/{n}"),
        (r"_(?=subject)", "", "/out/f/subject_id_s1/{n}"),
        (r"S1\b(?i:/)", "x", "/out/f/_subject_id_s1/{n}"),
        (r"\.nii\.gz$", ".nii", "/out/f/_subject_id_s1/{n}"),
        (r"[^/]+$", "all.nii", "/out/f/_subject_id_s1/{n}"),
        (r"/bold", "/sub-bold", "/out/f/_subject_id_s1/{n}"),
        (r"/b_(s\d)\.txt", r"/sub-\1.txt", "/out/f/_subject_id_s1/{n}"),
        (r"$", ".bak", "/out/f/_subject_id_s1/{n}"),
        # What depends on the name:
        (r"/_s.*\.nii$", "/all.nii", "/out/f/{all}"),
        (r"/_subject_id_\w+/bold", "/bold", "/out/f/{all}"),
        (r"_sub.*", "tail.txt", "/out/f/{all}"),
        (r"_sub.*?(?=[^/]*\.txt$)", "S", "/out/f/{all}"),
        (r"_id_(?!s\d/a)", "S", "/out/f/{all}"),
        (r"_id_(s\d)/f_\1", r"\1/g", "/out/f/{all}"),
        (r"f(/_su(?:b|x)ject_id_(s\d)/){1,2}b", "x", "/out/{all}"),
        (r"^(.*)/f/(.*)/([^/]+)$", r"\1/\2/\3", "{all}"),
        (r"/bold", "-bold", "/out/f/{all}"),
        (r"(?=/bold)", "x", "/out/f/{all}"),
        (r"$", "/x", "/out/f/_subject_id_s1/{tree}"),
        (r"s1/\b", "x", "/out/f/{all}"),
        (r"_(s)?(?(1)1|ubject)_id_.*\.txt", "x", "/out/f/{all}"),
        (r"f/_s.{2,9}(?<=bo)", "x", "/out/{all}"),
        (r"(?<!/out/f/_subject_id_)f/(?<=.{9})x", "x", "/out/f/_subject_id_s1/{n}"),
        (r"[^/]+(?<!f/)\.txt", "x", "/out/f/_subject_id_s1/{n}"),
        # Folders that a rule makes from a name:
        (r"/f_(s\d)\.txt", r"/\1/f.txt", "/out/f/_subject_id_s1/{tree}"),
        (r"_run_", "/run/", "/out/f/_subject_id_s1/{tree}"),
    ],
)
def test_folders_are_known_where_no_name_can_change_them(
    pattern: str, new: str, expected: str
) -> None:
    assert shown(pattern, new, f"/out/f/_subject_id_s1/{NAME}") == expected


@pytest.mark.skipif(sys.version_info < (3, 11), reason="expressions of Python 3.11")
def test_atomic_groups_and_possessive_repetitions_are_followed() -> None:
    path = f"/out/_s1/{NAME}"

    assert shown(r"(?>_s)\d++/", "x/", path) == "/out/x/{n}"
    assert shown(r"(?>_s)\d++/.?+b", "x", path) == "/out/{all}"


def test_slash_may_be_in_a_tree() -> None:
    assert shown("/_s1/.*/", "/", f"/out/_s1/{NAME}") == "/out/_s1/{n}"
    assert shown("/_s1/.*/", "/", f"/out/_s1/{TREE}") == "/out/{all}"


def test_rule_over_a_container_hides_everything_after_it() -> None:
    pattern, new = r"out/([^/]+)/f/_s_(\w+)/", r"out/\2/\1/"

    assert shown(pattern, new, f"/a/out/{CONTAINER}/f/_s_1/{NAME}") == "/a/{all}"
    assert shown("_s_", "", f"/a/out/{CONTAINER}/f/_s_1/{NAME}") == "/a/out/{c}/f/1/{n}"


def test_no_name_changes_the_bucket() -> None:
    path = f"s3://b/f/_s_1/{NAME}"

    assert shown("_s_.*", "x", path, root="s3://b") == "s3://b/f/{all}"
    assert shown("^.*", "x", path, root="s3://b") == "s3://b/{all}"
    assert shown("^s3:.*nii", "s3://b/x", path, root="s3://b") == "s3://b/{all}"


def test_later_rule_that_writes_the_bucket_hides_all_folders() -> None:
    rules = Substitutions(regular=(("_s_.*", "x"), ("^s3:.*nii", "s3://b/x")))

    known = apply_to_known(rules, f"s3://b/f/_s_1/{NAME}", root="s3://b")

    assert known == f"s3://b/{MERGED}"


def test_literal_rules_are_no_expressions() -> None:
    rules = Substitutions(literal=(("_s_1/bold.nii", "1"), (".", "_"), ("o/", r"\1/")))

    assert apply_to_known(rules, f"/o/_s_1x/{NAME}", root="") == f"/\\1/_s_1x/{NAME}"
    assert apply_to_known(rules, f"/o/_s_1/{NAME}", root="") == f"/\\1/{MERGED}"


PIECES = st.sampled_from(
    [
        *"/_s1ab.$^",
        "f/",
        "/_s",
        "s1/",
        ".*",
        "[^/]+",
        r"\w*",
        r"\b",
        r"\d",
        "a{0,2}",
        "(?:/|a)?",
        "(s1|b)+",
        "(?=a)",
        "(?!b)",
        "(?<=/)",
        "(?<!a)",
    ]
)
PATTERNS = st.lists(PIECES, min_size=1, max_size=5).map("".join)
REPLACEMENTS = st.sampled_from(["", "x", "/", "/x", "x/", r"\g<0>", r"/\g<0>y"])


def stands_for(path: str, name: str) -> bool:
    pattern = "".join(
        ".*" if each in TREE + MERGED else "[^/]*" if each == NAME else re.escape(each)
        for each in path
    )
    return bool(re.fullmatch(pattern, name))


@given(
    st.lists(st.tuples(PATTERNS, REPLACEMENTS), min_size=1, max_size=2),
    st.text("ab1s.", min_size=1, max_size=5),
    st.sampled_from(["/f/_s1/", "/a/_s1b/f_", "/s1/"]),
)
@example([("/a$", "")], "a", "/f/_s1/")
@example([("/(?!b)", "/x")], "b", "/f/_s1/")
def test_what_is_known_is_the_same_for_each_name(
    pairs: list[tuple[str, str]], name: str, folders: str
) -> None:
    rules = Substitutions(regular=tuple(pairs))

    known = apply_to_known(rules, folders + NAME, root="")

    assert stands_for(known, rules.apply(folders + name)), known


SUBJECTS_MERGED: list[Any] = [(r"/_subject_id_.*\.nii\.gz$", "/all.nii.gz")]


def test_runs_whose_rules_may_remove_their_folder_possibly_clash() -> None:
    node = sink_node(base_directory="/out", regexp_substitutions=SUBJECTS_MERGED)
    workflow = bold_workflow(node)
    workflow.disconnect(workflow.get_node("subjects"), "subject_id", node, "container")

    planned = plan(workflow)

    assert planned.destinations == ("/out/func/{preproc.out}",)
    (clash,) = planned.possible
    assert clash.destination == "/out/func/{preproc.out}"
    assert all(each.has_folders for sink in planned.sinks for each in sink.predictions)
    assert "substitutions may also change folders" in str(planned)


def test_container_of_a_node_may_have_folders() -> None:
    (prediction, *_) = plan(connected(container="c1/c2")).sinks[0].predictions

    assert prediction.has_folders


class Flattening(DataSink):
    def _substitute(self, pathstr: str) -> str:
        return pathstr.replace("/func/sub-", "/func-")


@pytest.mark.parametrize(
    ("parameterization", "expected"),
    [
        (True, "/out/sub-01/func/_subject_id_sub-01/{preproc.out}"),
        (False, "/out/sub-01/{preproc.out}"),
    ],
)
def test_function_of_a_subclass_that_changes_folders_for_some_names(
    parameterization: bool, expected: str
) -> None:
    sink = Flattening(base_directory="/out", parameterization=parameterization)

    planned = plan(bold_workflow(Node(sink, name="datasink")))

    assert planned.destinations[0] == expected


def test_regular_expression_that_cannot_be_followed_hides_all_folders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(uncertain_matches._Automaton, "_branch")

    assert shown("_subject(s|_id)", "", f"/out/_subject_id_s1/{NAME}") == "{all}"


def test_sink_with_a_wrong_regular_expression_would_fail() -> None:
    planned = plan(bold_workflow(sink_node(regexp_substitutions=[("(", "x")])))

    assert "regexp_substitutions: ('(', 'x') is not a regular expression" in planned.errors[0]
