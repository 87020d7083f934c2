"""Values of inputs, and the paths they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nipype.interfaces.base import Undefined

from nipype_datasink.planning.sources import Source, flatten

NESTED = st.recursive(
    st.text("abc", min_size=1, max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)


def paths(value: object) -> list[str]:
    sources, problems = flatten({"x": value})
    assert problems == []
    return [source.path for source in sources]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, [], id="none"),
        pytest.param(Undefined, [], id="undefined"),
        pytest.param([], [], id="empty-list"),
        pytest.param([[]], [], id="list-of-empty-list"),
        pytest.param([None, [Undefined, ()]], [], id="nothing-deep-inside"),
        pytest.param("/a", ["/a"], id="text"),
        pytest.param(Path("/a"), ["/a"], id="path"),
        pytest.param(["/b", "/a", "/b"], ["/b", "/a", "/b"], id="in-order-with-repeats"),
        pytest.param([["/a"], "/b", [["/c"], ("/d", Path("/e"))]], list("abcde"), id="mixed"),
        pytest.param({"/a"}, ["/a"], id="set"),
        pytest.param("/a//b/../c/", ["/a/c"], id="normalised"),
    ],
)
def test_values_are_flattened_in_order(value: object, expected: list[str]) -> None:
    assert paths(value) == [f"/{path.lstrip('/')}" for path in expected]


def test_relative_paths_are_below_the_working_directory(workdir: Path) -> None:
    assert paths(["a", "./b/../c"]) == [str(workdir / "a"), str(workdir / "c")]


def test_sources_keep_their_fields_in_order() -> None:
    sources, _ = flatten({"z": "/1", "a": ["/2"], "empty": []})
    assert sources == [Source("z", "/1"), Source("a", "/2")]


class BytesPath(os.PathLike[bytes]):
    """A path of bytes."""

    def __fspath__(self) -> bytes:
        return b"/a"

    def __repr__(self) -> str:
        return "BytesPath()"


def letters() -> Iterator[str]:
    yield "/a"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param("", "x: '' is empty text, which would sink the whole working directory"),
        pytest.param({"a": "/a"}, "x: {'a': '/a'} is a dict, not a path"),
        pytest.param(3, "x: 3 is an int, not a path"),
        pytest.param(1.5, "x: 1.5 is a float, not a path"),
        pytest.param(True, "x: True is a bool, not a path"),
        pytest.param(b"/a", "x: b'/a' is a bytes, not a path"),
        pytest.param(BytesPath(), "x: BytesPath() is a BytesPath, not a path"),
        pytest.param("/a\0b", "x: '/a\\x00b' contains a NUL character"),
        pytest.param("/", "x: '/' is the root of the file system"),
        pytest.param("//", "x: '//' is the root of the file system"),
        pytest.param("/..", "x: '/..' is the root of the file system"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_value_that_is_not_a_path_is_a_problem(value: object, problem: str, depth: int) -> None:
    for _ in range(depth):
        value = [value]
    sources, found = flatten({"x": value, "y": "/y"})
    assert sources == [Source("y", "/y")]
    assert [str(item) for item in found] == [problem]
    assert not found[0].missing


def test_an_open_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Doe,John\n")
    with (tmp_path / "a.csv").open() as opened, NamedTemporaryFile() as wrapped:
        for value in (opened, wrapped):
            _, found = flatten({"x": value})
            assert [item.reason for item in found] == ["is an open file; give its path"]


def test_a_path_object_with_a_read_method_is_a_path() -> None:
    class Readable(PurePosixPath):
        def read(self) -> str:
            return ""

    assert flatten({"x": Readable("/a")}) == ([Source("x", "/a")], [])


def test_an_array_without_dimensions_is_not_a_path() -> None:
    _, found = flatten({"x": np.array(5)})
    assert [str(item) for item in found] == ["x: array(5) is a ndarray, not a path"]


def test_an_iterator_is_not_consumed() -> None:
    values = letters()
    _, found = flatten({"x": values})
    assert [item.reason for item in found] == ["can be read only once; make it a list"]
    assert list(values) == ["/a"]


@given(value=NESTED)
def test_nested_values_are_all_found(value: object) -> None:
    def leaves(item: object) -> list[str]:
        if isinstance(item, str):
            return [item]
        return [leaf for part in item for leaf in leaves(part)] if item else []  # type: ignore[attr-defined]

    assert [os.path.basename(path) for path in paths(value)] == leaves(value)
