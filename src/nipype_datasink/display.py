"""Showing names of files to people: on a terminal, in logs and in errors."""

from __future__ import annotations

__all__ = ["escaped", "escaped_lines"]


def escaped(text: str) -> str:
    r"""Return `text` with each character that cannot be printed as an escape of Python's.

    A file's name may hold line feeds, and sequences that move a terminal's cursor or change its
    colours; shown as they are, they can look like lines of a log.

    Examples
    --------
    >>> print(escaped("a\nb\x1b[2J"))
    a\nb\x1b[2J
    >>> print(escaped("Grüße 1.nii"))
    Grüße 1.nii
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def escaped_lines(text: str) -> str:
    """Return `text` with its line feeds as they are, and everything else as `escaped` shows it."""
    return "\n".join(map(escaped, text.split("\n")))
