"""Format texts that are shown on a terminal, in logs and in errors."""

from __future__ import annotations


def escaped(text: str) -> str:
    r"""Return `text` with each character that is not printable replaced by its Python escape.

    A file name may contain line feeds, or control sequences that move the cursor of a terminal.
    Without escaping, such a name can look like a line of the log.

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
    """Return `text` with every line escaped; line feeds are kept."""
    return "\n".join(map(escaped, text.split("\n")))


def counted(number: int, noun: str) -> str:
    """Return a number and a noun, in the plural if it is not 1.

    Examples
    --------
    >>> counted(1, "file"), counted(5006, "file")
    ('1 file', '5,006 files')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
