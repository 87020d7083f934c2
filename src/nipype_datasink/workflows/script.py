"""Run a pipeline's script as Python does, with this `DataSink` installed."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from nipype_datasink.installation import install


class ScriptInterrupted(BaseException):
    """Ctrl-C ended the script, and its traceback was printed.

    It is not a `KeyboardInterrupt`, because click handles that itself and exits with a code.
    """


def run_script(path: str, arguments: Sequence[str] = ()) -> None:
    """Install this `DataSink`, then run a script as ``python path arguments...`` does.

    Parameters
    ----------
    path
        Python source file.
    arguments
        Command-line arguments of the script, for ``sys.argv``.

    Raises
    ------
    SystemExit
        If the script raises it, or with exit code 1 after the traceback of another exception.
    ScriptInterrupted
        After the traceback of a `KeyboardInterrupt`.
    """
    install()
    sys.argv[:] = [path, *arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    # `runpy` is not used: it shows other paths in tracebacks, and it removes the module from
    # `sys.modules` at the end, while threads of the script may still run.
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = os.path.abspath(path)
    vars(main)["__builtins__"] = builtins
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), main.__file__, "exec", dont_inherit=True)
        exec(code, vars(main))
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the script raises
        traceback = error.__traceback__
        error.__traceback__ = traceback and traceback.tb_next  # without the frame of this function
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            raise ScriptInterrupted from None
        sys.exit(1)
