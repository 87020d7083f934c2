"""Run Python in forks of a process that has imported nipype.

Importing nipype takes a second, and nearly two while coverage is measured. That is most of the
time of a test which needs a process of its own, but not one that has just started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from types import CodeType

RunPython = Callable[..., "CompletedProcess[str]"]

# The forks leave `serve` and go on here, where Python itself runs a program.
_START = """
import sys
sys.path.insert(0, {root!r})
from tests.forks import serve
del sys.path[0]
for name in {modules!r}:
    __import__(name)
exec(serve({descriptor}))
"""
_ROOT = str(Path(__file__).parents[1])
_TIMEOUT_SECONDS = 120


@contextmanager
def fork_server(*modules: str, measured: bool = True) -> Iterator[RunPython]:
    """Start a process that imports modules; yield a function that runs Python in its forks.

    The arguments of the function are those of ``python``: a script, or ``-m`` and a module, or
    ``-c`` and code; then the arguments of the program. The fork has the working directory and the
    environment of the caller. The function returns when all processes have ended that inherit the
    output, as `subprocess.run` does. Coverage of the forks is measured if `measured` is set.
    """
    ours, theirs = socket.socketpair()
    start = _START.format(root=_ROOT, modules=modules, descriptor=theirs.fileno())
    command = [sys.executable, "-c", start]
    environment = {**_environment(measured=measured), "NIPYPE_NO_ET": "1"}
    with (
        ours,
        subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
        ),
    ):
        theirs.close()
        yield lambda *arguments: _run(ours, arguments, _environment(measured=measured))
        ours.shutdown(socket.SHUT_RDWR)  # the process ends


def _environment(*, measured: bool) -> dict[str, str]:
    names = [name for name in os.environ if measured or not name.startswith("COVERAGE_")]
    return {name: os.environ[name] for name in names}


def _run(
    server: socket.socket, arguments: tuple[str, ...], environment: dict[str, str]
) -> CompletedProcess[str]:
    (request, ask), (output, print_to), (errors, warn_to) = os.pipe(), os.pipe(), os.pipe()
    socket.send_fds(server, [b"x"], [request, print_to, warn_to])
    for descriptor in (request, print_to, warn_to):
        os.close(descriptor)
    with open(ask, "w") as file:
        json.dump([arguments, os.getcwd(), environment], file)
    with open(output) as stdout, open(errors) as stderr, ThreadPoolExecutor(1) as thread:
        error_text = thread.submit(stderr.read)
        text = stdout.read()
        return CompletedProcess(arguments, int(server.recv(16)), text, error_text.result())


def serve(descriptor: int) -> CodeType:
    """Fork for each request until there are no more; return the code of the program in a fork."""
    with socket.socket(fileno=descriptor) as client:
        while True:
            _, descriptors, *_ = socket.recv_fds(client, 1, 3)
            if not descriptors:
                sys.exit()
            child = os.fork()
            if not child:
                break
            for each in descriptors:
                os.close(each)
            _, status = os.waitpid(child, 0)
            client.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    return _prepare(*descriptors)


def _prepare(request: int, output: int, errors: int) -> CodeType:
    """Make this process one that has just started; return the code that it runs."""
    signal.alarm(_TIMEOUT_SECONDS)
    with open(request) as file:
        arguments, directory, environment = json.load(file)
    for descriptor, standard in ((output, 1), (errors, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # depends on the environment
    return _load(*arguments)


def _load(first: str, *others: str) -> CodeType:
    """Return the code of a program; set what Python sets before it runs one."""
    main = vars(sys.modules["__main__"])
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    sys.argv[:] = [first, *(others[1:] if first in ("-c", "-m") else others)]
    if first == "-c":
        return compile(others[0], "<string>", "exec")
    if first == "-m":
        sys.path[0] = os.getcwd()
        return compile(f"__import__('runpy')._run_module_as_main({others[0]!r})", first, "exec")
    sys.path[0] = os.path.dirname(os.path.realpath(first))
    main["__file__"] = os.path.abspath(first)
    return compile(Path(first).read_bytes(), main["__file__"], "exec")
