"""Format texts that are shown on a terminal, in logs and in errors."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

Units = tuple[int, tuple[str, ...]]
"""How many of a unit are one of the next, and their names."""

DECIMAL: Units = (1000, ("bytes", "kB", "MB", "GB", "TB", "PB"))
BINARY: Units = (1024, ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"))


class ShownAsText:
    """A value that notebooks show as `print` does; the last line of its text is a summary."""

    __slots__ = ()

    def __repr__(self) -> str:
        # Notebooks store this beside the HTML, and show it for each frame in `%xmode Verbose`.
        return f"<{type(self).__name__}: {str(self).splitlines()[-1]}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


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


def escaped_in_one_line(text: str) -> str:
    r"""Return the lines of `text` as one line.

    Examples
    --------
    >>> print(escaped_in_one_line("access denied\n  see the log\n"))
    access denied; see the log
    """
    return "; ".join(escaped(line.strip()) for line in text.splitlines() if line.strip())


def counted(number: int, noun: str) -> str:
    """Return a number and a noun, in the plural if it is not 1.

    Examples
    --------
    >>> counted(1, "file"), counted(5006, "file")
    ('1 file', '5,006 files')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return counts and what they count; those of zero are left out.

    Examples
    --------
    >>> describe_counts({"new": 3, "replaced": 0, "unchanged": 5002})
    '3 new, 5,002 unchanged'
    """
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def format_bytes(count: int, units: Units = DECIMAL) -> str:
    """Return a number of bytes in the largest unit that leaves at least 1.

    Examples
    --------
    >>> format_bytes(12_400_000), format_bytes(7), format_bytes(812 * 1024**3, BINARY)
    ('12.4 MB', '7 bytes', '812 GiB')
    """
    factor, names = units
    if count < factor:
        return counted(count, "byte")
    size, unit = float(count), 0
    while size >= factor and unit < len(names) - 1:
        size, unit = size / factor, unit + 1
    return f"{size:.3g} {names[unit]}" if size < DECIMAL[0] else f"{size:.0f} {names[unit]}"


def listed(title: str, lines: Sequence[str]) -> str:
    """Return the message of an error about one or several things.

    Parameters
    ----------
    title
        Line before several lines, and after them: the end of a crash file is read first.
    lines
        One for each thing.

    Examples
    --------
    >>> print(listed("2 names are too long", ["a", "b"]))
    2 names are too long
      a
      b
    2 names are too long
    """
    if len(lines) == 1:
        return lines[0]
    return "\n".join([title, *shortened([f"  {line}" for line in lines]), title])


def shortened(lines: Sequence[str], most: int = 20) -> list[str]:
    """Return the first lines, and the number of the others."""
    more = len(lines) - most
    return [*lines[:most], f"  and {more:,} more"] if more > 0 else list(lines)
