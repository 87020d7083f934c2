"""Guesses of the input that a misspelled name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from nipype_datasink import DataSink, DataSinkInputSpec
from nipype_datasink.planning.hints import likely_input

INPUTS = [name for name in DataSinkInputSpec().copyable_trait_names() if name[0] != "_"]


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("base_dir", "base_directory"),
        ("base_direcotry", "base_directory"),
        ("basedirectory", "base_directory"),
        ("substitution", "substitutions"),
        ("regexp_substitution", "regexp_substitutions"),
        ("contaner", "container"),
        ("parameterisation", "parameterization"),
        ("parametrization", "parameterization"),
        ("cred_path", "creds_path"),
        ("encrypt_bucket_key", "encrypt_bucket_keys"),
        ("localcopy", "local_copy"),
        ("strip_dirs", "strip_dir"),
        ("s3_endpoint", "s3_endpoint_url"),
    ],
)
def test_a_misspelled_input_is_recognised(field: str, meant: str) -> None:
    assert likely_input(field, INPUTS) == meant


@pytest.mark.parametrize(
    "field",
    [
        "motion",
        "anat",
        "func",
        "base",
        "strip",
        "contrasts",
        "con",
        "local",
        "data",
        "registered",
        "subject",
        "output",
        "dwi.@bvals",
        "preproc.@mask",
    ],
)
def test_a_folder_name_is_not_a_misspelling(field: str) -> None:
    assert likely_input(field, INPUTS) is None


@pytest.mark.parametrize("field", ["output", "outputs", "trait_add", "motion"])
def test_inputs_that_cannot_be_set_are_not_suggested(
    field: str, workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = DataSink()
    setattr(sink.inputs, field, [])
    sink.plan()
    assert caplog.messages == []


def test_the_start_of_an_input_is_recognised_if_it_has_two_words() -> None:
    assert likely_input("abcdef", ["abcdefghijkl"]) is None
    assert likely_input("abc_def", ["abc_defghijkl"]) == "abc_defghijkl"


def test_the_most_similar_input_is_suggested() -> None:
    assert likely_input("abcdefx", ["abcdyyy", "abcdefg", "abcdefzz"]) == "abcdefg"
    assert likely_input("abcdefx", []) is None


@pytest.mark.parametrize("field", ["container.qa", "parameter", "region", "encrypt", "remove"])
def test_a_plausible_folder_name_is_not_a_misspelling(field: str) -> None:
    assert likely_input(field, INPUTS) is None
