"""Let something happen at a certain call during a run: a fault, a change by a stranger, a kill."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

Moment = tuple[str, int]  # name of a function or of a group, and the number of calls before
Calls = list[int]

# Functions of `os`; "send" is any request to a store.
GROUPS = {
    "writing": ["open", "replace", "mkdir", "link", "copy_file_range", "write", "unlink", "rmdir"],
    "reading": ["fstat", "lstat", "stat", "listdir", "scandir", "readlink"],
    "sending": ["send"],
}


@contextmanager
def at_call(moment: Moment, act: Callable[[], None], *, lasting: bool = False) -> Iterator[Calls]:
    """Call `act` before a certain call of a function, and with `lasting` before all later ones.

    Only calls of the library count. Yields a list with the number of calls of `act`.
    """
    name, after = moment
    numbers, acted, acting = itertools.count(), [0], [False]

    def replacement(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not acting[0] and counts(name, args):
                number = next(numbers)
                if number == after or (lasting and number > after):
                    acted[0] += 1
                    acting[0] = True
                    try:
                        act()
                    finally:
                        acting[0] = False
            return real(*args, **kwargs)

        return call

    owners = [owner for each in GROUPS.get(name, [name]) for owner in _owners(each)]
    with patch_all({owner: replacement(owner[1], getattr(*owner)) for owner in owners}):
        yield acted


@contextmanager
def patch_all(replacements: dict[tuple[Any, str], Any]) -> Iterator[None]:
    """Replace attributes while the block runs."""
    patches = [patch.object(*owner, new) for owner, new in replacements.items()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def _owners(name: str) -> list[tuple[Any, str]]:
    if name != "send":
        return [(os, name)]
    from awscrt.s3 import S3Client
    from botocore.httpsession import URLLib3Session

    return [(URLLib3Session, "send"), (S3Client, "make_request")]


def counts(name: str, args: tuple[Any, ...]) -> bool:
    """Return whether a call counts: the library made it, possibly through `os.path`."""
    if name in ("send", "make_request"):
        return True
    if name == "unlink" and ".datasink-" in str(args[0]):
        return False  # a temporary file that cannot be removed may stay
    frame: Any = sys._getframe(2)
    while frame.f_globals["__name__"] in ("genericpath", "posixpath"):
        frame = frame.f_back
    return frame.f_globals["__name__"].startswith(("nipype_datasink", "tests.seeds"))


def is_killed(run: Callable[[], object], moment: Moment) -> bool:
    """Run in a forked process that is killed at a moment; return whether it came to that."""
    child = os.fork()
    if not child:
        code = 1
        try:
            with at_call(moment, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                run()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"the process ended with the status {status}"
    return status == signal.SIGKILL
