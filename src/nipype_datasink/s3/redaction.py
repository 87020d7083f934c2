"""Remove secrets from errors before anybody sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html.entities import name2codepoint
from typing import Any

from botocore.exceptions import ClientError

# Elements of S3's error documents that repeat the session token, or the text that was signed.
_SECRET_ELEMENTS = ("Token", "CanonicalRequest", "StringToSign")

# A shorter secret may well be a part of other words, and removing it would spoil the message.
_MIN_SECRET_CHARACTERS = 6
_REPLACEMENT = "(removed)"


def redact(error: BaseException | None, secrets: Iterable[str | None] = ()) -> None:
    """Remove secrets from an error and its causes.

    S3 repeats a session token that is wrong, and the text that a request was signed with. Other
    stores, and proxies in front of them, may repeat any part of a request anywhere.

    Parameters
    ----------
    error
        Changed in place: arguments, attributes (also ``response``) and causes.
    secrets
        Texts to remove, also in the encodings of URLs, XML and JSON.
    """
    patterns = [
        _pattern_for(secret)
        for secret in secrets
        if secret and len(secret) >= _MIN_SECRET_CHARACTERS
    ]
    seen: list[BaseException] = []  # causes may form a cycle
    while error and error not in seen:
        seen.append(error)
        details = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
        for name in [name for name in details if name.startswith(_SECRET_ELEMENTS)]:
            del details[name]  # type: ignore[misc]
        if patterns:
            state = {name: _redacted(value, patterns) for name, value in vars(error).items()}
            vars(error).update(state)
            error.args = _redacted(error.args, patterns)
        error = error.__cause__ or error.__context__


def _pattern_for(secret: str) -> re.Pattern[str]:
    """Return a pattern that matches `secret` with any of its characters encoded in any way."""
    return re.compile("".join(map(_character_pattern, secret)), re.IGNORECASE)


# Cached: a session token may have a thousand characters, and each searches all names of HTML.
@cache
def _character_pattern(character: str) -> str:
    number = ord(character)
    forms = [
        f"(?-i:{re.escape(character)})",  # as it is; only here does the case of letters count
        "".join(f"%(?:25)?{byte:02x}" for byte in character.encode()),  # URL, once or twice encoded
        f"&#0*{number};",  # XML
        f"&#x0*{number:x};",
        rf"\\u{number:04x}",  # JSON
        rf"\\{re.escape(character)}",
        *([r"\+"] if character == " " else []),  # HTML forms
        *(f"&{name};" for name, code in name2codepoint.items() if code == number),
    ]
    return f"(?:{'|'.join(forms)})"


def _redacted(value: Any, patterns: Sequence[re.Pattern[str]]) -> Any:
    """Return a copy of `value` in which all matches are replaced, also inside containers."""
    if isinstance(value, str):
        for pattern in patterns:
            value = pattern.sub(_REPLACEMENT, value)
        return value
    if isinstance(value, bytes):  # Latin-1 keeps every byte
        return _redacted(value.decode("latin-1"), patterns).encode("latin-1")
    if isinstance(value, dict):
        return {_redacted(k, patterns): _redacted(v, patterns) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_redacted(item, patterns) for item in value)
    return value
