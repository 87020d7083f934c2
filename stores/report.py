"""Write the results as a page of the documentation."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from stores.advice import advice
from stores.catalogue import NOT_INSTALLABLE
from stores.results import Results, Tried
from stores.trials import TRIALS, Trial
from stores.verdicts import Verdict

_INTRODUCTION = """\
# Tested stores

This page shows what works with stores that implement the S3 protocol, and which settings each of
them needs. `make stores` writes it: the command installs and starts each store on this machine and
runs the sink with each transport. boto3 then reads every object back and compares it with its file,
byte by byte. The modification times of the objects show whether a file was sent again.

Unless a row says otherwise, the sink uses `s3_endpoint_url` without TLS, path-style addresses
(`address/bucket/key`, boto3's default with an endpoint), no region, and credentials from the
environment. No other input is set. A cell that does not name a transport is the result of all
transports: of `classic` and `crt` in every row, and also of `auto` in rows with a star.
"""
_PACKAGES = ("nipype-datasink", "nipype", "boto3", "awscrt")


class _Notes:
    """Collect footnotes, each text once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """Return the mark of the footnote with this text."""
        if not text:
            return ""
        return f"[^{self._numbers.setdefault(text, len(self._numbers) + 1)}]"

    def lines(self) -> Iterator[str]:
        """Yield the lines of all footnotes."""
        for text, number in self._numbers.items():
            yield from (f"[^{number}]: {_escaped(text)}", "")


def markdown(results: Results) -> str:
    """Return the page as Markdown."""
    notes = _Notes()
    parts = ["<!-- Written by `make stores`. -->", "", _INTRODUCTION]
    parts += _versions(results)
    for group, trials in TRIALS.items():
        parts += [f"## {group}", ""]
        parts += _table(results, [row for trial in trials for row in _rows(trial)], notes)
    parts += ["## Settings of each store", ""]
    for tried in results.tried:
        parts += _section(tried, results)
    parts += _absent(results)
    parts += notes.lines()
    return "\n".join(parts).rstrip() + "\n"


def _versions(results: Results) -> Iterator[str]:
    here = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    took = f"{results.seconds / 60:.0f} minutes"
    python = platform.python_version()
    yield from (f"Tested on {when}, in {took}, with {here} and Python {python}.", "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _rows(trial: Trial) -> Iterator[tuple[str, str]]:
    """Yield each row of a trial with its title."""
    for row in trial.rows:
        yield row, f"{row} *" if trial.needed else row


def _table(results: Results, rows: list[tuple[str, str]], notes: _Notes) -> Iterator[str]:
    names = [f"{tried.store.name} {tried.version}" for tried in results.tried]
    yield f"| | {' | '.join(names)} |"
    yield f"|---{'|---' * len(names)}|"
    for row, title in rows:
        cells = [
            _cell({t: one[row] for t, one in tried.verdicts.items() if row in one}, notes)
            for tried in results.tried
        ]
        yield f"| {title} | {' | '.join(cells)} |"
    yield ""


def _cell(verdicts: Mapping[str, Verdict], notes: _Notes) -> str:
    """Return the verdict once if all transports agree, else one for each transport."""
    written = {
        transport: f"{verdict.word}{notes.mark(verdict.note)}"
        for transport, verdict in verdicts.items()
    }
    words = {verdict.word for verdict in verdicts.values()}
    if len(words) > 1:
        return ", ".join(f"{transport}: {text}" for transport, text in written.items())
    marks = dict.fromkeys(text.removeprefix(*words) for text in written.values())
    return "".join([*words, *marks])


def _section(tried: Tried, results: Results) -> Iterator[str]:
    yield from (f"### {tried.store.name}", "")
    yield from (f"Version {tried.version}, started with `{tried.store.command}`.", "")
    for line in advice(tried, results):
        yield f"- {line}"
    yield ""


def _absent(results: Results) -> Iterator[str]:
    yield from ("## Not tested", "")
    for name, why in results.absent.items():
        yield f"- {name}: {why}"
    for name in NOT_INSTALLABLE:
        yield f"- {name}"
    yield ""


def _escaped(text: str) -> str:
    """Escape an error for Markdown; file names are in code spans already."""
    if "``" in text:
        return text
    for character in "\\<>*_[]{}":
        text = text.replace(character, f"\\{character}")
    return text
