"""Test that a program is stopped at its first run, which is examined instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import tree
from tests.forks import RunPython, fork_server

# Prints what `examine_first_run` returns. A spawned process imports this module, so a guard.
DRIVER = """
import os
import sys
import time
from nipype_datasink.workflows import first_run
from nipype_datasink.workflows.program import find_program

def examine(pipeline):
    if "fail" in sys.argv:
        raise ValueError("not examined")
    if "slow" in sys.argv:
        open("examining", "w").close()
        time.sleep(1)
    name = pipeline if hasattr(pipeline, "_graph") else type(pipeline).__name__
    return first_run.Report(text=f"{name} in {os.path.basename(os.getcwd())}", exit_code=3)

def show(first):
    print((first.place, first.report.text, first.report.exit_code), flush=True)
    print(first.report.error, file=sys.stderr)

if __name__ == "__main__":
    import driver
    program = find_program(sys.argv[1:])
    if first_run.examine_first_run(program, driver.examine, show) is None:
        print(None)
"""

START = """
import atexit, contextlib, os, sys, threading
from nipype import MapNode, Node, Workflow
from nipype.interfaces.io import DataSink
from nipype.interfaces.utility import Function

def write(path):
    open(path, "w").close()

def node(name):
    interface = Function(input_names=["path"], function=write)
    interface.inputs.path = f"{name}.txt"
    return Node(interface, name=name, base_dir=os.getcwd())

def workflow(name):
    workflow = Workflow(name, base_dir=os.getcwd())
    workflow.add_nodes([node("writer")])
    return workflow
"""


@pytest.fixture(scope="module")
def fork_python() -> Iterator[RunPython]:
    # Coverage would be saved by signal handlers and at the end of processes that are ended here;
    # a forked pool then waits without end.
    with fork_server("nipype_datasink.workflows.first_run", measured=False) as run:
        yield run


@pytest.fixture
def run_driver(workdir: Path, fork_python: RunPython) -> RunPython:
    """Return a function that runs `DRIVER` with the words of a command line."""
    (workdir / "driver.py").write_text(DRIVER)
    return partial(fork_python, str(workdir / "driver.py"))


@pytest.fixture
def run_script(workdir: Path, run_driver: RunPython) -> RunPython:
    """Return a function that runs a script that starts with `START`, whose lines do not count."""

    def run(text: str, *arguments: str) -> CompletedProcess[str]:
        (workdir / "start.py").write_text(START)
        (workdir / "script.py").write_text(f"from start import *\n{text}")
        return run_driver("script.py", *arguments)

    return run


STOPPED = {
    "workflow": "workflow('a').run(plugin='MultiProc')\nwrite('after')\n",
    "workflow in a function": "def main(): workflow('a').run()\nmain()\n",
    "several workflows": "try: workflow('a').run()\nfinally: workflow('b').run()\n",
    "all exceptions are caught": "try: workflow('a').run()\nexcept: workflow('b').run()\n",
    "exit is caught": "try: workflow('a').run()\nexcept SystemExit: sys.exit(7)\n",
    "error after it": "try: workflow('a').run()\nexcept BaseException: 1 / 0\n",
    "errors are ignored": "with contextlib.suppress(Exception): workflow('a').run()\nwrite('x')\n",
    "run by a thread": (
        "t = threading.Thread(target=lambda: workflow('a').run()); t.start()\nt.join()\n"
    ),
    "subclass": (
        "class Study(Workflow):\n"
        "    def run(self): return super().run(plugin='Linear')\n"
        "Study('a').run()\n"
    ),
}


def files(workdir: Path) -> set[str]:
    """Return all paths but the data of coverage, which processes that are ended leave there."""
    return {path for path in tree(workdir) if not path.startswith(".coverage.")}


@pytest.mark.parametrize("text", STOPPED.values(), ids=STOPPED)
def test_program_stops_at_its_first_workflow(
    workdir: Path, text: str, run_script: RunPython
) -> None:
    done = run_script(text)

    line = 3 if "class" in text else 2
    shown = f"('script.py:{line}', 'a in {workdir.name}', 3)"
    assert done.stdout.splitlines()[-1] == shown, done.stderr
    assert files(workdir) == {"driver.py", "script.py", "start.py"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("DataSink(base_directory='out').run()", "DataSink"),
        ("DataSink(base_directory='out', x='script.py').run(cwd='.')", "DataSink"),
        ("class Own(DataSink): run = lambda self: super(Own, self).run()\nOwn().run()", "Own"),
        ("Node(DataSink(base_directory='out'), name='sink', base_dir='work').run()", "Node"),
        (
            "n = MapNode(DataSink(infields=['x']), ['x'], name='sink', base_dir='work')\n"
            "n.inputs.x = ['script.py']; n.run()",
            "MapNode",
        ),
    ],
    ids=["sink", "in a directory", "subclass", "node", "MapNode"],
)
def test_program_stops_at_its_first_sink(
    workdir: Path, text: str, kind: str, run_script: RunPython
) -> None:
    done = run_script(text)

    line = 3 if text.startswith("n =") else 2
    shown = f"('script.py:{line}', '{kind} in {workdir.name}', 3)"
    assert done.stdout.splitlines()[-1] == shown, done.stderr
    assert files(workdir) == {"driver.py", "script.py", "start.py"}


def test_nodes_without_a_sink_are_part_of_the_program(workdir: Path, run_script: RunPython) -> None:
    done = run_script("node('first').run()\nworkflow('a').run()\n")

    assert done.stdout.splitlines()[-1].startswith("('script.py:3', ")
    assert (workdir / "first" / "result_first.pklz").exists()


def test_cleanup_of_the_program_is_done_after_the_report(
    workdir: Path, run_script: RunPython
) -> None:
    text = (
        "import tempfile\n"
        "atexit.register(print, 'the end')\n"
        "with tempfile.TemporaryDirectory(prefix='study') as directory:\n"
        "    os.chdir(directory)\n"
        "    try: workflow('a').run()\n"
        "    finally: print('finally'); os.chdir('/')\n"
    )

    done = run_script(text)

    stopped, *others = done.stdout.splitlines()
    assert others == ["finally", "the end"]
    assert stopped.startswith("('script.py:6', 'a in study")


@pytest.mark.parametrize(
    ("text", "code", "output"),
    [
        ("", 0, "None\n"),
        ("sys.exit(0)", 0, "None\n"),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('no subject')", 1, ""),
        ("1 / 0", 1, ""),
    ],
)
def test_program_that_runs_nothing_ends_as_it_does(
    workdir: Path, text: str, code: int, output: str, run_script: RunPython
) -> None:
    done = run_script(text)

    assert (done.returncode, done.stdout) == (code, output)
    assert ("no subject" in done.stderr) == ("no subject" in text)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_the_program_are_stopped(
    workdir: Path, method: str, run_script: RunPython
) -> None:
    text = (
        "import multiprocessing\n"
        "def main(): workflow('a').run()\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context(sys.argv[1])\n"
        "    for process in [context.Process(target=main) for _ in range(2)]:\n"
        "        process.start(); process.join()\n"
    )

    done = run_script(text, method)

    assert done.stdout.splitlines()[-1] == f"('script.py:3', 'a in {workdir.name}', 3)"
    assert files(workdir) == {"driver.py", "script.py", "start.py"}


WAITING = {
    "pool": (
        "def main(_): workflow('a').run()\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:\n"
        "        pool.map(main, range(3))\n"
    ),
    "pool that is not closed": (
        "def main(_): workflow('a').run()\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.get_context(sys.argv[1]).Pool(1).map(main, range(3))\n"
    ),
    "pools whose errors are ignored": (
        "def main(_): workflow('a').run()\n"
        "if __name__ == '__main__':\n"
        "    for _ in range(2):\n"
        "        try: multiprocessing.get_context(sys.argv[1]).Pool(1).map(main, range(2))\n"
        "        except: pass\n"
    ),
    "processes and queues": (
        "def main(queue, done): queue.get(); workflow('a').run(); done.put(1); queue.get()\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context(sys.argv[1])\n"
        "    queues = [context.Queue(), context.Queue()]\n"
        "    for _ in range(2): context.Process(target=main, args=queues).start()\n"
        "    queues[0].put(1); queues[1].get()\n"
    ),
}


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("text", WAITING.values(), ids=WAITING)
def test_program_that_waits_for_a_stopped_process_ends(
    workdir: Path, text: str, method: str, run_script: RunPython
) -> None:
    # Does not return before all processes have ended that inherit its pipes.
    done = run_script(f"import multiprocessing\n{text}", method)

    (shown,) = done.stdout.splitlines()
    assert shown == f"('script.py:3', 'a in {workdir.name}', 3)", done.stderr
    assert done.returncode == 0
    assert files(workdir) == {"driver.py", "script.py", "start.py"}


def test_child_that_examines_its_call_is_not_ended(workdir: Path, run_script: RunPython) -> None:
    text = (
        "import multiprocessing, time\n"
        "from nipype_datasink.workflows import first_run\n"
        "first_run._CHILD_EXIT_SECONDS = 0\n"
        "multiprocessing.get_context('fork').Process(target=workflow('a').run).start()\n"
        "while not os.path.exists('examining'): time.sleep(0.01)\n"
    )

    done = run_script(text, "slow")

    assert f"'a in {workdir.name}', 3)" in done.stdout, done.stderr


def test_program_that_waits_for_a_stopped_thread_ends(workdir: Path, run_script: RunPython) -> None:
    text = (
        "from multiprocessing.pool import ThreadPool\n"
        "with ThreadPool(1) as pool: pool.map(lambda _: workflow('a').run(), range(3))\n"
    )

    done = run_script(text)

    assert done.stdout == f"('script.py:3', 'a in {workdir.name}', 3)\n", done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "def main(): write('ended'); workflow('a').run()\n"
        "threading.Timer(0.5, main).start(); atexit.register(os.remove, 'ended')\n",
        "from concurrent.futures import ThreadPoolExecutor\nimport time\n"
        "pool = ThreadPoolExecutor(1); pool.submit(time.sleep, 0.5)\n"
        "pool.submit(workflow('a').run)\n",
        "threading.Thread(target=lambda: (threading.main_thread().join(), workflow('a').run()))"
        ".start()\n",
    ],
    ids=["timer", "executor", "waits for the main thread"],
)
def test_threads_go_on_when_the_main_module_has_ended(
    workdir: Path, text: str, run_script: RunPython
) -> None:
    done = run_script(text)

    (shown,) = done.stdout.splitlines()
    assert f"'a in {workdir.name}', 3)" in shown, done.stderr
    assert files(workdir) == {"driver.py", "script.py", "start.py"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("if os.fork() == 0: workflow('a').run()\nos.wait(); print('end')", True),
        ("if os.fork() == 0: workflow('a').run()\nos.wait(); workflow('b').run()", True),
        ("if os.fork() == 0: sys.exit()\nos.wait(); workflow('a').run()", True),
        ("if os.fork() == 0: sys.exit()\nos.wait()", False),
    ],
    ids=["child", "both", "parent", "none"],
)
def test_only_the_first_process_reports(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, text: str, shown: bool, run_script: RunPython
) -> None:
    monkeypatch.setenv("TMPDIR", str(workdir))

    done = run_script(text)

    (line,) = done.stdout.splitlines()
    assert line.endswith(f"'a in {workdir.name}', 3)") == shown, done.stderr
    assert line == "None" or shown
    assert files(workdir) == {"driver.py", "script.py", "start.py"}


def test_report_is_shown_before_the_program_ends_by_itself(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, run_script: RunPython
) -> None:
    monkeypatch.setenv("TMPDIR", str(workdir))

    done = run_script("try: workflow('a').run()\nfinally: os._exit(7)\n")

    assert done.stdout == f"('script.py:2', 'a in {workdir.name}', 3)\n"
    assert done.returncode == 7
    assert files(workdir) == {"driver.py", "script.py", "start.py"}


def test_place_in_a_package_has_its_directories(workdir: Path, run_driver: RunPython) -> None:
    (workdir / "study").mkdir()
    (workdir / "study" / "tool.py").write_text("from start import *\nworkflow('a').run()\n")
    (workdir / "start.py").write_text(START)

    done = run_driver("-m", "study.tool")

    assert done.stdout.splitlines()[-1].startswith("('study/tool.py:2', ")


def test_place_outside_of_the_working_directory_is_relative_to_the_script(
    workdir: Path, run_driver: RunPython
) -> None:
    (workdir / "run").mkdir()
    (workdir / "start.py").write_text(START)
    (workdir / "tool.py").write_text("from start import *\nworkflow('a').run()\n")

    os.chdir("run")
    done = run_driver("../tool.py")

    assert done.stdout.splitlines()[-1].startswith("('tool.py:2', ")


def test_error_of_the_examination_is_not_handled_by_the_program(
    workdir: Path, run_script: RunPython
) -> None:
    done = run_script("try: workflow('a').run()\nexcept Exception: write('x')\n", "fail")

    assert done.stdout.splitlines()[-1] == "('script.py:2', '', 1)"
    assert done.stderr == "ValueError: not examined\n"
    assert not (workdir / "x").exists()
