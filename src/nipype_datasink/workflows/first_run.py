"""Stop a program where it would first run a workflow or a sink, and examine that instead."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import spawn
from types import FrameType
from typing import Any

import nipype
from nipype.pipeline.engine import Node, Workflow

from nipype_datasink.installation import install
from nipype_datasink.interface import DataSink
from nipype_datasink.workflows.program import Program
from nipype_datasink.workflows.script import run_program


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found out about a workflow or a sink, as text."""

    text: str = ""
    exit_code: int = 0
    error: str = ""
    """Why it could not be examined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRun:
    """The first call of ``run()`` in a program."""

    place: str
    """File and line of the call, as ``pipeline.py:42``."""
    report: Report


Examine = Callable[[Any], Report]


def failure(error: Exception) -> Report:
    """Return a report that names an exception: its kind and its message, without a traceback."""
    lines = traceback.format_exception_only(type(error), error)
    return Report(exit_code=1, error="".join(lines).strip())


def examine_first_run(program: Program, examine: Examine) -> FirstRun | None:
    """Run a program until it runs a workflow or a sink; examine that, and run nothing.

    The first call of ``run()`` of a workflow, of a sink or of a node with a sink examines it, then
    raises `SystemExit`. So does every later call, if the program catches that. Processes that
    `multiprocessing` starts are stopped in the same way.

    Parameters
    ----------
    program
        What to run.
    examine
        Called with the workflow or the sink, in the process and the working directory of the call.
        It must be picklable.

    Returns
    -------
    FirstRun or None
        None if the program ended, with exit code 0, and nothing called ``run()``.

    Raises
    ------
    SystemExit
        If the program ended with another exit code, and nothing called ``run()``.
    ProgramError, ScriptInterrupted
        As `run_program`.
    """
    install()
    with tempfile.TemporaryDirectory(prefix="nipype-datasink-") as directory:
        stop = _Stop(examine, directory, os.getcwd())
        stop.install()
        try:
            run_program(program)
        except SystemExit as end:
            first = stop.first_run()
            if first is None and end.code not in (None, 0):
                raise
            return first
        return stop.first_run()


class _Stop:
    """Replaces the methods ``run``, and records the first call.

    The record is a file, because the call may come from another process. Whoever links its own
    file to the name of the record first is the first. It holds a lock on the file until the record
    is complete.
    """

    def __init__(self, examine: Examine, directory: str, start: str) -> None:
        self._examine = examine
        self._directory = directory
        self._record = os.path.join(directory, "first-run")
        self._start = start

    def __reduce__(self) -> tuple[Any, ...]:
        return _install_stop, (self._examine, self._directory, self._start)

    def install(self) -> None:
        """Replace the methods, also in processes that `multiprocessing` spawns."""
        sink_class = DataSink.__bases__[0]
        run_node = Node.run

        def stop(pipeline: Any, *_: Any, **__: Any) -> None:
            self._stop(pipeline, sys._getframe(1))

        def stop_or_run_node(node: Any, *args: Any, **kwargs: Any) -> Any:
            # Before nipype creates the node's directory. Other nodes are part of the script.
            if isinstance(node._interface, sink_class):
                self._stop(node, sys._getframe(1))
            return run_node(node, *args, **kwargs)

        stopped: tuple[Any, ...] = (Workflow, sink_class, DataSink)
        for each in stopped:
            each.run = stop
        Node.run = stop_or_run_node
        prepare = spawn.get_preparation_data
        spawn.get_preparation_data = lambda name: {**prepare(name), "nipype_datasink_stop": self}

    def _stop(self, pipeline: Any, caller: FrameType) -> None:
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=self._directory) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.link(file.name, self._record)  # fails if there was a call before
            place = _place(caller, self._start)
            pickle.dump(FirstRun(place=place, report=self._report(pipeline)), file)
        raise SystemExit

    def _report(self, pipeline: Any) -> Report:
        try:
            return self._examine(pipeline)
        except Exception as error:  # noqa: BLE001 - the program must not handle it
            return failure(error)

    def first_run(self) -> FirstRun | None:
        """Return the first call, when it has been examined; None if there was no call."""
        try:
            with open(self._record, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                first: FirstRun = pickle.load(file)
                return first
        except (FileNotFoundError, EOFError):  # no call, or its process was killed
            return None


def _install_stop(examine: Examine, directory: str, start: str) -> None:
    """Install a stop that was sent to a spawned process."""
    _Stop(examine, directory, start).install()


_LIBRARIES = tuple(
    os.path.join(directory, "")
    for directory in (
        os.path.dirname(nipype.__file__),
        os.path.dirname(os.path.dirname(__file__)),
        sysconfig.get_path("stdlib"),
    )
)
_SITE = tuple(os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib"))


def _place(caller: FrameType, start: str) -> str:
    """Return file and line of the innermost frame of the program.

    Frames of nipype, of this library and of the standard library are not the program's.
    """
    frame: FrameType | None = caller
    while frame and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    path = frame.f_code.co_filename
    roots = [os.path.join(root, "") for root in (start, *sorted(sys.path, key=len, reverse=True))]
    root = next((each for each in roots if path.startswith(each)), "")
    return f"{path[len(root) :]}:{frame.f_lineno}"


def _is_library(path: str) -> bool:
    if path.startswith("<"):  # code that has no file
        return True
    *packages, standard = _LIBRARIES
    return path.startswith(tuple(packages)) or (
        path.startswith(standard) and not path.startswith(_SITE)
    )
