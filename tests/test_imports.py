"""What is imported when, and in which direction."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nipype_datasink

PACKAGE = Path(nipype_datasink.__file__).parent
ORDER = [
    {"display", "errors", "places", "termination", "threads", "worker"},
    {"placing"},
    {"location", "path_limits"},
    {"routing"},
    {"sources"},
    {"plan"},
    {"collisions", "hints", "removal"},
    {"soundness", "manifest"},
    {"progress"},
    {"delivery"},
    {"local", "s3"},
    {"attributes", "inputs", "configuration"},
    {"settings"},
    {"interface"},
    {"installation"},
    {"__init__"},
    {"io", "script"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
S3_ORDER = [
    {"__init__"},
    {
        "arguments",
        "credentials",
        "comparison",
        "content_type",
        "descriptors",
        "digesting",
        "endpoint",
        "pace",
        "session",
        "store",
        "throttling",
    },
    {"template", "listing", "injected", "refusal"},
    {"deletion", "dialect", "reading", "unknown_size"},
    {"alike_keys", "verification"},
    {"client", "transport", "translation"},
    {"reference"},
    {"identity"},
    {"adaptation", "presence", "classic", "crt", "runtime"},
    {"choice"},
    {"target"},
]


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(path: Path) -> Iterator[str]:
    """Yield the names below our package that a module imports to run, wherever in its text."""
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


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    own = room(path)
    assert own in RANK, f"{own} has no place in the order"
    for name in imported(path):
        other = name.split(".")[0]
        assert RANK[other] < RANK[own] or other == own, f"{own} imports {name}"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("s3/*.py")), ids=lambda path: path.stem)
def test_imports_run_one_way_within_s3(path: Path) -> None:
    rank = {module: rank for rank, modules in enumerate(S3_ORDER) for module in modules}
    assert path.stem in rank, f"s3/{path.stem} has no place in the order"
    for name in imported(path):
        top, _, other = name.partition(".")
        if top == "s3":
            assert rank[other or "__init__"] < rank[path.stem], f"s3.{path.stem} imports {name}"


@pytest.mark.parametrize(
    "name", ["errors", "worker", "location", "routing", "manifest", "s3/credentials"]
)
def test_pure_modules_import_no_package_but_ours(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    if not path.exists():
        pytest.skip("is not there")
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
def test_a_local_sink_never_imports_what_s3_needs(code: str, workdir: Path) -> None:
    (workdir / "in.txt").write_text("x")
    check = (
        "\nimport sys\n"
        "heavy = {'boto3', 'botocore', 's3transfer', 'awscrt', 'moto', 'tqdm', 'click'}\n"
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
