"""Find the crash files that nipype has written for nodes."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

from nipype.pipeline.engine import Node
from nipype.utils.filemanip import loadpkl

# As `report_crash` in nipype/pipeline/plugins/tools.py names them; a login name may contain '-'.
_NAME = re.compile(
    r"crash-(?P<time>\d{8}-\d{6})-(?P<login_and_node>.*)"
    r"-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(?:txt|pklz)"
)


class CrashFiles:
    """The crash files in the directories for them, as they are at the first look.

    Each directory is listed once, and each file is read at most once: nodes of the same name in
    many workflows, one for each subject, for example, have the same name in those of their files.
    """

    def __init__(self) -> None:
        self._names: dict[str, Mapping[str, Sequence[str]]] = {}
        self._nodes: dict[str, str] = {}

    def newest(self, node: Node) -> str:
        """Return the path of the newest crash file of a node; empty text if there is none."""
        directory = os.path.abspath(node.config["execution"].get("crashdump_dir", os.getcwd()))
        if directory not in self._names:
            self._names[directory] = _names_by_node(directory)
        for name in self._names[directory].get(node._id, ()):
            path = os.path.join(directory, name)
            if path not in self._nodes:
                self._nodes[path] = _read_node_directory(path)
            if self._nodes[path] == node.output_dir():
                return path
        return ""


def _names_by_node(directory: str) -> Mapping[str, Sequence[str]]:
    """Return the names of crash files, the newest first, by all that may be the ID of a node."""
    names: Sequence[str] = ()
    with suppress(OSError):
        names = os.listdir(directory)
    found = defaultdict(list)
    matches = filter(None, map(_NAME.fullmatch, names))
    for match in sorted(matches, key=lambda each: each["time"], reverse=True):
        rest = match["login_and_node"]
        for dash in re.finditer("-", rest):
            found[rest[dash.end() :]].append(match[0])
    return found


def _read_node_directory(path: str) -> str:
    """Return the directory of the node that a crash file is about; empty text if it is damaged."""
    with suppress(Exception):  # it may also be of another version
        if path.endswith(".pklz"):
            return str(loadpkl(path)["node"].output_dir())
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            found = re.search(r"^Working directory: (.*)$", file.read(), re.MULTILINE)
        return found[1] if found else ""
    return ""
