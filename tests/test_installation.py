"""Test `install()`; each test runs in a new Python process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.forks import fork_server

Run = Callable[[str], str]

START = f"import sys; sys.path[:0] = {['', *sys.path]!r}\n"
INSTALL = "import nipype_datasink; nipype_datasink.install()\n"


def output_of(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Return a function that runs code in a process that has imported nipype only.

    It returns what the code prints.
    """
    with fork_server("nipype.interfaces.io") as run_python:
        yield lambda code: output_of(run_python("-c", START + code))


def test_imports_after_install_return_this_class() -> None:
    code = (
        START
        + INSTALL
        + "import nipype, nipype.interfaces, nipype.interfaces.io as nio, nipype_datasink.io\n"
        "ours = nipype_datasink.DataSink\n"
        "for place in (nipype, nipype.interfaces, nio, nipype_datasink.io):\n"
        "    assert place.DataSink is ours, place\n"
        "assert nio.DataSinkInputSpec is nipype_datasink.DataSinkInputSpec\n"
        "from nipype.interfaces.io import DataSink; assert DataSink is ours\n"
    )

    # Nothing was imported before.
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert output_of(done) == ""


def test_a_second_call_does_nothing(run: Run) -> None:
    run(
        "import warnings; warnings.simplefilter('error', RuntimeWarning)\n"
        + INSTALL
        + "from multiprocessing import spawn; import nipype.interfaces.io as nio\n"
        "from nipype import DataSink; before = dict(vars(nio)), vars(spawn).copy()\n"
        "nipype_datasink.install()\n"
        "assert (dict(vars(nio)), vars(spawn)) == before\n"
    )


MODULE = """
from nipype import Node, Workflow
from nipype.interfaces.io import DataSink
class Own(DataSink): pass
class Narrow(Own): pass
"""


@pytest.mark.parametrize(
    ("code", "listed"),
    [
        ("import pipeline", "the module pipeline"),
        ("import pipeline; del pipeline.DataSink", "the class pipeline.Own"),
        ("import pipeline; del pipeline.DataSink", "the class pipeline.Narrow"),
        ("import nipype; node = nipype.Node(nipype.DataSink(), name='sink')", "the node sink"),
        (
            "from nipype import Node, MapNode, Workflow; import nipype\n"
            "node = MapNode(nipype.DataSink(infields=['a']), iterfield='a', name='sink')\n"
            "workflow = Workflow('study'); workflow.add_nodes([node])",
            "the node study.sink",
        ),
        ("import nipype; two = nipype.DataSink(), nipype.DataSink()", "2 instance(s)"),
    ],
)
def test_users_of_nipypes_class_are_listed(workdir: Path, code: str, listed: str, run: Run) -> None:
    (workdir / "pipeline.py").write_text(MODULE)

    output = run(f"{code}\n{INSTALL}")

    (warning,) = [line for line in output.splitlines() if "Warning" in line]
    assert f"still used by {listed}" in warning or f", {listed}" in warning
    assert "the module nipype" not in warning
    assert "RuntimeWarning" in warning


def test_unreachable_objects_are_not_listed(run: Run) -> None:
    output = run(
        "import nipype\nnode = nipype.Node(nipype.DataSink(), name='sink')\n"
        f"node.itself = node\ndel node\n{INSTALL}"
    )

    assert output == ""


def test_existing_sinks_of_nipype_still_work(workdir: Path, run: Run) -> None:
    (workdir / "pipeline.py").write_text(MODULE)
    (workdir / "a.txt").write_text("a")

    run(
        "import os, pickle, pipeline; from nipype import Node\n"
        "node = Node(pipeline.DataSink(infields=['x']), name='sink')\n" + INSTALL + "try:\n"
        "    pickle.dumps(node)\n"
        "except pickle.PicklingError:\n"
        "    pass\n"
        "else:\n"
        "    raise AssertionError('it says that they can no longer be pickled')\n"
        "for sink in (node.interface, pipeline.DataSink(), pipeline.Narrow(infields=['x'])):\n"
        "    assert not isinstance(sink, nipype_datasink.DataSink)\n"
        "    sink.inputs.base_directory = os.path.abspath('out')\n"
        "    sink.inputs.x = os.path.abspath('a.txt')\n"
        "    assert sink.run().outputs.out_file == [os.path.abspath('out/x/a.txt')]\n"
    )


def test_subclass_defined_after_install_has_the_new_inputs(workdir: Path, run: Run) -> None:
    run(
        INSTALL + "import os, pickle; import nipype.interfaces.io as nio\n"
        "class Spec(nio.DataSinkInputSpec): pass\n"
        "class Own(nio.DataSink):\n"
        "    input_spec = Spec\n"
        "sink = Own(s3_region='eu-west-1')\n"
        "assert 's3_region' not in sink.inputs._outputs\n"
        "assert pickle.loads(pickle.dumps(sink)).inputs.s3_region == 'eu-west-1'\n"
    )


def test_sinks_are_pickled_with_this_module_name(run: Run) -> None:
    run(
        INSTALL + "import pickle; from nipype import DataSink, Node\n"
        "data = pickle.dumps(Node(DataSink(container='a'), name='sink'), 0)\n"
        "assert b'nipype_datasink.interface' in data\n"
        "assert b'nipype.interfaces.io\\nDataSink' not in data\n"
        "assert pickle.loads(data).inputs.container == 'a'\n"
    )


def test_nodes_pickled_with_nipypes_class_are_unpickled_as_this_class(
    workdir: Path, run: Run
) -> None:
    (workdir / "a.txt").write_text("a")
    run(
        "import os, pickle; from nipype import DataSink, Node\n"
        "node = Node(DataSink(base_directory=os.path.abspath('out')), name='sink')\n"
        "node.inputs.x = os.path.abspath('a.txt')\n"
        "open('node.pkl', 'wb').write(pickle.dumps(node))\n"
    )

    run(
        INSTALL + "import os, pickle\n"
        "sink = pickle.load(open('node.pkl', 'rb')).interface\n"
        "assert type(sink) is nipype_datasink.DataSink\n"
        "assert sink.run().outputs.out_file == [os.path.abspath('out/x/a.txt')]\n"
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_started_processes_also_use_this_class(workdir: Path, method: str, run: Run) -> None:
    (workdir / "pipeline.py").write_text(
        "from nipype import DataSink\nclass Own(DataSink): pass\n"
        "def bases(): return [base.__module__ for base in Own.__bases__]\n"
    )
    (workdir / "elsewhere").mkdir()

    output = run(
        INSTALL + "import multiprocessing, os, pipeline\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "sys.path[0] = os.getcwd(); os.chdir('elsewhere')\n"
        f"context = multiprocessing.get_context('{method}')\n"
        "with ProcessPoolExecutor(1, mp_context=context) as pool:\n"
        "    print(pool.submit(pipeline.bases).result())\n"
    )

    assert "['nipype_datasink.interface']" in output.splitlines()
