"""Reading the credentials files that AWS hands out."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nipype_datasink.errors import CredentialsError

__all__ = ["Keys", "parse_credentials"]

_ID = "accesskeyid"
_SECRET = ("secretaccesskey", "secretkey")
_TOKEN = ("sessiontoken", "securitytoken")

# https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
_ACCESS_KEY = re.compile(r"\w{16,128}")
_LONGEST = 4096  # characters of a line that are read

_SECTION = re.compile(r"\[(?:profile\s+)?(?P<name>[^\]]*)\]")
_HINT = (
    "expected a file as AWS hands it out: 'AWSAccessKeyId=...' and 'AWSSecretKey=...' lines, a "
    "CSV with the columns 'Access key ID' and 'Secret access key', or an INI credentials file"
)


@dataclass(frozen=True, slots=True)
class Keys:
    """An AWS access key. Only the public part shows in its representation."""

    access_key_id: str
    """Public part."""

    secret_access_key: str = field(repr=False)
    """Secret part."""

    session_token: str | None = field(default=None, repr=False)
    """Token of temporary credentials."""


def parse_credentials(content: bytes) -> Keys:
    r"""Find the access key in the content of a credentials file.

    Parameters
    ----------
    content
        The file's bytes: ``AWSAccessKeyId=`` and ``AWSSecretKey=`` lines (root user), a CSV with
        a header (IAM user; columns in any order; the first user counts), or the INI form (the
        section ``default``, or the only one). A byte order mark, quotes, CRLF and blank lines do
        no harm.

    Raises
    ------
    CredentialsError
        If no access key can be found. Its message holds nothing of the content.

    Notes
    -----
    Forms: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html and
    https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html

    Examples
    --------
    >>> parse_credentials(b"AWSAccessKeyID=AKIDEXAMPLE\nAWSSecretKey=abc=")
    Keys(access_key_id='AKIDEXAMPLE')
    """
    lines = [line.strip() for line in _text(content).splitlines() if line.strip()]
    if not lines:
        raise CredentialsError("it is empty")
    columns = _cells(lines[0])
    if _named(columns) & {_ID, *_SECRET}:
        return _from_table(columns, lines[1:])
    return _from_settings(lines)


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CredentialsError(f"it is not text; {_HINT}") from None
    if "\0" in text:
        raise CredentialsError(f"it is not text; {_HINT}")
    return text


def _name(cell: str) -> str:
    """Return the one spelling of a column's or setting's name."""
    return re.sub(r"[\s_]", "", cell).lower().removeprefix("aws")


def _named(cells: Sequence[str]) -> set[str]:
    return {_name(cell) for cell in cells}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line[:_LONGEST]], skipinitialspace=True))]


def _from_table(columns: Sequence[str], rows: Sequence[str]) -> Keys:
    names = [_name(column) for column in columns]
    if not rows:
        raise CredentialsError("it has a header but no row of keys")
    cells = _fitted(_cells(rows[0]), names)
    return _keys(dict(zip(names, cells, strict=False)))


def _fitted(cells: list[str], names: list[str]) -> list[str]:
    """Undo the splitting of a secret or a password at its commas; AWS does not always quote it."""
    extra = len(cells) - len(names)
    if extra <= 0 or _ID not in names:
        return cells
    columns = [names.index(name) for name in (*_SECRET, "password") if name in names]
    candidates = [
        [
            *cells[:column],
            ",".join(cells[column : column + extra + 1]),
            *cells[column + extra + 1 :],
        ]
        for column in columns
    ]
    looks_right = [each for each in candidates if _ACCESS_KEY.fullmatch(each[names.index(_ID)])]
    return (looks_right or candidates or [cells])[0]


def _from_settings(lines: Sequence[str]) -> Keys:
    sections: dict[str, dict[str, str]] = {}
    section = ""
    for line in lines:
        if match := _SECTION.fullmatch(line):
            section = match["name"].strip()
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if equals:
            sections.setdefault(section, {})[_name(name)] = value.strip().strip("\"'")
    if "default" not in sections and len(sections) > 1:
        raise CredentialsError(
            "it has several profiles and none is called 'default'; use s3_profile instead"
        )
    return _keys(sections.get("default") or next(iter(sections.values()), {}))


def _keys(values: Mapping[str, str]) -> Keys:
    access_key_id = values.get(_ID)
    secret, token = _first(values, _SECRET), _first(values, _TOKEN)
    if not access_key_id or not secret:
        lacking = "secret access key" if access_key_id else "access key ID"
        raise CredentialsError(f"it holds no {lacking}; {_HINT}")
    return Keys(access_key_id, secret, token)


def _first(values: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((values[name] for name in names if values.get(name)), None)
