"""Find the Python program that a command line names: a script, a module or a program on PATH."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec


class ProgramError(Exception):
    """The command line names nothing that this interpreter can run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A Python source file and its arguments."""

    path: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module, or a package with a ``__main__`` module, and its arguments."""

    name: str
    arguments: tuple[str, ...] = ()


Program = Script | Module


def find_program(words: Sequence[str]) -> Program:
    """Return the program that the words of a command line name.

    Parameters
    ----------
    words
        ``-m`` and the name of a module, the path of a script, or the name of a program on PATH;
        then the arguments of the program.

    Raises
    ------
    ProgramError
        If there is no such program, or if another interpreter or no interpreter of Python runs it.
    """
    name, *arguments = words
    if name == "-m":
        if not arguments:
            raise ProgramError("-m needs the name of a module")
        return Module(name=arguments[0], arguments=tuple(arguments[1:]))
    if name == "-":
        raise ProgramError(f"a program on standard input cannot be run here; {_SUPPORTED}")
    if name.startswith("-"):
        raise ProgramError(f"no such option: {name}")
    path = name if os.path.isfile(name) or os.sep in name else _find_on_path(name)
    if kind := _unsupported_kind(path):
        raise ProgramError(f"{path!r} {kind}, and cannot be run here; {_SUPPORTED}")
    return Script(path=path, arguments=tuple(arguments))


_START_BYTES = 4096  # enough for a first line, and for the header of any data file
_SUPPORTED = "write the path of a script, '-m MODULE', or the name of an installed program"


def _unsupported_kind(path: str) -> str:
    """Return what a path is if it is not a source file; Python runs some other kinds, too."""
    if not os.path.exists(path):
        return "does not exist"
    if os.path.isdir(path):
        return "is a directory"
    if not os.path.isfile(path):
        return "is not a regular file"
    if path.endswith(".pyc"):
        return "is a compiled file"
    # Not by the name: a program on PATH may be a zip file after a first line.
    if zipfile.is_zipfile(path):
        return "is a zip file"
    return "is not a text file" if _is_binary(path) else ""


def _is_binary(path: str) -> bool:
    """Return whether the start of a file has a NUL character, which no Python source has."""
    try:
        with open(path, "rb") as file:
            return b"\0" in file.read(_START_BYTES)
    except OSError:  # running it raises this error, too, with a traceback
        return False


def _find_on_path(name: str) -> str:
    """Return the path of a program that this interpreter runs."""
    # The environment of this interpreter may not be activated: its directory is not on PATH then.
    own = os.pathsep.join((os.path.dirname(sys.executable), sysconfig.get_path("scripts")))
    found = [path for where in (None, own) if (path := shutil.which(name, path=where))]
    for path in found:
        if _is_own(_interpreter_of(path)):
            return path
    if not found:
        what = "is a directory, and not" if os.path.isdir(name) else "is neither a file nor"
        raise ProgramError(f"{name!r} {what} a program on PATH; {_SUPPORTED}")
    interpreter = _interpreter_of(found[0])
    if not _is_python(interpreter):
        raise ProgramError(
            f"{found[0]} is not a Python program; only Python programs, scripts and modules can be "
            "run here"
        )
    raise ProgramError(
        f"{found[0]} belongs to another interpreter, {interpreter[0]}, and this command to "
        f"{sys.executable}; install nipype-datasink there: "
        f"{interpreter[0]} -m pip install nipype-datasink"
    )


# pip writes this in place of "#!" if the path of the interpreter is too long or contains a space.
_LONG_SHEBANG = re.compile(rb"#!/bin/sh\n'''exec' (.*) \"\$0\" \"\$@\"\n")


def _interpreter_of(path: str) -> list[str]:
    """Return the command in the first line of a program; an empty list if there is none."""
    with open(path, "rb") as file:
        start = file.read(_START_BYTES)
    match = _LONG_SHEBANG.match(start) or re.match(rb"#!(.*)\n", start)
    words = shlex.split(os.fsdecode(match[1])) if match else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        words[:1] = [shutil.which(word) or word for word in words[:1]]
    return words


def _is_python(command: Sequence[str]) -> bool:
    return bool(command) and "python" in os.path.basename(command[0])


def _is_own(command: Sequence[str]) -> bool:
    """Return whether a command starts this interpreter, with the same installed packages.

    All virtual environments of an interpreter have links to the same file, so the directories
    decide. A directory has several names of the interpreter, such as python and python3.11.
    """
    return _is_python(command) and _identity(command[0]) == _identity(sys.executable)


def _identity(path: str) -> tuple[str, str]:
    return os.path.realpath(os.path.dirname(path)), os.path.realpath(path)


def find_module(name: str) -> ModuleSpec:
    """Return the spec of a module that ``-m`` can run; import its parents.

    Raises
    ------
    ProgramError
        If there is no such module, or if it is a package without a module ``__main__``.
    """
    spec = _find(name)
    if spec.submodule_search_locations is None:
        return spec
    try:
        return _find(f"{name}.__main__")
    except ProgramError:
        raise ProgramError(
            f"{name!r} is a package without a module __main__; write the name of one of its modules"
        ) from None


def _find(name: str) -> ModuleSpec:
    parent = name.rpartition(".")[0]
    if parent:
        _find(parent)
        # Not by `find_spec`, whose frames would be part of a traceback.
        __import__(parent)
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # the parent is not a package; the module has no spec
        spec = None
    if spec is None:
        raise ProgramError(f"there is no module named {name!r}")
    return spec
