"""What random sequences are made of: sources, sinks, and the moments at which something happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.machines.moments import GROUPS
from tests.model import Sink
from tests.source_model import Kind, Link

LARGE = "large.dat"
ODD = "an odd/+%2B é&~.txt"
SOURCES: Mapping[str, Any] = {
    "a.txt": b"x",
    "A.txt": b"y",
    "b/a.txt": b"y",
    "_run_1/bold.nii.gz": b"1",
    "_run_2/bold.nii.gz": b"2",
    "pair.img": b"img",
    "pair.hdr": b"hdr",
    "one.nii": b"nii",
    "one.mat": b"mat",
    "d/x": b"x",
    "d/e/y.img": b"y",
    "d/e/y.hdr": b"header",
    "d/empty": Kind.FOLDER,
    "b/d/z": b"z",
    "link.txt": Link("a.txt"),
    "links": Link("d"),
    ODD: b"odd",
    LARGE: b"large",  # each machine makes it as large as its large files are
}
BYTES = [b"", b"x", b"y", b"longer"]
LINKS = [Link(target) for target in ("a.txt", "d", "gone", "b")]
INSTEAD = [None, None, *BYTES, *BYTES, Kind.FOLDER, Kind.FOLDER, Kind.PIPE, *LINKS]
ENTRIES = st.sampled_from(INSTEAD)
TOPS = [*SOURCES, "d", "b/d", "d/e"]
# Few, and many of them go to one place: what one run does must matter to the next.
SUNK = [
    "d",
    "d",
    "links",
    "links",
    "a.txt",
    "b/a.txt",
    "b/d",
    "_run_1/bold.nii.gz",
    "_run_2/bold.nii.gz",
]
SUNK += ["pair.img", "pair.img", "one.nii", "link.txt", "A.txt", "gone.txt", ODD]
NAMES = ["anat", "func.mean", "@flat", "anat.@x", "T1w"]
# Where sinks go, or near it: what is there at first, and where strangers write later.
OLD = ["base/anat/d/old", "base/anat/links/old", "base/T1w/d/old", "base/func/mean/links/old"]
OLD += ["base/d/old", "base/anat/d.old", "base/anat/a.txt"]
PATHS = [*OLD, "base/anat", "base/anat/d/x", "base/anat/pair.hdr", "base/c/anat/a.txt"]
# No part of a base directory: substitutions change whole paths.
LITERAL = [("_run_", "run-"), ("/anat/", "/T1w/"), ("a.txt", "e/a"), ("pair", "T1"), ("links", "L")]
REGULAR = [(r"_run_(\d)", r"r\1"), (r"/([^/]+)\.txt$", r"/\1/text"), ("/c/", "/"), ("//+", "/")]

_large = st.just(LARGE)
_leaf = st.integers(0, 29).flatmap(lambda n: st.sampled_from(SUNK) if n else _large)
_leaves = st.lists(_leaf, min_size=1, max_size=3)
_odd = st.sampled_from(["", {"a": 1}, "sub01", [[]]])
_nested = _leaves.map(lambda some: [some[:1], [], some[1:]])
_values = st.integers(0, 29).flatmap(lambda n: st.one_of(_leaf, _leaves, _nested) if n else _odd)


def _some(rules: list[Any]) -> Any:
    some = st.lists(st.sampled_from(rules), min_size=1, max_size=2).map(tuple)
    return st.one_of(st.just(()), some)


MANIFESTS = st.sampled_from(["base", "beside", ""])
TRANSPORTS = st.sampled_from(["classic", "crt"])
SINKS = st.builds(
    Sink,
    st.dictionaries(st.sampled_from(NAMES), _values, min_size=1, max_size=3),
    container=st.sampled_from(["", "", "", "c", "c/d"]),
    substitutions=_some(LITERAL),
    regexp_substitutions=_some(REGULAR),
    strip_dir=st.sampled_from(["", "", "", "_run"]),
    parameterization=st.booleans(),
    remove_dest_dir=st.sampled_from([True, True, False]),
    local_copy=st.booleans(),
    hard_links=st.booleans(),
    skip_missing=st.booleans(),
    manifests=MANIFESTS,
    encrypt=st.booleans(),
    transport=TRANSPORTS,
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "remove_dest_dir": st.booleans(),
        "skip_missing": st.booleans(),
        "hard_links": st.booleans(),
        "manifests": MANIFESTS,
        "encrypt": st.booleans(),
        "transport": TRANSPORTS,
    },
)

# What rules draw: each class of machines has its own values.
OWN_SINKS = st.runner().flatmap(lambda machine: machine.sinks)
OWN_CHANGES = st.runner().flatmap(lambda machine: machine.changes)
OWN_PATHS = st.runner().flatmap(lambda machine: st.sampled_from(machine.paths))
LAST_OR = OWN_SINKS | OWN_SINKS | st.none()

# A function that the library calls, or any of a group, and the number of calls before.
_FUNCTIONS = [name for names in GROUPS.values() for name in names]
_ANY = st.sampled_from(["writing", "writing", "sending", "reading", "reading"])
MOMENTS = st.tuples(_ANY, st.integers(0, 9)) | st.tuples(
    st.sampled_from(_FUNCTIONS), st.integers(0, 2)
)
WRITING_MOMENTS = st.tuples(st.sampled_from(["writing", "writing", "sending"]), st.integers(0, 9))
