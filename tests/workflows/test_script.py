"""Test ``nipype-datasink run``: a script runs as with Python."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tree

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


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "nipype_datasink", "run", *arguments)


def result_of(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_script_runs_as_with_python(workdir: Path, text: str) -> None:
    (workdir / "scripts").mkdir()
    (workdir / "scripts" / "script.py").write_text(text)
    command = ["scripts/script.py", "--help", "-x", "--", "a b"]

    assert result_of(run_command(*command)) == result_of(run_python(*command))


def test_link_to_a_script_imports_from_the_target_directory(workdir: Path) -> None:
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


def test_missing_script_is_an_error(workdir: Path) -> None:
    done = run_command("gone.py")

    assert done.returncode == run_python("gone.py").returncode == 2
    assert "gone.py" in done.stderr


def test_interrupt_ends_the_command_as_python(workdir: Path) -> None:
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
from pathlib import Path
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

SINKS = """
from nipype.interfaces.io import DataSink

class Own(DataSink):
    def _get_dst(self, source):
        return ",".join(kind.__module__ for kind in type(self).__mro__[:2])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_unedited_pipeline_uses_this_class(workdir: Path, method: str) -> None:
    (workdir / "script.py").write_text(PIPELINE)
    (workdir / "sinks.py").write_text(SINKS)

    done = run_command("script.py", method)

    assert done.returncode == 0, done.stderr
    files = {name for name, data in tree(workdir / "out").items() if data}
    assert files == {"x/a.txt", "x/b.txt", "own/x/sinks,nipype_datasink.interface"}
    # Only this class logs one line for each run of a sink.
    assert done.stdout.count("/out: 1 sent") == 2
    assert done.stdout.count("/out/own: 1 sent") == 1
