"""Plans for a directory on disk, and their delivery."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nipype_datasink.delivery.local import LocalTarget
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.progress import hidden_progress
from nipype_datasink.planning.location import LocalDirectory
from nipype_datasink.planning.plan import Plan
from nipype_datasink.planning.routing import Rules, Substitutions
from nipype_datasink.planning.validation import make_valid_plan

TEMPORARY_NAME = ".datasink-0123456789abcdef"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Set the umask that most systems have."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def time_limit() -> Iterator[type[Exception]]:
    """Let SIGALRM raise an error; return its class."""

    class TimeLimitExceededError(Exception):
        pass

    def raise_error(*_: object) -> None:
        raise TimeLimitExceededError

    before = signal.signal(signal.SIGALRM, raise_error)
    yield TimeLimitExceededError
    signal.signal(signal.SIGALRM, before)


def file(path: Path, content: bytes = b"new") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def aged(path: Path, hours: float = 25) -> Path:
    """Set the time of a file back, as if it was last written then."""
    before = time.time() - hours * 3600
    os.utime(path, (before, before))
    return path


def plan_for(workdir: Path, fields: dict[str, object], **options: Any) -> Plan:
    return make_valid_plan(
        fields,
        Rules(
            locations=(LocalDirectory(str(workdir / "out")),),
            relative=lambda source: source.rstrip("/").rpartition("/")[2],
            substitute=Substitutions(literal=options.pop("rules", ())).apply,
            **options,
        ),
    )


def deliver(plan: Plan, workdir: Path, link: bool = False) -> list[Outcome]:
    target = LocalTarget(LocalDirectory(str(workdir / "out")), link=link)
    return target.deliver(plan, hidden_progress())


def deliver_fields(workdir: Path, link: bool = False, **fields: object) -> list[Outcome]:
    return deliver(plan_for(workdir, fields), workdir, link)


def statuses(outcomes: list[Outcome]) -> list[Status]:
    return [outcome.status for outcome in outcomes]


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
