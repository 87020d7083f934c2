r"""Write and read the text of a manifest: one row for each file that a sink has delivered.

A manifest is a table of tab-separated values (TSV) with one line of column names. In values, a tab,
a line feed, a carriage return and a backslash are written as ``\t``, ``\n``, ``\r`` and ``\\``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from nipype_datasink.errors import ManifestError
from nipype_datasink.planning.location import is_encodable

MISSING = "missing"
"""Status of a source that did not exist and was skipped."""

# Bytes of a file's name: many file systems allow 255, encrypted ones such as eCryptfs 143.
_MAX_NAME_BYTES = 140

_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_TO_ESCAPE = str.maketrans(_ESCAPES)
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_CHARACTERS = {escape[1]: character for character, escape in _ESCAPES.items()}
_NAME = re.compile(r".+-[0-9a-f]{8}\.tsv", re.DOTALL)
_SHA256 = re.compile(r"([0-9a-f]{64})?")
# Empty for a missing source that could not go anywhere.
_DESTINATION = re.compile(r"((s3://[^/\0]+)?/[^\0]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """What a manifest says about one file. The order of the fields is the order of the columns."""

    destination: str
    """Path without links in its directories, or ``s3://bucket/key``."""

    size: int | None
    """In bytes; None for a missing source."""

    sha256: str
    """SHA-256 of the source in hexadecimal digits; empty where it is not known."""

    etag: str
    """ETag of the object in S3, without quotes; empty on disk and where the store states none."""

    status: str
    """``new``, ``replaced``, ``sent``, ``unchanged`` or ``missing``."""

    verified: bool
    """Whether the bytes at the destination were known to be correct; see `Outcome`."""

    field: str
    """Name of the sink's input."""

    source: str
    """Absolute path."""

    node: str
    """Directory of the sink's node, relative to that of the workflow; empty without a node."""

    time: str
    """When the delivery ended, in UTC, as ``2026-11-26T10:00:00.250Z``."""

    base: str
    """Base directory or copy that the destination is below, without the container."""


COLUMNS = tuple(each.name for each in fields(ManifestRow))
_NOT_TEXT = ("size", "verified")


def to_text(rows: Iterable[ManifestRow]) -> str:
    """Return the text of a manifest."""
    lines = [COLUMNS, *(map(_text_of_value, map(row.__getattribute__, COLUMNS)) for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


def from_text(text: str) -> list[ManifestRow]:
    """Return the rows of a manifest.

    Other columns than those of `ManifestRow` are ignored, and columns may be in any order.

    Raises
    ------
    ManifestError
        If the text is not a whole manifest.
    """
    first, *lines = text.split("\n")  # other characters that end lines may be part of a name
    names = first.split("\t")
    if not set(COLUMNS) <= set(names):
        raise ManifestError(f"it is not a manifest: the columns are not {', '.join(COLUMNS)}")
    if not lines or lines.pop():
        raise ManifestError("it is incomplete: the last line does not end with a line feed")
    return [_row(names, line, number) for number, line in enumerate(lines, start=2)]


def _row(names: Sequence[str], line: str, number: int) -> ManifestRow:
    values = line.split("\t")
    try:
        texts = {name: unescape(value) for name, value in zip(names, values, strict=True)}
        if not _SHA256.fullmatch(texts["sha256"]):
            raise ValueError(f"{texts['sha256']!r} is not a SHA-256")
        if not _DESTINATION.fullmatch(texts["destination"]):
            raise ValueError(f"{texts['destination']!r} is not a path or an s3:// address")
        others: Any = {name: texts[name] for name in COLUMNS if name not in _NOT_TEXT}
        size = int(texts["size"]) if texts["size"] else None
        return ManifestRow(size=size, verified=texts["verified"] == "true", **others)
    except ValueError as error:
        raise ManifestError(f"its line {number} is not a row of a manifest: {error}") from None


def _text_of_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else escape(str(value))


def escape(text: str) -> str:
    r"""Return a value as a manifest contains it.

    Examples
    --------
    >>> print(escape("a\tb"), escape("a\\b"))
    a\tb a\\b
    """
    if not is_encodable(text):  # the name of a missing source may be no possible name
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.translate(_TO_ESCAPE)


def unescape(text: str) -> str:
    r"""Return the value that a text in a manifest stands for.

    Raises
    ------
    ValueError
        If another character than those of `escape` follows a backslash.

    Examples
    --------
    >>> unescape(r"a\tb") == "a\tb"
    True
    """
    return _ESCAPED.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    if match[1] not in _CHARACTERS:
        raise ValueError(f"{match[0]!r} is not an escape")
    return _CHARACTERS[match[1]]


def manifest_name(node: str, *identity: str) -> str:
    """Return the file name of a manifest.

    Parameters
    ----------
    node
        Directory of the node; empty without one. Characters that some file systems or shells treat
        in a special way are replaced.
    identity
        Everything that distinguishes the sink from others: 8 digits of its hash end the name.

    Examples
    --------
    >>> manifest_name("study/_subject_id_sub-01/datasink", "s3://lab/deriv", "sub-01")
    'study._subject_id_sub-01.datasink-3c838636.tsv'
    """
    parts = "\0".join((node, *identity)).encode("utf-8", "surrogatepass")
    end = f"-{hashlib.sha256(parts).hexdigest()[:8]}.tsv"
    readable = re.sub(r"[^A-Za-z0-9_.=+-]", "_", node.replace("/", ".")).lstrip(".")
    return (readable or "datasink")[-(_MAX_NAME_BYTES - len(end)) :] + end


def is_manifest_name(name: str) -> bool:
    """Return whether a file has a name as `manifest_name` returns it."""
    return _NAME.fullmatch(name) is not None


def newest_rows(manifests: Iterable[Iterable[ManifestRow]]) -> list[ManifestRow]:
    """Return one row for each destination: that of the sink that was the last to deliver there.

    Sources that were skipped have no row in the result.
    """
    newest: dict[str, ManifestRow] = {}
    for row in chain(*manifests):
        known = newest.get(row.destination, row)
        if row.status != MISSING and row.time >= known.time:
            newest[row.destination] = row
    return list(newest.values())


def checksum_lines(rows: Iterable[ManifestRow]) -> Iterator[str]:
    """Yield one line for ``sha256sum -c`` for each file with a SHA-256 below the first base.

    Paths are relative to the base; those that are not below it are absolute.
    """
    base = None
    for row in rows:
        base = row.base if base is None else base
        if row.base == base and row.sha256:
            path = row.destination.removeprefix(f"{base.rstrip('/')}/")
            yield f"{_escaped_hash(row.sha256, path)}\n"


def _escaped_hash(sha256: str, path: str) -> str:
    r"""Return a line as GNU sha256sum prints it: it begins with ``\`` if the path has escapes."""
    escaped = path.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r")
    return f"{'' if escaped == path else chr(92)}{sha256}  {escaped}"
