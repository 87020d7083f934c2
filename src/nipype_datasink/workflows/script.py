"""Run a script or a module as Python does, with this `DataSink` installed."""

from __future__ import annotations

import builtins
import os
import sys
from importlib.abc import InspectLoader
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType, TracebackType

from nipype_datasink.installation import install
from nipype_datasink.workflows import program as programs
from nipype_datasink.workflows.program import Module, Program, ProgramError, Script, find_module


class Interrupted(BaseException):
    """Ctrl-C ended the script or the command, and what there is to say was printed.

    It is not a `KeyboardInterrupt`, because click handles that itself and exits with a code.
    """


def run_program(program: Program) -> None:
    """Install this `DataSink`, then run a program as Python does.

    Parameters
    ----------
    program
        What ``python path arguments...`` or ``python -m module arguments...`` would run.

    Raises
    ------
    ProgramError
        If there is no such module.
    SystemExit
        If the program raises it, or with exit code 1 after the traceback of another exception.
    Interrupted
        After the traceback of a `KeyboardInterrupt`.
    """
    install()
    # `runpy` is not used: it shows other paths in tracebacks, and it removes the module from
    # `sys.modules` at the end, while threads of the script may still run.
    main = sys.modules["__main__"] = ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    try:
        if isinstance(program, Script):
            code = _load_script(program, main)
        else:
            code = _load_module(program, main)
        exec(code, vars(main))
    except (SystemExit, ProgramError):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the script raises
        error.__traceback__ = _without_own_frames(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted from None
        sys.exit(1)


def _load_script(script: Script, main: ModuleType) -> CodeType:
    """Return the code of a script; set what Python sets in its main module."""
    _set_arguments(script.path, script.arguments, os.path.dirname(os.path.realpath(script.path)))
    main.__file__ = os.path.abspath(script.path)
    main.__loader__ = SourceFileLoader("__main__", main.__file__)
    with open(script.path, "rb") as file:
        code: CodeType = compile(file.read(), main.__file__, "exec", dont_inherit=True)
    return code


def _load_module(module: Module, main: ModuleType) -> CodeType:
    """Return the code of a module; set what Python sets in the main module for ``-m``."""
    _set_arguments("-m", module.arguments, os.getcwd())
    spec = find_module(module.name)
    loader = spec.loader
    code = loader.get_code(spec.name) if isinstance(loader, InspectLoader) else None
    if code is None:
        raise ProgramError(f"{module.name!r} has no Python code, and cannot be run")
    # `__spec__` also tells `multiprocessing` which module a spawned process has to import.
    main.__spec__, main.__loader__, main.__package__ = spec, loader, spec.parent
    vars(main).update(__file__=spec.origin, __cached__=spec.cached)
    sys.argv[0] = str(spec.origin)
    return code


def _set_arguments(name: str, arguments: tuple[str, ...], directory: str) -> None:
    sys.argv[:] = [name, *arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = directory


def _without_own_frames(traceback: TracebackType | None) -> TracebackType | None:
    own = {__file__, programs.__file__}
    while traceback and traceback.tb_frame.f_code.co_filename in own:
        traceback = traceback.tb_next
    return traceback
