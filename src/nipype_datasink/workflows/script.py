"""Running a pipeline's script as Python itself would, with our `DataSink` installed."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from nipype_datasink.installation import install

__all__ = ["Interrupted", "run_script"]


class Interrupted(BaseException):
    """A script was ended by Ctrl-C and its traceback is written; click turns no such error away."""


def run_script(path: str, arguments: Sequence[str] = ()) -> None:
    """Install our `DataSink`, then run a script as ``python path arguments...`` does.

    Parameters
    ----------
    path
        File with Python's source.
    arguments
        What the script finds in ``sys.argv`` after its own path.

    Raises
    ------
    SystemExit
        As the script raised it; after a traceback, with the code that Python exits with.
    Interrupted
        After the traceback of a `KeyboardInterrupt`.
    """
    install()
    sys.argv[:] = [path, *arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    # Not by runpy: it shows other paths and takes the module away while threads may still run.
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
        error.__traceback__ = traceback and traceback.tb_next  # without this very function
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted from None
        sys.exit(1)
