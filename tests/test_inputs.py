"""Test that all inputs of the installed nipype are unchanged, and the rules for new inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nipype.interfaces.io as upstream
import pytest
from nipype.interfaces.base import isdefined

from nipype_datasink import DataSink, DataSinkInputSpec, DataSinkOutputSpec

UPSTREAM = upstream.DataSinkInputSpec().traits()
OURS = DataSinkInputSpec().traits()
NEW = sorted(OURS.keys() - UPSTREAM.keys())


def describe_trait(trait: Any) -> tuple[object, ...]:
    """Return type, default and metadata of a trait, and of the traits in it."""
    kind = trait.trait_type
    inner = [*trait.inner_traits, *(getattr(kind, "types", None) or ())]
    metadata = {name: value for name, value in trait.__dict__.items() if name != "__doc__"}
    return type(kind), trait.default_value(), metadata, [describe_trait(each) for each in inner]


def test_inputs_of_nipype_are_known() -> None:
    assert sorted(UPSTREAM) == [
        "_outputs",
        "base_directory",
        "bucket",
        "container",
        "creds_path",
        "encrypt_bucket_keys",
        "local_copy",
        "parameterization",
        "regexp_substitutions",
        "remove_dest_dir",
        "strip_dir",
        "substitutions",
        "trait_added",
        "trait_modified",
    ]


@pytest.mark.parametrize("name", sorted(UPSTREAM))
def test_every_input_of_nipype_is_unchanged(name: str) -> None:
    assert describe_trait(OURS[name]) == describe_trait(UPSTREAM[name])


def test_every_input_of_nipype_has_the_same_default() -> None:
    ours, theirs = DataSinkInputSpec().get(), upstream.DataSinkInputSpec().get()
    assert {name: value for name, value in ours.items() if name not in NEW} == theirs


def test_specs_derive_from_those_of_nipype() -> None:
    assert issubclass(DataSink.input_spec, upstream.DataSinkInputSpec)
    assert DataSink.output_spec is DataSinkOutputSpec is upstream.DataSinkOutputSpec
    assert list(DataSinkOutputSpec().get()) == ["out_file"]


def test_names_of_new_inputs() -> None:
    assert NEW == [
        "local_hardlink",
        "s3_copy",
        "s3_endpoint_url",
        "s3_max_concurrency",
        "s3_profile",
        "s3_region",
        "s3_transfer_client",
        "s3_upload_args",
        "sink_manifest_dir",
        "sink_missing",
    ]


@pytest.mark.parametrize("name", NEW)
def test_new_input_has_a_reserved_prefix_and_no_default(name: str) -> None:
    assert name.startswith(("s3_", "local_", "sink_"))
    # The copy changes what is delivered. nipype hashes no input that is not set.
    assert OURS[name].nohash is (None if name == "s3_copy" else True)
    assert OURS[name].desc
    assert not OURS[name].usedefault
    assert not isdefined(getattr(DataSinkInputSpec(), name))


def test_events_of_other_objects_are_not_passed_on() -> None:
    inputs = DataSinkInputSpec()
    added: list[str] = []

    def note(name: str) -> None:
        added.append(name)

    inputs.on_trait_change(note, "trait_added")
    inputs.trait_added = "not_a_trait"
    inputs.trait_added = "container"
    assert added == ["container"]
    assert inputs._outputs == {}


@pytest.mark.parametrize("kind", ["nipype.interfaces.io", "nipype_datasink"])
def test_the_first_map_node_of_a_process_takes_values(kind: str, workdir: Path) -> None:
    script = f"""
from nipype import MapNode
from {kind} import DataSink

for name in ("first", "second"):
    node = MapNode(DataSink(base_directory="out"), "x", name)
    node.inputs.x = ["a"]
    print(*node.inputs.x)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["a", "a"]
    assert not done.stderr
