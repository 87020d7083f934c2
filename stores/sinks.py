"""A sink that runs in a process of its own, with settings of its own, for a limited time."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from nipype_datasink import DataSink

for _name in ("boto3", "s3transfer.manager", "awscrt.s3", "nipype_datasink.s3.target"):
    with suppress(ImportError):
        importlib.import_module(_name)  # once, and not in each child

_SECONDS = 90  # that a sink may take
_LONGEST = 240  # characters of an error
_AWS_NOTHING = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user of a store sets."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Of the sink."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables."""

    def __str__(self) -> str:
        """Write them as a user does."""
        inputs = [f"`{name} = {value!r}`" for name, value in self.inputs.items()]
        return ", ".join([*inputs, *(f"`{n}={value}`" for n, value in self.environment.items())])

    def __or__(self, other: Settings) -> Settings:
        """Add those of `other`, which win."""
        inputs = {**self.inputs, **other.inputs}
        if "s3_upload_args" in self.inputs and "s3_upload_args" in other.inputs:
            inputs["s3_upload_args"] = {
                **self.inputs["s3_upload_args"],
                **other.inputs["s3_upload_args"],
            }
        return Settings(inputs=inputs, environment={**self.environment, **other.environment})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a sink ended."""

    error: str = ""
    """What it raised, in one line; empty if it raised nothing."""

    log: tuple[str, ...] = ()
    """What it logged, from INFO on."""

    @property
    def verified(self) -> bool:
        """Whether the store confirmed what was sent."""
        return not any("not verified" in line for line in self.log)


def run_sink(
    fields: Mapping[str, Sequence[str]], settings: Settings, *, seconds: float = _SECONDS
) -> Run:
    """Sink `fields` in a child process: its environment and its clients end with it.

    A child is forked, as that takes 20 ms and a new interpreter two seconds. This process has no
    threads then, and has never started the AWS runtime.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_sink, args=(sender, fields, settings), daemon=True)
    child.start()
    sender.close()
    try:
        ended = receiver.poll(seconds)
        run: Run = receiver.recv() if ended else Run(error=f"no end within {seconds:.0f} s")
    except EOFError:
        run = Run(error="the process died")
    finally:
        child.kill()
        child.join()
        receiver.close()
    return run


def _sink(sender: Connection, fields: Mapping[str, Sequence[str]], settings: Settings) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update({**_AWS_NOTHING, **settings.environment})
    records = _Records()
    logger = logging.getLogger("nipype.interface")
    logger.handlers[:] = [records]
    logger.propagate = False
    error = ""
    try:
        sink = DataSink(infields=list(fields), **settings.inputs)
        for name, value in fields.items():
            setattr(sink.inputs, name, value)
        sink.run()
    except Exception as raised:  # noqa: BLE001 - whatever it is belongs into the table
        error = in_one_line(raised)
    sender.send(Run(error=error, log=tuple(records.lines)))


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def in_one_line(error: Exception) -> str:
    """Say what an error says, without what is different in each run."""
    text = str(error).partition("; not everything arrived")[0]
    text = " ".join(text.split())
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return f"{type(error).__name__}: {text}"
