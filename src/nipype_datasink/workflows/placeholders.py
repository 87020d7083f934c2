"""Let characters stand for texts that are known only when a node has run.

Such a text passes through the routing of a sink as one character, and is shown in braces then. The
characters are of a private-use area, so that rules of users do not match them by accident.
"""

from __future__ import annotations

from collections.abc import Mapping

NAME, BASE, COPY, CONTAINER = PLACEHOLDERS = "\U0010f000\U0010f001\U0010f002\U0010f003"


def is_complete(path: str) -> bool:
    """Return whether a path contains no text that is not known."""
    return not any(each in path for each in PLACEHOLDERS)


def keeps_placeholders(path: str, changed: str) -> bool:
    """Return whether a changed path still has each placeholder of the path."""
    return all(path.count(each) == changed.count(each) for each in PLACEHOLDERS)


def show(path: str, names: Mapping[str, str], *, braces: bool = True) -> str:
    """Return a path with the name of each text that is not known, in braces.

    Parameters
    ----------
    path
        Path with placeholders.
    names
        Name of the node and output by placeholder.
    braces
        Whether to write the braces.

    Examples
    --------
    >>> show(f"/out/{NAME}", {NAME: "realign.par"})
    '/out/{realign.par}'
    """
    for placeholder, name in names.items():
        shown = f"{{{name}}}" if braces else name
        if placeholder in (BASE, COPY):  # an absolute path, see `root_of`
            path = path.replace(root_of(placeholder), shown)
        path = path.replace(placeholder, shown)
    return path


def root_of(placeholder: str) -> str:
    """Return the directory that stands for a base directory that is not known."""
    return f"/{placeholder}"
