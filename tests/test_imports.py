"""Imports: their direction, and what a local sink imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nipype_datasink

PACKAGE = Path(nipype_datasink.__file__).parent
# Each line may import from the lines above it.
ORDER = [
    {"short_traceback"},
    {"errors", "display", "opening", "parallel", "signals", "worker"},
    {"adaptive", "hashing"},
    {"planning"},
    {"delivery"},
    {"s3"},
    {"attributes", "inputs", "configuration"},
    {"settings"},
    {"directory_warnings"},
    {"targets"},
    {"manifests", "manifest_verification"},
    {"sink_check", "sink_delivery"},
    {"interface"},
    {"installation"},
    {"workflows"},
    {"__init__"},
    {"io"},
    {"demo"},
    {"cli"},
    {"__main__"},
]


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of this package that a module imports at run time, in any function."""
    tree = ast.parse(path.read_text())
    for_types = {id(child) for node in tree.body if is_for_types(node) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "nipype_datasink":
                yield name.partition(".")[2] or "__init__"


MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def dotted(module: Path) -> str:
    """Return the name of a module without the name of the package."""
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_wings_import_one_way(module: Path) -> None:
    rank = {name: index for index, names in enumerate(ORDER) for name in names}
    own = dotted(module).split(".")[0]
    assert own in rank, f"{own} is not in ORDER"
    for name in imported(PACKAGE / module):
        other = name.split(".")[0]
        assert other == own or rank[other] < rank[own], f"{own} imports {name}"


def test_there_are_no_import_cycles() -> None:
    TopologicalSorter(
        {dotted(module): list(imported(PACKAGE / module)) for module in MODULES}
    ).prepare()


WRITING = re.compile(
    r"\b(os\.(open|mkdir|makedirs|rmdir|remove|unlink|rename|replace|link|symlink|chmod|utime|write)"
    r"|shutil|tempfile|mkdir|touch|write_text|write_bytes|unlink)\b|open\([^)]*[\"'][wax+]"
)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("planning/*.py")), ids=lambda path: path.stem)
def test_planning_writes_nothing(path: Path) -> None:
    assert not WRITING.findall(path.read_text())


@pytest.mark.parametrize(
    "name", ["errors", "worker", "planning/location", "planning/routing", "s3/credentials"]
)
def test_pure_modules_import_only_the_standard_library(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    foreign = {str(module).split(".")[0] for module in modules} - set(sys.stdlib_module_names)
    assert foreign <= {"nipype_datasink"}


SINK = """
import os
from nipype_datasink import DataSink
sink = DataSink(base_directory=os.path.abspath('out'), infields=['x'], x=os.path.abspath('in.txt'))
assert sink.run().outputs.out_file == [os.path.abspath('out/x/in.txt')]
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("from nipype_datasink import DataSink; DataSink()", id="made"),
        pytest.param(SINK, id="whole-run"),
        pytest.param("import nipype_datasink.io as nio; nio.DataSink", id="io"),
    ],
)
def test_a_local_sink_never_imports_what_it_does_not_need(code: str, workdir: Path) -> None:
    (workdir / "in.txt").write_text("x")
    check = (
        "\nimport sys\n"
        "heavy = {'boto3', 'botocore', 's3transfer', 'awscrt', 'moto', 'tqdm', 'click'}\n"
        "heavy |= {'nipype_datasink.workflows'}\n"
        "found = sorted(heavy.intersection(sys.modules))\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}{check}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_package_offers_its_public_names_and_no_others() -> None:
    assert set(nipype_datasink.__all__) <= set(dir(nipype_datasink))
    assert all(getattr(nipype_datasink, name).__name__ == name for name in nipype_datasink.__all__)
    with pytest.raises(AttributeError, match="no attribute 'plann'"):
        nipype_datasink.plann  # noqa: B018
