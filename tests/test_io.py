"""Test that ``nipype_datasink.io`` can replace nipype's module."""

from __future__ import annotations

import subprocess
import sys

import nipype.interfaces.io as upstream
import pytest

import nipype_datasink
import nipype_datasink.io as nio

REPLACED = {"DataSink", "DataSinkInputSpec", "DataSinkOutputSpec"}


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_sink_and_specs_are_those_of_this_library(name: str) -> None:
    assert getattr(nio, name) is getattr(nipype_datasink, name)


@pytest.mark.parametrize(
    "name", sorted(name for name in vars(upstream) if name not in REPLACED and name[:2] != "__")
)
def test_every_other_name_is_that_of_nipype(name: str) -> None:
    assert getattr(nio, name) is getattr(upstream, name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        nio.no_such_name  # noqa: B018


def test_star_import_returns_all_names() -> None:
    names: dict[str, object] = {}
    exec("from nipype_datasink.io import *", names)
    assert names["DataSink"] is nipype_datasink.DataSink
    assert names["DataGrabber"] is upstream.DataGrabber
    public = {name for name in vars(upstream) if name[0] != "_"}
    assert public <= names.keys()


def test_dir_lists_all_names() -> None:
    assert {"DataSink", "DataGrabber", "SelectFiles"} <= set(dir(nio))


def test_names_added_to_nipype_later_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "copytree", len)
    assert nio.copytree is len


def test_importing_changes_nothing_in_nipype() -> None:
    code = (
        "import nipype.interfaces.io as io; before = dict(vars(io)); "
        "import nipype_datasink.io; "
        "assert vars(io).keys() == before.keys(); "
        "assert all(vars(io)[name] is before[name] for name in before)"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
