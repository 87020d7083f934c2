"""Let characters stand for texts that are known only when a node has run.

Such a text passes through the routing of a sink as one character, and is shown in braces then. The
characters are of a private-use area, so that rules of users do not match them by accident.
"""

from __future__ import annotations

from collections.abc import Mapping

NAME, TREE, BASE, COPY, CONTAINER, MERGED = PLACEHOLDERS = (
    "\U0010f000\U0010f001\U0010f002\U0010f003\U0010f004\U0010f005"
)
"""One name; a name that may lie in folders; inputs of a sink; a part of a destination that contains
some of them, and that its rules may change as a whole."""


def is_complete(path: str) -> bool:
    """Return whether a path contains no text that is not known."""
    return not any(each in path for each in PLACEHOLDERS)


def has_folders(path: str) -> bool:
    """Return whether a text that is not known may contain folders."""
    return any(each in path for each in PLACEHOLDERS if each != NAME)


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
