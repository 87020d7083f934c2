"""``import nipype_datasink.io as nio`` stands for nipype's module."""

from __future__ import annotations

import subprocess
import sys

import nipype.interfaces.io as upstream
import pytest

import nipype_datasink
import nipype_datasink.io as nio

OURS = {"DataSink", "DataSinkInputSpec", "DataSinkOutputSpec"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_names_are_ours(name: str) -> None:
    assert getattr(nio, name) is getattr(nipype_datasink, name)


@pytest.mark.parametrize(
    "name", sorted(name for name in vars(upstream) if name not in OURS and name[:2] != "__")
)
def test_every_other_name_is_nipypes(name: str) -> None:
    assert getattr(nio, name) is getattr(upstream, name)


def test_a_name_that_nipype_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        nio.no_such_name  # noqa: B018


def test_a_star_import_brings_both() -> None:
    names: dict[str, object] = {}
    exec("from nipype_datasink.io import *", names)
    assert names["DataSink"] is nipype_datasink.DataSink
    assert names["DataGrabber"] is upstream.DataGrabber
    public = {name for name in vars(upstream) if name[0] != "_"}
    assert public <= names.keys()


def test_dir_lists_what_a_star_import_brings() -> None:
    assert {"DataSink", "DataGrabber", "SelectFiles"} <= set(dir(nio))


def test_names_that_nipype_gets_later_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
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
