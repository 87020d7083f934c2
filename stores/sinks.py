"""Run one sink in a child process, with its own settings and a time limit."""

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
        importlib.import_module(_name)  # here once, so that each forked child need not import it

_LIMIT_SECONDS = 90  # for one sink
_ERROR_CHARACTERS = 240
_WITHOUT_AWS_FILES = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings that a user of a store makes."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the sink."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables."""

    def __str__(self) -> str:
        """Return the settings as a user writes them."""
        inputs = [f"`{name} = {value!r}`" for name, value in self.inputs.items()]
        return ", ".join([*inputs, *(f"`{n}={value}`" for n, value in self.environment.items())])

    def __or__(self, other: Settings) -> Settings:
        """Merge two settings; values of `other` have priority."""
        inputs = {**self.inputs, **other.inputs}
        if "s3_upload_args" in self.inputs and "s3_upload_args" in other.inputs:
            inputs["s3_upload_args"] = {
                **self.inputs["s3_upload_args"],
                **other.inputs["s3_upload_args"],
            }
        return Settings(inputs=inputs, environment={**self.environment, **other.environment})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Result of one run of a sink."""

    error: str = ""
    """The exception in one line; empty if there was none."""

    log: tuple[str, ...] = ()
    """Log lines, from level INFO."""

    @property
    def verified(self) -> bool:
        """Whether the store confirmed all uploads."""
        return not any("not verified" in line for line in self.log)


def run_sink(
    fields: Mapping[str, Sequence[str]], settings: Settings, *, seconds: float = _LIMIT_SECONDS
) -> Run:
    """Sink `fields` in a child process, which has its own environment and S3 clients.

    The child is forked, because that takes 20 ms; a new interpreter takes two seconds. Forking is
    safe here: this process has no threads and has never started the AWS runtime.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_sink, args=(sender, fields, settings), daemon=True)
    child.start()
    sender.close()
    try:
        ended = receiver.poll(seconds)
        run: Run = receiver.recv() if ended else Run(error=f"did not end within {seconds:.0f} s")
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
    os.environ.update({**_WITHOUT_AWS_FILES, **settings.environment})
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
    except Exception as raised:  # noqa: BLE001 - the table shows every error
        error = in_one_line(raised)
    sender.send(Run(error=error, log=tuple(records.lines)))


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def in_one_line(error: Exception) -> str:
    """Return the message of an error without parts that differ between runs."""
    text = str(error).partition("; some files were not delivered")[0]
    text = " ".join(text.split())
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = text if len(text) <= _ERROR_CHARACTERS else f"{text[:_ERROR_CHARACTERS]} ..."
    return f"{type(error).__name__}: {text}"
