"""Test ``nipype-datasink run``: a script or module runs as with Python."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import tree
from tests.forks import RunPython

PRINT_LOCATION = """
import __main__, os, pickle, sys
from dataclasses import dataclass

@dataclass
class Record:
    name: str

print(__name__, __file__, __package__, __spec__, sys.argv, sys.path[0])
print(__main__.Record is Record, pickle.loads(pickle.dumps(Record("a"))), os.getcwd())
"""

SCRIPTS = {
    "where": PRINT_LOCATION,
    "error": "def fail():\n    raise ValueError('no')\n\n\nfail()\n",
    "cause": "try:\n    1 / 0\nexcept ArithmeticError as error:\n    raise OSError() from error\n",
    "syntax": "print('a'\nx = )\n",
    "exit": "import sys\nsys.exit(7)\n",
    "exit-with-message": "raise SystemExit('nothing to do')\n",
    "atexit": "import atexit\natexit.register(lambda: print(__import__('__main__').atexit))\n",
    "builtins": "print(__builtins__.len([1]))\n",
    "cancelled": "import asyncio\nraise asyncio.CancelledError('stop')\n",
    "end-of-input": "input()\n",
    "hook": "import sys\nsys.excepthook = lambda *_: print('hooked')\n1 / 0\n",
}


def run_python(*arguments: str) -> CompletedProcess[str]:
    # Python itself starts in a tenth of the time that coverage takes to start.
    environment = {name: os.environ[name] for name in os.environ if "COVERAGE" not in name}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


@pytest.fixture
def run_command(fork_python: RunPython) -> RunPython:
    """Return a function that runs ``nipype-datasink run`` with its arguments."""
    return partial(fork_python, "-m", "nipype_datasink", "run")


def result_of(done: CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_script_runs_as_with_python(workdir: Path, text: str, run_command: RunPython) -> None:
    (workdir / "scripts").mkdir()
    (workdir / "scripts" / "script.py").write_text(text)
    command = ["scripts/script.py", "--help", "-x", "--", "a b"]

    assert result_of(run_command(*command)) == result_of(run_python(*command))


def test_link_to_a_script_imports_from_the_target_directory(
    workdir: Path, run_command: RunPython
) -> None:
    (workdir / "folder").mkdir()
    (workdir / "folder" / "script.py").write_text(
        "import neighbour; print(__file__, neighbour.name)"
    )
    (workdir / "folder" / "neighbour.py").write_text("name = 'neighbour'")
    (workdir / "link").symlink_to("folder/script.py")

    done = run_command("link")

    assert done.stdout == f"{workdir / 'link'} neighbour\n"
    assert result_of(done) == result_of(run_python("link"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="came with Python 3.11")
def test_safe_path_keeps_the_script_directory_out_of_sys_path(workdir: Path) -> None:
    (workdir / "script.py").write_text("import neighbour")
    (workdir / "neighbour.py").touch()
    command = ["script.py"]

    done = run_python("-P", "-m", "nipype_datasink", "run", *command)

    assert "ModuleNotFoundError" in done.stderr
    assert result_of(done) == result_of(run_python("-P", *command))


def write_package(directory: Path) -> None:
    """Write a package whose modules show how they were started."""
    for name in ("__init__", "__main__", "tool"):
        path = directory / "package" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"print({name!r}, __name__)\n")
    text = PRINT_LOCATION + "print(__cached__, type(__loader__).__name__)\nfail()\n"
    (directory / "package" / "tool.py").write_text(text)
    (directory / "package" / "broken.py").write_text("import sys\n\nsys.exit(3)\n")


def without_runpy(error: str) -> str:
    """Remove the frames of `runpy` from a traceback."""
    return re.sub(r'  File "<frozen runpy>".*\n|  File ".*/runpy.py".*\n    .*\n', "", error)


@pytest.mark.parametrize("name", ["package.tool", "package", "package.broken"])
def test_module_runs_as_with_python(workdir: Path, name: str, run_command: RunPython) -> None:
    write_package(workdir)
    command = ["-m", name, "--help", "-m", "x"]

    python = run_python(*command)
    done = run_command(*command)

    address = re.compile(" at 0x[0-9a-f]+")
    assert address.sub("", done.stdout) == address.sub("", python.stdout)
    assert (done.returncode, done.stderr) == (python.returncode, without_runpy(python.stderr))
    assert bool(done.stderr) == (name == "package.tool")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "there is no module named 'gone'"),
        ("package.gone", "there is no module named 'package.gone'"),
        ("xml.dom", "'xml.dom' is a package without a module __main__"),
        ("math", "'math' has no Python code"),
        ("sys.x", "there is no module named 'sys.x'"),
        (".relative", "there is no module named '.relative'"),
    ],
)
def test_module_that_cannot_be_run_is_an_error(
    workdir: Path, name: str, message: str, run_command: RunPython
) -> None:
    write_package(workdir)

    done = run_command("-m", name)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_error_while_the_package_of_a_module_is_imported_has_its_traceback(
    workdir: Path, run_command: RunPython
) -> None:
    (workdir / "package").mkdir()
    (workdir / "package" / "__init__.py").write_text("import numpy.gone\n")

    done = run_command("-m", "package.tool")

    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{workdir}/package/__init__.py", line 1, in <module>'
    assert lines[-1] == "ModuleNotFoundError: No module named 'numpy.gone'"


CONSOLE_SCRIPT = """\
import re
import sys
from laboratory import main
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(main())
"""


def test_installed_program_runs_as_from_a_shell(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "bin").mkdir()
    program = workdir / "bin" / "petprocess"
    program.write_text(f"#!{sys.executable}\n{CONSOLE_SCRIPT}")
    program.chmod(0o755)
    (workdir / "laboratory.py").write_text(
        "import sys\ndef main():\n    print(sys.argv, sys.path[0])\n    return 4\n"
    )
    monkeypatch.setenv("PATH", str(workdir / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(workdir))

    from_shell = subprocess.run(
        ["petprocess", "-x", "a"], capture_output=True, text=True, timeout=120, check=False
    )
    # Not in a fork, which ignores PYTHONPATH.
    done = run_python("-m", "nipype_datasink", "run", "petprocess", "-x", "a")

    assert done.stdout == f"['{program}', '-x', 'a'] {workdir / 'bin'}\n"
    assert result_of(done) == result_of(from_shell)


def test_missing_script_is_an_error(workdir: Path, run_command: RunPython) -> None:
    done = run_command("gone.py")

    assert done.returncode == run_python("gone.py").returncode == 2
    assert "gone.py" in done.stderr


def test_interrupt_ends_the_command_as_python(workdir: Path, run_command: RunPython) -> None:
    text = "import atexit\natexit.register(print, 'the end')\nraise KeyboardInterrupt\n"
    (workdir / "script.py").write_text(text)

    done = run_command("script.py")

    assert done.returncode == -signal.SIGINT
    assert done.stdout == "the end\n"
    assert result_of(done) == result_of(run_python("script.py"))


def test_interrupt_ends_the_installed_command(workdir: Path) -> None:
    (workdir / "script.py").write_text("raise KeyboardInterrupt\n")
    command = Path(sys.executable).with_name("nipype-datasink")
    done = subprocess.run(
        [command, "run", "script.py"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr == run_python("script.py").stderr


PIPELINE = """
import sys
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from nipype import MapNode, Node, Workflow
from nipype.interfaces.io import DataSink
from sinks import Own

if __name__ == "__main__":
    for name in ("a", "b"):
        Path(f"{name}.txt").write_text(name)
    base = str(Path("out").resolve())
    both = MapNode(DataSink(infields=["x"], base_directory=base), iterfield=["x"], name="both")
    both.inputs.x = [str(Path(f"{name}.txt").resolve()) for name in ("a", "b")]
    own = Node(Own(base_directory=base, x=both.inputs.x[0]), name="own")
    own.inputs.container = "own"
    workflow = Workflow("study", base_dir="work")
    workflow.add_nodes([both, own])
    arguments = {"n_procs": 2, "mp_context": sys.argv[1]}
    workflow.run(plugin="MultiProc", plugin_args=arguments)
"""

MODULE_PIPELINE = """
import argparse
import multiprocessing
from nipype.interfaces.io import DataSink

def sink(path):
    return DataSink(base_directory="out", x=path).run().outputs.out_file

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--missing", nargs="+")
    paths = parser.parse_args().missing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(sink, paths))
"""


@pytest.mark.parametrize("target", [["pipeline"], ["-m", "pipeline"], ["-m", "lab.pipeline"]])
def test_spawned_processes_import_the_main_module_again(
    workdir: Path, target: list[str], run_command: RunPython
) -> None:
    (workdir / "lab").mkdir()
    for path in ("pipeline", "pipeline.py", "lab/pipeline.py"):
        (workdir / path).write_text(MODULE_PIPELINE)
    (workdir / "a.nii").touch()

    done = run_command(*target, "--missing", "a.nii")

    assert done.returncode == 0, done.stderr
    # Not always in the last line: coverage may print its collectors when a forked process ends.
    assert str([[str(workdir / "out/x/a.nii")]]) in done.stdout.splitlines()
    assert "1 new" in done.stdout  # the line of this library's class


SINKS = """
from nipype.interfaces.io import DataSink

class Own(DataSink):
    def _get_dst(self, source):
        return ",".join(kind.__module__ for kind in type(self).__mro__[:2])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_unedited_pipeline_uses_this_class(
    workdir: Path, method: str, run_command: RunPython
) -> None:
    (workdir / "script.py").write_text(PIPELINE)
    (workdir / "sinks.py").write_text(SINKS)

    done = run_command("script.py", method)

    assert done.returncode == 0, done.stderr
    files = {name for name, data in tree(workdir / "out").items() if data}
    assert files == {"x/a.txt", "x/b.txt", "own/x/sinks,nipype_datasink.interface"}
    # Only this class logs one line for each run of a sink.
    assert done.stdout.count("/out: 1 new") == 2
    assert done.stdout.count("/out/own: 1 new") == 1
