"""Run the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import nipype_datasink

MODULES = [
    module.name
    for module in pkgutil.walk_packages(nipype_datasink.__path__, "nipype_datasink.")
    if not module.name.startswith("nipype_datasink.demo")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_pass(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    tests = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]
    assert sum(tests) >= 10
