"""Test that every input is also an attribute of the sink, and nipype's attributes stay."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import nipype.interfaces.io as upstream
import pytest
from nipype import Node
from nipype.interfaces.base import Str, isdefined, traits

from nipype_datasink import DataSink, DataSinkInputSpec, SettingsError
from nipype_datasink.inputs import known_inputs


def make_sink(**inputs: Any) -> DataSink:
    return DataSink(**inputs)


INPUTS = sorted(known_inputs(DataSinkInputSpec()))


class OwnSpec(DataSinkInputSpec):
    study = Str()
    run = Str()
    ignore_exception = traits.Bool()


class Own(DataSink):
    input_spec = OwnSpec
    strip_dir = "the class's own"


class KeepsItsContainer(DataSink):
    def __init__(self, container: object, **inputs: Any) -> None:
        self.container = container
        super().__init__(**inputs)


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_is_an_attribute(name: str) -> None:
    sink = DataSink()
    values = {"Bool": True, "Range": 3, "Dict": {"ACL": "a"}}
    pairs = {"substitutions": [("a", "b")], "regexp_substitutions": [("a", "b")]}
    kind = sink.inputs.trait(name).trait_type
    choices = kind.values if isinstance(kind, traits.Enum) else ["text"]
    value = pairs.get(name, values.get(type(kind).__name__, choices[-1]))
    setattr(sink, name, value)
    assert getattr(sink.inputs, name) == getattr(sink, name) == value
    assert name not in vars(sink)
    assert not sink.inputs._outputs


def test_attribute_returns_the_input() -> None:
    sink = DataSink(base_directory="out")
    assert sink.base_directory == "out"
    assert not isdefined(sink.local_copy)
    assert DataSink.base_directory.__doc__ == "The input ``base_directory``."


def test_attributes_of_nipype_are_unchanged() -> None:
    theirs, ours = upstream.DataSink(), DataSink()
    assert vars(theirs).keys() == vars(ours).keys()
    for name in ("resource_monitor", "ignore_exception", "input_spec", "version"):
        if hasattr(theirs, name) and name != "input_spec":
            assert getattr(ours, name) == getattr(theirs, name)
    assert DataSink.input_spec is DataSinkInputSpec


def test_value_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(traits.TraitError):
        DataSink().base_directory = 5


def test_inputs_of_a_subclass_are_attributes_too() -> None:
    sink = Own()
    sink.study = "pilot"
    assert sink.inputs.study == "pilot"
    assert callable(sink.run)
    assert sink.ignore_exception is False
    assert Own.strip_dir == "the class's own"


def test_subclass_may_have_an_attribute_with_the_name_of_an_input() -> None:
    sink = KeepsItsContainer(3)
    assert sink.container == 3
    assert not isdefined(sink.inputs.container)
    assert pickle.loads(pickle.dumps(sink)).container == 3
    sink.container = "sub"
    assert (sink.container, sink.inputs.container) == ("sub", "sub")


def test_attribute_before_the_constructor_is_an_error() -> None:
    bare = DataSink.__new__(DataSink)
    with pytest.raises(AttributeError, match="has no attribute 'container' yet"):
        _ = bare.container


def test_copies_and_pickles_keep_attributes(workdir: Path) -> None:
    (workdir / "a").write_text("a")
    sink = DataSink()
    sink.base_directory = workdir / "out"
    sink.inputs.x = str(workdir / "a")
    for each in (copy.deepcopy(sink), pickle.loads(pickle.dumps(sink))):
        assert each.base_directory == str(workdir / "out")
    node = Node(sink, name="sink", base_dir=str(workdir))
    assert node.run().outputs.out_file == [str(workdir / "out/x/a")]


@pytest.mark.parametrize("name", ["base_directory", "container", "local_copy", "creds_path"])
@pytest.mark.parametrize("method", ["constructor", "input", "attribute", "run", "node"])
def test_path_object_becomes_text(name: str, method: str, workdir: Path) -> None:
    path = Path("sub/out")
    sink = make_sink(**{name: path} if method == "constructor" else {})
    if method == "input":
        setattr(sink.inputs, name, path)
    elif method == "attribute":
        setattr(sink, name, path)
    elif method == "run":
        sink.run(**{name: path})
    elif method == "node":
        Node(sink, name="sink").set_input(name, path)
    assert getattr(sink.inputs, name) == "sub/out"


class AddressPath:
    """A path class of another library, whose ``__fspath__`` must not be called."""

    def __fspath__(self) -> str:
        raise AssertionError

    def __str__(self) -> str:
        return "s3://bucket/out"


def test_path_object_of_an_address_becomes_the_address() -> None:
    assert DataSink(base_directory=AddressPath()).base_directory == "s3://bucket/out"


def test_path_object_in_a_field_is_kept() -> None:
    sink = DataSink(infields=["x"], x=Path("a"))
    sink.inputs.y = Path("b")
    assert sink.inputs._outputs == {"x": Path("a"), "y": Path("b")}


@pytest.mark.parametrize("base", ["out", Path("out"), b"out"])
def test_base_directory_passed_as_infields_is_an_error(base: Any) -> None:
    with pytest.raises(SettingsError, match=r"write DataSink\(base_directory='out'\)"):
        DataSink(base)


def test_infields_may_be_an_iterator() -> None:
    sink = make_sink(infields=iter(["x"]), x="a")
    assert sink.inputs._outputs == {"x": "a"}


@pytest.mark.parametrize(
    ("name", "value", "host"),
    [
        ("s3_endpoint_url", "https://me:geheim@minio.example.org:9000", "minio.example.org:9000"),
        ("s3_endpoint_url", "https://geheim@minio.example.org", "minio.example.org"),
        ("s3_endpoint_url", "https://me:ge/geheim@minio.example.org/path", "minio.example.org"),
        ("s3_endpoint_url", "me:geheim@minio.example.org", "minio.example.org"),
        ("base_directory", "s3://AKID:geheim@bucket/out", "bucket"),
        ("local_copy", "sftp://me:geheim@host/out", "host"),
    ],
)
@pytest.mark.parametrize("method", ["constructor", "input"])
def test_address_with_a_password_is_an_error(name: str, value: str, host: str, method: str) -> None:
    sink = DataSink()
    with pytest.raises(SettingsError, match=f"{name}: the address of '{host}'") as caught:
        make_sink(**{name: value}) if method == "constructor" else setattr(sink.inputs, name, value)
    assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(sink.inputs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_directory", "s3://bucket/me@home/out"),
        ("base_directory", "/data/me@home"),
        ("container", "me@home"),
        ("s3_endpoint_url", "http://127.0.0.1:9000"),
    ],
)
def test_at_signs_without_a_password_are_accepted(name: str, value: str) -> None:
    assert getattr(make_sink(**{name: value}), name) == value
