"""Stop a program where it would first run a workflow or a sink, and examine that instead."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import pool, spawn
from threading import main_thread
from types import FrameType
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from nipype_datasink.installation import install
from nipype_datasink.interface import DataSink
from nipype_datasink.workflows.caller import place_of
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


def examine_first_run(
    program: Program, examine: Examine, show: Callable[[FirstRun], None]
) -> FirstRun | None:
    """Run a program until it runs a workflow or a sink; examine that, and run nothing.

    The first call of ``run()`` of a workflow, of a sink or of a node with a sink examines it, then
    raises `SystemExit`. So does every later call, if the program catches that. Processes that
    `multiprocessing` starts are stopped in the same way. After a call in another thread or process,
    `SystemExit` is also raised in the main thread of the program, because that may wait for a
    result of the call.

    Parameters
    ----------
    program
        What to run.
    examine
        Called with the workflow or the sink, in the process and the working directory of the call.
        It must be picklable.
    show
        Called once with the first call, in this process, before the program's ``finally`` blocks
        run if possible. A program may end there by `os._exit`.

    Returns
    -------
    FirstRun or None
        None if the program and its threads ended, with exit code 0, and nothing called ``run()``.

    Raises
    ------
    SystemExit
        If the program ended with another exit code, and nothing called ``run()``. Also at the end
        of a child that the program made by `os.fork`.
    ProgramError, Interrupted
        As `run_program`.
    """
    install()
    # Not a `TemporaryDirectory`: children made by `os.fork` would remove it.
    directory = tempfile.mkdtemp(prefix="nipype-datasink-")
    stop = _Stop(examine, directory, os.getcwd(), os.getpid())
    stop.install()
    stop.show_in_this_process(show)
    try:
        return _run_until_stopped(program, stop)
    finally:
        if stop.is_in_first_process():
            stop.remove_directory()


def _run_until_stopped(program: Program, stop: _Stop) -> FirstRun | None:
    end = None
    try:
        run_program(program)
    except SystemExit as error:
        end = error
    if not stop.is_in_first_process():
        raise end or SystemExit
    stop.is_stopped = True
    # As Python does at its end: threads that are not daemons go on when the main module has ended.
    threading._shutdown()  # type: ignore[attr-defined]
    _end_children(stop)
    first = stop.show_first_run()
    if end and first is None and end.code not in (None, 0):
        raise end
    return first


_CHILD_EXIT_SECONDS = 5  # for the `finally` blocks of children


def _end_children(stop: _Stop) -> None:
    """End processes that Python would wait for at its end; they may wait for this process.

    `multiprocessing` itself ends the others, which are daemons.
    """
    for child in multiprocessing.active_children():
        if not child.daemon:
            child.join(_CHILD_EXIT_SECONDS)
            stop.show_first_run()  # waits while a child examines its call, which may take long
            child.terminate()
            child.join()


class _Stop:
    """Replaces the methods ``run``, and records the first call.

    The record is a file, because the call may come from another process. Whoever links its own
    file to the name of the record first is the first. It holds a lock on the file until the record
    is complete. Then it sends a signal to the first process, the one of the command.
    """

    def __init__(self, examine: Examine, directory: str, start: str, first_process: int) -> None:
        self._examine = examine
        self._directory = directory
        self._record = os.path.join(directory, "first-run")
        self._start = start
        self._first_process = first_process
        self._show: Callable[[FirstRun], None] | None = None
        self._shown: FirstRun | None = None
        # Guards both. A signal handler may need it in the thread that already holds it.
        self._show_lock = threading.RLock()
        self.is_stopped = False
        """Whether `SystemExit` was raised in the main thread of the program, or it has ended."""

    def __reduce__(self) -> tuple[Any, ...]:
        values = self._examine, self._directory, self._start, self._first_process
        return _install_stop, values

    def is_in_first_process(self) -> bool:
        """Return whether this process runs the command, and is not a child of it."""
        return os.getpid() == self._first_process

    def show_in_this_process(self, show: Callable[[FirstRun], None]) -> None:
        """Call a function with the first call, which may come from another process."""
        self._show = show
        # By default this signal is ignored, and hardly any program uses it: it does no harm if it
        # arrives after the command has ended.
        signal.signal(signal.SIGURG, lambda *_: self._handle_signal())

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
        is_main = self.is_in_first_process() and threading.current_thread() is main_thread()
        self.is_stopped |= is_main
        if self._record_call(pipeline, caller):
            if self.is_in_first_process():
                self.show_first_run()
            if not is_main:
                with suppress(OSError):  # it has ended
                    os.kill(self._first_process, signal.SIGURG)
        raise StopInPool if _is_in_pool(caller) else SystemExit

    def _record_call(self, pipeline: Any, caller: FrameType) -> bool:
        """Examine the pipeline and record that, if this is the first call; return whether it is."""
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=self._directory) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.link(file.name, self._record)  # fails if there was a call before
            place = place_of(caller, self._start)
            pickle.dump(FirstRun(place=place, report=self._report(pipeline)), file)
            file.flush()
            return True
        return False

    def _report(self, pipeline: Any) -> Report:
        try:
            return self._examine(pipeline)
        except Exception as error:  # noqa: BLE001 - the program must not handle it
            return failure(error)

    def _handle_signal(self) -> None:
        """Stop the main thread after a call in another thread or process."""
        # A signal may come from elsewhere, so without waiting for the record.
        if self.is_in_first_process() and self.show_first_run(lock=fcntl.LOCK_SH | fcntl.LOCK_NB):
            if self.is_stopped:
                return  # the program's `finally` blocks must not be interrupted
            self.is_stopped = True
            raise SystemExit

    def show_first_run(self, lock: int = fcntl.LOCK_SH) -> FirstRun | None:
        """Return the first call, and show it once; None if there was no call.

        Wait until it has been examined, or return None with a lock that does not wait.
        """
        with self._show_lock:
            if self._shown is None and (first := self._read_record(lock)):
                self._shown = first
                # The program may end by `os._exit`, before anything else can remove it.
                self.remove_directory()
                if self._show:
                    self._show(first)
            return self._shown

    def _read_record(self, lock: int) -> FirstRun | None:
        try:
            with open(self._record, "rb") as file:
                fcntl.flock(file, lock)
                first: FirstRun = pickle.load(file)
                return first
        # No call; the examination goes on; the process of the call was killed.
        except (FileNotFoundError, BlockingIOError, EOFError):
            return None

    def remove_directory(self) -> None:
        """Remove the record; later calls find no directory, and stop."""
        shutil.rmtree(self._directory, ignore_errors=True)


class StopInPool(SystemExit, Exception):
    """`SystemExit` that a pool of `multiprocessing` passes on to the caller of ``map()``.

    After another exception that is not an `Exception`, the caller would wait for ever.
    """


def _is_in_pool(caller: FrameType) -> bool:
    frame: FrameType | None = caller
    while frame and frame.f_code is not pool.worker.__code__:  # type: ignore[attr-defined]
        frame = frame.f_back
    return frame is not None


def _install_stop(examine: Examine, directory: str, start: str, first_process: int) -> None:
    """Install a stop that was sent to a spawned process."""
    _Stop(examine, directory, start, first_process).install()
