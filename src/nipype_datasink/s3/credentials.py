"""Read the access key from credentials files of AWS, MinIO and s3cmd."""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nipype_datasink.errors import CredentialsError, with_original
from nipype_datasink.planning.addresses import expand_home

_MAX_FILE_BYTES = 1 << 20  # a larger file is something else, and is not read into memory

_ID_NAMES = ("accesskeyid", "accesskey")
_SECRET_NAMES = ("secretaccesskey", "secretkey")
_TOKEN_NAMES = ("sessiontoken", "securitytoken", "accesstoken")

# Every configuration of MinIO's mc has an alias of a public store, and aliases whose keys start
# with this placeholder.
_PUBLIC_ALIAS, _PLACEHOLDER = "play", "YOUR-"
_DELIMITERS = (",", ";", "\t")  # spreadsheets write the one of their country

# https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
_ACCESS_KEY = re.compile(r"\w{16,128}")
_SECRET_CHARACTERS = 40
_MAX_LINE_CHARACTERS = 4096  # of a table; `csv` raises an error for very long cells

_SECTION = re.compile(r"\[(?:profile\s+)?(?P<name>[^\]]*)\]")
_RELATIVE_HINT = "a node runs in its own directory, so set an absolute path"
_HINT = (
    "expected one of AWS's formats ('AWSAccessKeyId=...' and 'AWSSecretKey=...' lines, a CSV with "
    "the columns 'Access key ID' and 'Secret access key', an INI credentials file), or a file of "
    "MinIO's console, mc or s3cmd"
)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An AWS access key; ``repr`` shows only its public part."""

    access_key_id: str
    """Public part."""

    secret_access_key: str = field(repr=False)
    """Secret part."""

    session_token: str | None = field(default=None, repr=False)
    """Token of temporary credentials."""


def are_swapped(access_key_id: str, secret_access_key: str) -> bool:
    """Return whether the ID of an access key looks like the secret, so that it must not be shown.

    AWS's secrets have 40 characters, some of them slashes or plus signs; Oracle's IDs have 40, too,
    but its secrets are longer.

    Examples
    --------
    >>> are_swapped("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIAIOSFODNN7EXAMPLE")
    True
    >>> are_swapped("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    False
    """
    if any(each in access_key_id for each in "/+="):
        return True
    return len(secret_access_key) < _SECRET_CHARACTERS == len(access_key_id)


def read_credentials(path: str) -> AccessKey:
    """Read the access key from the file at `path`.

    Raises
    ------
    CredentialsError
        If the file cannot be read, or has no known format.
    """
    expanded = expand_home(path, "creds_path")
    absolute = os.path.abspath(expanded)
    try:
        with open(absolute, "rb") as file:
            content = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        hint = f" (tried {absolute!r}; {_RELATIVE_HINT})" if expanded != absolute else ""
        message = (
            f"creds_path {path!r} cannot be read: {error.strerror}{hint}. Set it to the file that "
            "AWS gave you, or leave it unset to use the environment or a profile"
        )
        raise with_original(CredentialsError(message), error) from None
    try:
        return parse_credentials(content)
    except CredentialsError as error:
        raise CredentialsError(f"creds_path {path!r} cannot be used: {error}") from None


def parse_credentials(content: bytes) -> AccessKey:
    r"""Find the access key in the content of a credentials file.

    Parameters
    ----------
    content
        The file's bytes: ``AWSAccessKeyId=`` and ``AWSSecretKey=`` lines (root user), a CSV with
        a header (IAM user; columns in any order; the first user counts), or an INI file (the
        section ``default``, or the only one); JSON of AWS or MinIO, the configuration of ``mc``
        with one alias, or of s3cmd. A byte order mark, UTF-16, quotes, CRLF, blank lines, and
        semicolons or tabs instead of commas are accepted.

    Raises
    ------
    CredentialsError
        If no access key can be found. The message quotes only alias names.

    Notes
    -----
    Formats: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html and
    https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html

    Examples
    --------
    >>> parse_credentials(b"AWSAccessKeyID=AKIDEXAMPLE\nAWSSecretKey=abc=")
    AccessKey(access_key_id='AKIDEXAMPLE')
    """
    text = _decode(content)
    if text.lstrip().startswith("{"):
        return _from_json(text)
    lines = [line.strip(" \r\n\f\v") for line in text.splitlines() if line.strip()]
    if lines and lines[0].lower().startswith("sep="):  # a line for Excel
        del lines[0]
    if not lines:
        raise CredentialsError("it is empty")
    for delimiter in _DELIMITERS:
        columns = _split_line(lines[0], delimiter)
        if len(columns) > 1 and _normalized_names(columns) & {*_ID_NAMES, *_SECRET_NAMES}:
            return _from_table(columns, lines[1:], delimiter)
    return _from_settings(lines)


def _decode(content: bytes) -> str:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise CredentialsError(f"it is not text; {_HINT}") from None
    if "\0" in text:
        raise CredentialsError(f"it is not text; {_HINT}")
    return text


def _normalize_name(cell: str) -> str:
    """Return a name of a column or setting without case, spaces, underscores and ``aws``."""
    return re.sub(r"[\s_]", "", cell).lower().removeprefix("aws")


def _normalized_names(cells: Sequence[str]) -> set[str]:
    return {_normalize_name(cell) for cell in cells}


def _split_line(line: str, delimiter: str) -> list[str]:
    rows = csv.reader([line[:_MAX_LINE_CHARACTERS]], skipinitialspace=True, delimiter=delimiter)
    return [cell.strip() for cell in next(rows)]


def _from_table(columns: Sequence[str], rows: Sequence[str], delimiter: str) -> AccessKey:
    names = [_normalize_name(column) for column in columns]
    if not rows:
        raise CredentialsError("it has a header but no row below it")
    cells = _rejoin_split_cell(_split_line(rows[0], delimiter), names, delimiter)
    return _make_keys(dict(zip(names, cells, strict=False)))


def _rejoin_split_cell(cells: list[str], names: list[str], delimiter: str) -> list[str]:
    """Undo the splitting of a secret or a password at its commas, as AWS does not always quote it.

    Which of the two had the commas is decided by the key ID: it must then be in its column.
    """
    extra = len(cells) - len(names)
    key_id = next((names.index(name) for name in _ID_NAMES if name in names), None)
    if extra <= 0 or key_id is None:
        return cells
    columns = [names.index(name) for name in (*_SECRET_NAMES, "password") if name in names]
    candidates = [
        [
            *cells[:column],
            delimiter.join(cells[column : column + extra + 1]),
            *cells[column + extra + 1 :],
        ]
        for column in columns
    ]
    looks_right = [each for each in candidates if _ACCESS_KEY.fullmatch(each[key_id])]
    return (looks_right or candidates or [cells])[0]


def _from_settings(lines: Sequence[str]) -> AccessKey:
    sections: dict[str, dict[str, str]] = {}
    section = ""
    for line in lines:
        if match := _SECTION.fullmatch(line):
            section = match["name"].strip()
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if equals:
            sections.setdefault(section, {})[_normalize_name(name)] = value.strip().strip("\"'")
    if "default" not in sections and len(sections) > 1:
        raise CredentialsError(
            "it has several profiles but none named 'default'; use s3_profile instead"
        )
    return _make_keys(sections.get("default") or next(iter(sections.values()), {}))


def _from_json(text: str) -> AccessKey:
    try:
        found = dict(_find_keys("", json.loads(text)))
    except (ValueError, RecursionError):
        raise CredentialsError(f"it starts like JSON but is not valid JSON; {_HINT}") from None
    if len(found) > 1:
        own = {name: keys for name, keys in found.items() if not _is_default_of_mc(name, keys)}
        if len(set(own.values())) > 1:
            names = ", ".join(map(repr, own))
            raise CredentialsError(
                f"it has several aliases ({names}); use a file with only one of them"
            )
        found = own
    return next(iter(found.values()), None) or _make_keys({})


def _find_keys(name: str, value: Any) -> Iterator[tuple[str, AccessKey]]:
    """Yield every access key in a JSON value, with the name of the object that holds it."""
    if not isinstance(value, dict):
        return
    texts = {_normalize_name(key): item for key, item in value.items() if isinstance(item, str)}
    if _first(texts, _ID_NAMES) and _first(texts, _SECRET_NAMES):
        yield name, _make_keys(texts)
        return
    for key, item in value.items():
        yield from _find_keys(key, item)


def _is_default_of_mc(name: str, keys: AccessKey) -> bool:
    return name == _PUBLIC_ALIAS or keys.access_key_id.startswith(_PLACEHOLDER)


def _make_keys(values: Mapping[str, str]) -> AccessKey:
    access_key_id = _first(values, _ID_NAMES)
    secret, token = _first(values, _SECRET_NAMES), _first(values, _TOKEN_NAMES)
    if not access_key_id or not secret:
        missing = "secret access key" if access_key_id else "access key ID"
        raise CredentialsError(f"it has no {missing}; {_HINT}")
    return AccessKey(access_key_id, secret, token)


def _first(values: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((values[name] for name in names if values.get(name)), None)
