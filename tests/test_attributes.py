"""Every input can be set on the sink itself, and nothing of nipype's is in its way."""

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


def made(**inputs: Any) -> DataSink:
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


def test_an_attribute_shows_the_input() -> None:
    sink = DataSink(base_directory="out")
    assert sink.base_directory == "out"
    assert not isdefined(sink.local_copy)
    assert DataSink.base_directory.__doc__ == "The input ``base_directory``."


def test_nipypes_own_attributes_stay() -> None:
    theirs, ours = upstream.DataSink(), DataSink()
    assert vars(theirs).keys() == vars(ours).keys()
    for name in ("resource_monitor", "ignore_exception", "input_spec", "version"):
        if hasattr(theirs, name) and name != "input_spec":
            assert getattr(ours, name) == getattr(theirs, name)
    assert DataSink.input_spec is DataSinkInputSpec


def test_a_value_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(traits.TraitError):
        DataSink().base_directory = 5


def test_inputs_of_a_subclass_are_attributes_too() -> None:
    sink = Own()
    sink.study = "pilot"
    assert sink.inputs.study == "pilot"
    assert callable(sink.run)
    assert sink.ignore_exception is False
    assert Own.strip_dir == "the class's own"


def test_a_subclass_may_keep_something_of_its_own_by_the_name_of_an_input() -> None:
    sink = KeepsItsContainer(3)
    assert sink.container == 3
    assert not isdefined(sink.inputs.container)
    assert pickle.loads(pickle.dumps(sink)).container == 3
    sink.container = "sub"
    assert (sink.container, sink.inputs.container) == ("sub", "sub")


def test_an_attribute_that_is_not_there_yet_is_said() -> None:
    bare = DataSink.__new__(DataSink)
    with pytest.raises(AttributeError, match="has no attribute 'container' yet"):
        _ = bare.container


def test_copies_and_pickles_keep_what_was_set(workdir: Path) -> None:
    (workdir / "a").write_text("a")
    sink = DataSink()
    sink.base_directory = workdir / "out"
    sink.inputs.x = str(workdir / "a")
    for each in (copy.deepcopy(sink), pickle.loads(pickle.dumps(sink))):
        assert each.base_directory == str(workdir / "out")
    node = Node(sink, name="sink", base_dir=str(workdir))
    assert node.run().outputs.out_file == [str(workdir / "out/x/a")]


@pytest.mark.parametrize("name", ["base_directory", "container", "local_copy", "creds_path"])
@pytest.mark.parametrize("way", ["constructor", "input", "attribute", "run", "node"])
def test_a_path_may_be_a_path(name: str, way: str, workdir: Path) -> None:
    path = Path("sub/out")
    sink = made(**{name: path} if way == "constructor" else {})
    if way == "input":
        setattr(sink.inputs, name, path)
    elif way == "attribute":
        setattr(sink, name, path)
    elif way == "run":
        sink.run(**{name: path})
    elif way == "node":
        Node(sink, name="sink").set_input(name, path)
    assert getattr(sink.inputs, name) == "sub/out"


class AddressPath:
    """A path of another library, which reads files for ``os.fspath``."""

    def __fspath__(self) -> str:
        raise AssertionError

    def __str__(self) -> str:
        return "s3://bucket/out"


def test_a_path_that_stands_for_an_address_becomes_it() -> None:
    assert DataSink(base_directory=AddressPath()).base_directory == "s3://bucket/out"


def test_a_path_that_is_sunk_stays_a_path() -> None:
    sink = DataSink(infields=["x"], x=Path("a"))
    sink.inputs.y = Path("b")
    assert sink.inputs._outputs == {"x": Path("a"), "y": Path("b")}


@pytest.mark.parametrize("base", ["out", Path("out"), b"out"])
def test_a_base_directory_in_the_place_of_infields_is_refused(base: Any) -> None:
    with pytest.raises(SettingsError, match=r"write DataSink\(base_directory='out'\)"):
        DataSink(base)


def test_names_that_can_be_read_only_once_keep_their_values() -> None:
    sink = made(infields=iter(["x"]), x="a")
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
@pytest.mark.parametrize("way", ["constructor", "input"])
def test_an_address_with_a_password_is_refused_at_once(
    name: str, value: str, host: str, way: str
) -> None:
    sink = DataSink()
    with pytest.raises(SettingsError, match=f"{name}: the address of '{host}'") as caught:
        made(**{name: value}) if way == "constructor" else setattr(sink.inputs, name, value)
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
def test_what_holds_no_password_is_taken(name: str, value: str) -> None:
    assert getattr(made(**{name: value}), name) == value
