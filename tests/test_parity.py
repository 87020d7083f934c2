"""Run both classes on equal inputs; compare tree, bytes, links, modes and `out_file`."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from nipype import config
from nipype.interfaces.base import Undefined
from nipype.interfaces.io import DataSink as NipypeDataSink

from nipype_datasink import CollisionError, DataSink, DestinationError, Plan
from tests.conftest import contents

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

T = TypeVar("T")


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Mode(NamedTuple):
    """A file with these permissions."""

    text: str
    mode: int


class Hardlink(NamedTuple):
    """A hard link to a file."""

    of: str


# Text stands for a file, None for a directory. Sources are below "src", other files below "else".
Tree = Mapping[str, "str | Mode | Link | Hardlink | None"]

SOURCES: Tree = {
    "src/a.txt": "a",
    "src/b.txt": Mode("b", 0o700),
    "src/equal/b.txt": "b",
    "src/c.tar.gz": "c",
    "src/_subject_id_1/_run_2/bold.nii.gz": "bold 1 2",
    "src/_subject_id_2/_run_2/bold.nii.gz": "bold 2 2",
    "src/pair.img": "img",
    "src/pair.hdr": Mode("hdr", 0o600),
    "src/pair.mat": "mat of a pair",
    "src/pair.nii": "nii beside a pair",
    "src/one.nii": "nii",
    "src/one.mat": "mat",
    "src/zip.nii.gz": "gz",
    "src/zip.mat": "no companion",
    "src/afni+orig.BRIK": "brik",
    "src/afni+orig.HEAD": "head",
    "src/far.img": Link("else/far.img"),
    "src/far.hdr": "header beside a link",
    "src/else/far.img": "far image",
    "src/link.txt": Link("a.txt"),
    "src/links": Link("dir"),
    "src/dir/x.txt": Mode("x", 0o755),
    "src/dir/sub/y.img": "y",
    "src/dir/sub/y.hdr": "y header",
    "src/dir/sub/empty": None,
    "src/dir/file": Link("../a.txt"),
    "src/dir/folder": Link("../_subject_id_1"),
    "else/note": "a stranger's",
    "else/folder/note": "a stranger's, too",
}


@dataclass(frozen=True)
class Case:
    """Inputs of a sink and the files on disk before the run; ROOT stands for the directory."""

    fields: Mapping[str, object]
    inputs: Mapping[str, object] = field(default_factory=dict)
    tree: Tree = field(default_factory=lambda: SOURCES)
    infields: Sequence[str] = ()
    changes: Sequence[Tree] = ()
    hard_links: bool = False


def case(
    *sources: object,
    on_disk: Tree | None = None,
    infields: Sequence[str] = (),
    changes: Sequence[Tree] = (),
    fields: Mapping[str, object] | None = None,
    **inputs: object,
) -> Case:
    """Return a case of the table. Its sources go to "anat"; another run follows each change."""
    return Case(
        fields={"anat": list(sources)} if fields is None else fields,
        inputs={"base_directory": "ROOT/out", **inputs},
        tree={**SOURCES, **(on_disk or {})},
        infields=infields,
        changes=changes,
    )


def replace_root(value: Any, root: Path) -> Any:
    """Replace ROOT by `root`."""
    if isinstance(value, str):
        return value.replace("ROOT", str(root))
    if isinstance(value, Path):
        return Path(replace_root(str(value), root))
    if isinstance(value, (list, tuple, set)):
        return type(value)(replace_root(item, root) for item in value)
    return value


def build(root: Path, tree: Tree) -> None:
    for name, entry in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, Link):
            path.symlink_to(replace_root(entry.target, root))
        elif isinstance(entry, Hardlink):
            os.link(root / entry.of, path)
        elif entry is None:
            path.mkdir(exist_ok=True)
        else:
            text, mode = entry if isinstance(entry, Mode) else (entry, None)
            path.write_text(text)
            if mode is not None:
                path.chmod(mode)


def rebuild(root: Path, tree: Tree) -> None:
    for path in root.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    build(root, tree)


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Return contents, modes and hard links of all files below `root`."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name, status = str(path.relative_to(root)), path.lstat()
        mode = stat.filemode(status.st_mode)
        if path.is_symlink():
            found[name] = (os.readlink(path),)
        elif path.is_dir():
            found[name] = (mode,)
        else:
            same = first.setdefault(status.st_ino, name)
            found[name] = (mode, path.read_bytes(), status.st_nlink, same)
    return found


def make_sink(kind: Any, case: Case, root: Path, **inputs: object) -> Any:
    sink = kind(infields=list(case.infields))
    sink.inputs._outputs.pop("trait_added", None)  # nipype adds it for infields; it is not a field
    for name, value in {**case.fields, **case.inputs, **inputs}.items():
        setattr(sink.inputs, replace_root(name, root), replace_root(value, root))
    return sink


def run(
    kind: Any, case: Case, root: Path, look: Callable[[], T], **inputs: object
) -> list[tuple[list[str], T]]:
    """Run a class on a case; return `out_file`, and what `look` sees, after each of its runs."""
    rebuild(root, case.tree)
    config.set("execution", "try_hard_link_datasink", str(case.hard_links).lower())
    sink = make_sink(kind, case, root, **inputs)
    seen = []
    for change in [{}, *case.changes]:
        build(root, change)
        seen.append((sink.run().outputs.out_file, look()))
    return seen


def run_locally(kind: Any, case: Case, root: Path, **inputs: object) -> Any:
    return run(kind, case, root, lambda: snapshot(root), **inputs)


def delivered_files(root: Path, entries: Mapping[str, tuple[object, ...]]) -> dict[str, object]:
    """Return the bytes of delivered files by their keys in a bucket."""
    return {
        f"{root}/{name}"[1:]: entry[1]
        for name, entry in entries.items()
        if len(entry) > 1 and not name.startswith(("src/", "else/"))
    }


def as_keys(root: Path, seen: Any) -> list[tuple[list[str], dict[str, object]]]:
    return [
        (
            [f"s3://mybucket{posixpath.normpath(path)}" for path in paths],
            delivered_files(root, entries),
        )
        for paths, entries in seen
    ]


def bucket_base(case: Case, root: Path) -> str:
    base = replace_root(case.inputs.get("base_directory", "."), root)
    return f"s3://mybucket{os.path.abspath(base)}"


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a working directory, in memory if possible, because tests make thousands of files."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        monkeypatch.chdir(directory)
        yield Path(directory).resolve()


BOLD = ["src/_subject_id_1/_run_2/bold.nii.gz", "src/_subject_id_2/_run_2/bold.nii.gz"]
OLD: Tree = {"out/anat/a.txt": "old"}
FOLDER: Tree = {"out/anat/dir/x.txt": "old", "out/anat/dir/old/stale": "old"}

IDIOMS = {
    "plain": case("src/a.txt"),
    "nothing": case(fields={}),
    "container": case("src/a.txt", container="sub001"),
    "container-empty": case("src/a.txt", container=""),
    "container-with-slashes": case("src/a.txt", container="sub001/ses-1//"),
    "container-with-dots": case("src/a.txt", container="x/../y/."),
    "name-dotted": case(fields={"func.mean.smooth": "src/a.txt"}),
    "name-at": case(fields={"func.@mean": "src/a.txt"}),
    "name-at-alone": case(fields={"@mean": "src/a.txt"}),
    "name-only-at": case(fields={"@": "src/a.txt"}),
    "name-at-then-dot": case(fields={"@x.y": "src/a.txt"}),
    "name-dot-at-dot": case(fields={"a.@b.c": "src/a.txt"}),
    "name-with-slash": case(fields={"func/mean.@x": "src/a.txt"}),
    "name-with-at-inside": case(fields={"func@x": "src/a.txt"}),
    "parameterization": case(*BOLD),
    "parameterization-off": case(BOLD[0], parameterization=False),
    "parameterization-of-a-directory": case("src/_subject_id_1/_run_2", "src/_subject_id_2/"),
    "parameterization-off-for-a-directory": case(
        "src/_subject_id_1/_run_2/", parameterization=False
    ),
    "strip-dir": case(*BOLD, strip_dir="ROOT/src/_subject_id_1"),
    "strip-dir-inside-a-name": case(*BOLD, strip_dir="_subject"),
    "strip-dir-everywhere": case(BOLD[0], strip_dir="/"),
    "strip-dir-parameterization-off": case(
        BOLD[0], strip_dir="ROOT/src/_subject_id_1", parameterization=False
    ),
    "substitutions": case(*BOLD, substitutions=[("_subject_id_", "sub-"), ("_run_", "run-")]),
    "substitutions-cascade": case("src/a.txt", substitutions=[("a.txt", "ONE"), ("ONE", "TWO")]),
    "substitutions-ordered": case("src/a.txt", substitutions=[("ONE", "TWO"), ("a.txt", "ONE")]),
    "substitutions-repeat": case(fields={"QQ.Q": "src/a.txt"}, substitutions=[("Q", "P")]),
    "substitution-to-nothing": case(BOLD[0], substitutions=[("_run_2/", "")]),
    "substitution-adds-folders": case("src/a.txt", substitutions=[("a.txt", "deep/er/a.txt")]),
    "substitution-of-the-field": case("src/a.txt", substitutions=[("/anat/", "/T1w/")]),
    "substitution-of-the-base": case("src/a.txt", substitutions=[("ROOT/out/", "ROOT/other/")]),
    "substitution-of-the-container": case(
        "src/a.txt", container="c", substitutions=[("out/c/", "out/d/")]
    ),
    "substitution-leaves-slashes": case("src/a.txt", substitutions=[("/anat/", "//")]),
    "regexp": case(*BOLD, regexp_substitutions=[(r"_subject_id_(\d)/_run_(\d)", r"sub-\1_run-\2")]),
    "regexp-after-literal": case(
        "src/a.txt",
        substitutions=[("a.txt", "ONE")],
        regexp_substitutions=[("^(.*)/ONE$", r"\1/TWO"), ("TWO$", "THREE"), ("ONE", "NEVER")],
    ),
    "regexp-named-group": case(
        "src/a.txt", regexp_substitutions=[(r"(?P<n>a)\.t", r"\g<n>\g<n>.t")]
    ),
    "regexp-of-the-base": case("src/a.txt", regexp_substitutions=[("(ROOT/out)/", r"\1/all/")]),
    "regexp-collapses-slashes": case(
        "src/a.txt",
        substitutions=[("/anat/", "//anat///")],
        regexp_substitutions=[("/+", "/")],
    ),
    "regexp-moves-folders": case(
        *BOLD, regexp_substitutions=[("/(anat)/(_subject_id_.)/", r"/\2/\1/")]
    ),
    "infields": case(
        fields={"z": "src/b.txt", "x": "src/a.txt", "y.@z": "src/c.tar.gz"}, infields=["x", "y.@z"]
    ),
    "infields-left-undefined": case("src/a.txt", infields=["x", "y"]),
    "field-undefined": case(fields={"x": Undefined, "y": "src/a.txt"}),
    "fields-in-order": case(
        fields={"z": "src/b.txt", "a": ["src/c.tar.gz", "src/a.txt"], "m.@n": "src/dir"}
    ),
    "text": case(fields={"anat": "src/a.txt"}),
    "tuple": case(fields={"anat": ("src/a.txt", "src/b.txt")}),
    "set": case(fields={"anat": {"src/a.txt", "src/b.txt"}}),
    "paths": case(Path("src/a.txt"), Path("ROOT/src/dir")),
    "nested": case(["src/b.txt"], ["src/a.txt", "src/dir"]),
    "nested-partly-empty": case([], ["src/a.txt"], []),
    "nested-in-tuple": case(fields={"anat": (["src/b.txt"], ["src/a.txt"])}),
    "nested-empty": case([]),
    "same-source-twice": case("src/a.txt", "src/a.txt", "src/dir", "src/dir"),
    "equal-bytes-at-one-destination": case("src/b.txt", "src/equal/b.txt", "src/a.txt"),
    "absolute": case("ROOT/src/a.txt", "ROOT/src/dir/"),
    "dots-in-sources": case("src/../src/./a.txt", "src/dir/sub/.."),
    "trailing-slashes": case("src/dir//", "src/links/", "src/a.txt/"),
    "directory": case("src/dir"),
    "directory-empty": case("src/dir/sub/empty"),
    "directory-at-the-base": case(fields={"@all": "src/dir"}),
    "directory-renamed": case("src/dir", substitutions=[("/dir", "/folder/of/files")]),
    "directory-with-a-slash-at-the-end": case("src/dir", regexp_substitutions=[("dir$", "new/")]),
    "directory-into-itself-renamed": case("src/dir", regexp_substitutions=[("/anat/dir$", "")]),
    "link-to-a-file": case("src/link.txt"),
    "link-to-a-directory": case("src/links"),
    "link-beside-its-companion": case("src/far.img"),
    "companions-img": case("src/pair.img"),
    "companions-hdr": case("src/pair.hdr"),
    "companions-mat": case("src/pair.mat"),
    "companions-of-each-other": case("src/pair.img", "src/pair.hdr"),
    "companions-nii": case("src/one.nii"),
    "companions-afni": case("src/afni+orig.BRIK"),
    "companions-afni-head": case("src/afni+orig.HEAD"),
    "companions-none-of-gz": case("src/zip.nii.gz"),
    "companions-renamed": case("src/pair.img", substitutions=[("/pair", "/T1.v1")]),
    "companions-renamed-by-extension": case(
        "src/pair.img", regexp_substitutions=[(r"pair(\.\w+)$", r"sub/T1\1")]
    ),
    "companions-there-already": case(
        "src/pair.img",
        on_disk={"out/anat/pair.hdr": "old", "out/anat/pair.mat": Link("ROOT/else/note")},
    ),
    "there-same": case("src/a.txt", on_disk={"out/anat/a.txt": Mode("a", 0o640)}),
    "there-different": case("src/a.txt", on_disk={"out/anat/a.txt": Mode("A", 0o640)}),
    "there-longer": case("src/a.txt", on_disk={"out/anat/a.txt": "abc"}),
    "there-link-elsewhere": case("src/a.txt", on_disk={"out/anat/a.txt": Link("ROOT/else/note")}),
    "there-link-to-same-bytes": case(
        "src/a.txt", on_disk={"else/a": "a", "out/anat/a.txt": Link("ROOT/else/a")}
    ),
    "there-link-to-nothing": case("src/a.txt", on_disk={"out/anat/a.txt": Link("nowhere")}),
    "there-link-to-the-source": case(
        "src/a.txt", on_disk={"out/anat/a.txt": Link("ROOT/src/a.txt")}
    ),
    "there-in-a-directory": case(
        "src/dir",
        on_disk={"out/anat/dir/x.txt": "X", "out/anat/dir/sub/y.img": Link("ROOT/else/note")},
    ),
    "there-others": case("src/dir", on_disk=FOLDER),
    "second-run": case("src/pair.img", "src/dir", changes=[{}]),
    "second-run-after-a-change": case(
        "src/b.txt", "src/dir", changes=[{"src/b.txt": "B", "src/dir/sub/y.img": "Y"}]
    ),
    "second-run-after-a-change-of-a-companion": case(
        "src/pair.img", changes=[{"src/pair.hdr": "HDR"}]
    ),
    "remove-dest-dir": case("src/dir", on_disk=FOLDER, remove_dest_dir=True),
    "remove-dest-dir-nested": case("src/dir/sub", "src/dir", on_disk=FOLDER, remove_dest_dir=True),
    "remove-dest-dir-new": case("src/dir", on_disk=OLD, remove_dest_dir=True),
    "remove-dest-dir-of-a-file": case("src/a.txt", on_disk=OLD, remove_dest_dir=True),
    "remove-dest-dir-second-run": case(
        "src/dir", remove_dest_dir=True, changes=[{"out/anat/dir/stale/old": "old"}]
    ),
    "remove-dest-dir-leaves-neighbours": case(
        "src/dir", on_disk={**FOLDER, "out/anat/dir2/x": "kept", **OLD}, remove_dest_dir=True
    ),
    "base-relative": case("src/a.txt", base_directory="out/../deep/out/", container="c"),
    "base-there": case("src/a.txt", on_disk={"out": None}),
}

LOCAL_IDIOMS = {
    "container-absolute": case("src/a.txt", container="ROOT/elsewhere"),
    "name-absolute": case(fields={"ROOT/elsewhere.x": "src/a.txt"}),
    "regexp-anchored-on-the-base": case(
        "src/a.txt", regexp_substitutions=[("^ROOT/out/anat/", "ROOT/out/T1w/")]
    ),
    "local-copy-alone": case("src/a.txt", base_directory=Undefined, local_copy="ROOT/out"),
    "there-hard-link-to-the-source": case(
        "src/b.txt", on_disk={"out/anat/b.txt": Hardlink("src/b.txt")}
    ),
    "there-hard-link-of-a-stranger": case(
        "src/b.txt", on_disk={"out/anat/b.txt": Hardlink("else/note")}
    ),
    "there-hard-links-in-a-directory": case(
        "src/dir",
        on_disk={
            "out/anat/dir/x.txt": Hardlink("src/dir/x.txt"),
            "out/anat/dir/sub/y.img": Hardlink("else/note"),
        },
    ),
    "there-folder-is-a-link": case("src/a.txt", "src/dir", on_disk={"out/anat": Link("../else")}),
    "there-directory-is-a-link": case("src/dir", on_disk={"out/anat/dir": Link("ROOT/else")}),
    "base-undefined": case("src/a.txt", base_directory=Undefined),
    "base-is-a-link": case("src/a.txt", on_disk={"out": Link("else/folder")}),
}

HARD_LINKS = pytest.mark.parametrize("hard_links", [False, True], ids=["copies", "hard-links"])


def table(*parts: Mapping[str, Case]) -> pytest.MarkDecorator:
    cases = {name: case for part in parts for name, case in part.items()}
    return pytest.mark.parametrize("case", list(cases.values()), ids=list(cases))


@HARD_LINKS
@table(IDIOMS, LOCAL_IDIOMS)
def test_table_cases_match_nipype(case: Case, hard_links: bool, root: Path) -> None:
    case = replace(case, hard_links=hard_links)
    expected = run_locally(NipypeDataSink, case, root)
    assert run_locally(DataSink, case, root) == expected


@table(IDIOMS)
def test_table_cases_in_a_bucket_match_nipype_on_disk(
    case: Case, root: Path, bucket: Bucket
) -> None:
    expected = as_keys(root, run_locally(NipypeDataSink, case, root))
    for key, body in existing_objects(case, root).items():
        bucket.put_object(Key=key, Body=body)
    there = {"base_directory": bucket_base(case, root), "bucket": bucket}
    assert run(DataSink, case, root, lambda: contents(bucket), **there) == expected


def existing_objects(case: Case, root: Path) -> dict[str, bytes]:
    """Return the objects that a case wants at its destinations before the run."""
    return {
        f"{root}/{name}"[1:]: (entry.text if isinstance(entry, Mode) else entry).encode()
        for name, entry in case.tree.items()
        if isinstance(entry, (str, Mode)) and not name.startswith(("src/", "else/"))
    }


CONTAINERS: dict[str, Callable[[list[str]], object]] = {
    "iterator": iter,
    "generator": lambda paths: (path for path in paths),
    "dictionary-keys": lambda paths: dict.fromkeys(paths).keys(),
    "frozenset": frozenset,
    "paths-in-a-tuple": lambda paths: tuple(map(Path, paths)),
    "paths-in-a-map": lambda paths: map(Path, paths),
}


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_containers_match_nipype(make: Callable[[list[str]], object], root: Path) -> None:
    def some() -> Case:
        return Case(fields={"anat": make(["src/a.txt", "src/dir"])})

    expected = run_locally(NipypeDataSink, some(), root)
    assert run_locally(DataSink, some(), root) == expected


@pytest.mark.parametrize("hard_links", [False, True])
def test_local_hardlink_matches_nipypes_configuration(hard_links: bool, root: Path) -> None:
    some = case("src/b.txt", "src/pair.img", "src/dir", changes=[{"src/b.txt": "B"}])
    expected = run_locally(NipypeDataSink, replace(some, hard_links=hard_links), root)
    ours = replace(some, hard_links=not hard_links)
    assert run_locally(DataSink, ours, root, local_hardlink=hard_links) == expected


def test_constructor_inputs_match_nipype(root: Path) -> None:
    def out_file(kind: Any) -> tuple[list[str], object]:
        rebuild(root, SOURCES)
        sink = kind(
            base_directory="out", container="c", substitutions=[("a.txt", "b")], x="src/a.txt"
        )
        return sink.run().outputs.out_file, snapshot(root)

    assert out_file(DataSink) == out_file(NipypeDataSink)


@pytest.mark.parametrize("arguments", [{}, {"force_run": True}, {"force_run": False}], ids=str)
def test_force_run_matches_nipype(arguments: dict[str, Any]) -> None:
    assert DataSink(**arguments).always_run == NipypeDataSink(**arguments).always_run


class FakeBucket:
    """The parts of a bucket that nipype uses, in memory."""

    name = "mybucket"

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = dict(objects)

    def Object(self, key: str) -> SimpleNamespace:  # noqa: N802
        if key not in self.objects:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return SimpleNamespace(e_tag=f'"{hashlib.md5(self.objects[key]).hexdigest()}"')

    def upload_file(self, source: str, key: str, **_: object) -> None:
        self.objects[key] = Path(source).read_bytes()


def test_out_file_with_bucket_and_local_copy_matches_nipype(root: Path) -> None:
    some = case(
        "src/dir/x.txt",
        BOLD[0],
        container="c",
        base_directory="s3://mybucket/out",
        local_copy="ROOT/copy",
        substitutions=[("_subject_id_", "sub-")],
    )

    def result(kind: Any) -> object:
        bucket = FakeBucket({})
        return run(kind, some, root, lambda: (snapshot(root), bucket.objects), bucket=bucket)

    assert result(DataSink) == result(NipypeDataSink)


FIELDS = ["anat", "func.mean", "motion.@par", "a.@b.c", "@flat", "@x.y", "deep/er.z", "anat.@t1"]
WHERE = ["", "_SUB_1/_RUN_2/", "_SUB_1/", "_SUB_2/work/_RUN_2/", "work/"]
LITERAL = [
    ("_SUB_", "sub-"),
    ("sub-", "subject-"),
    ("_RUN_2/", ""),
    ("_RUN_", "RUN/"),
    ("/anat/", "/T1w/"),
    ("IMG1", "scan-ONE"),
    ("IMG", "ONE/"),
    ("OUT/c/", "OUT/d/"),
]
REGULAR = [
    (r"_SUB_(\d)", r"sub-\1"),
    (r"/_[A-Z]+_\d(?=/)", ""),
    (r"([^/.]+)(\.\w+)$", r"\1_final\2"),
    (r"IMG(\d)", r"scan\1/IMG-\1"),
    (r"ROOT/OUT/", r"ROOT/OUT/derivatives/"),
    (r"//+", "/"),
    (r"ONE", ""),
]
COMPANIONS: dict[str, list[str]] = {
    ".img": [".hdr", ".mat"],
    ".hdr": [".img"],
    ".mat": [".nii"],
    ".nii": [".mat"],
    ".BRIK": [".HEAD"],
}
DIRECTORY: Tree = {
    "x.txt": "x",
    "sub/y.img": "y",
    "sub/y.hdr": Mode("y header", 0o600),
    "sub/deep/z": "",
    "empty": None,
    "link": Link("ROOT/src/real.txt"),
    "links": Link("ROOT/src/real"),
}
THERE = ["nothing", "same", "different", "link", "stale"]
FEATURES = [
    "companions",
    "directories",
    "links",
    "container",
    "parameterization",
    "strip_dir",
    "substitutions",
    "regexp_substitutions",
    "remove_dest_dir",
    "nested lists",
    "dotted names",
    "@ names",
    *(f"{kind} at the destination" for kind in THERE),
    "hard links",
    "copies",
    "second run",
    "infields",
]


@dataclass(frozen=True)
class RandomCase:
    """A random case, the files at its destinations before the run, and its features."""

    case: Case
    there: Sequence[str]
    features: frozenset[str]


@st.composite
def random_sources(draw: st.DrawFn, number: int) -> tuple[dict[str, Any], list[str], str]:
    """Draw one source; return the files on disk, the paths, and the feature."""
    stem = draw(st.sampled_from([f"IMG{number}", f"IMG{number}.v1", f"s{number}", "bold"]))
    path = f"src/{number}/{draw(st.sampled_from(WHERE))}{stem}"
    text = draw(st.sampled_from(["", "x", f"bytes of {number}"]))
    kind = draw(st.sampled_from([".txt", ".nii.gz", "directory", "link", "links", *COMPANIONS]))
    if kind == "directory":
        names = draw(st.sets(st.sampled_from(sorted(DIRECTORY)), min_size=1))
        tree = {f"{path}/{name}": DIRECTORY[name] for name in sorted(names)}
        return tree, [path + draw(st.sampled_from(["", "/"]))], "directories"
    if kind == "link":
        return {f"{path}.txt": Link("ROOT/src/real.txt")}, [f"{path}.txt"], "links"
    if kind == "links":
        return {path: Link("ROOT/src/real")}, [path], "links"
    mode = draw(st.sampled_from([0o600, 0o644, 0o755]))
    others = [path + extension for extension in COMPANIONS.get(kind, [".mat"])]
    tree = {path + kind: Mode(text, mode), **dict.fromkeys(others, f"{text} of {kind}")}
    paths = [path + kind, *draw(st.sampled_from([[], others[:1]]))]
    return tree, paths, "companions" if kind in COMPANIONS else "files"


@st.composite
def random_value(draw: st.DrawFn, pool: list[str]) -> tuple[object, str]:
    """Draw the value of a field; return it and the feature."""
    chosen = st.lists(st.sampled_from(pool), min_size=1, max_size=3)
    paths = [draw(st.sampled_from(["", "ROOT/"])) + path for path in draw(chosen)]
    values: dict[str, object] = {
        "text": paths[0],
        "lists": paths,
        "tuples": tuple(paths),
        "sets": set(paths),
        "paths": [Path(path) for path in paths],
        "nested lists": [paths[:1], [], paths[1:]],
        "nothing": [[]],
    }
    shape = draw(st.sampled_from([*values, "nested lists", "lists"]))
    return values[shape], shape


@st.composite
def random_inputs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the inputs that are not fields."""
    stripped = st.sampled_from(["ROOT/src/0/_SUB_1", "_SUB", "ROOT", "/_RUN_2"])
    return draw(
        st.fixed_dictionaries(
            {"base_directory": st.sampled_from(["OUT", "ROOT/OUT", "ROOT/OUT/"])},
            optional={
                "container": st.sampled_from(["", "c", "c/", "sub-1/ses-1"]),
                "parameterization": st.just(False),
                "strip_dir": stripped,
                "substitutions": st.lists(st.sampled_from(LITERAL), min_size=1, max_size=3),
                "regexp_substitutions": st.lists(st.sampled_from(REGULAR), min_size=1, max_size=3),
                "remove_dest_dir": st.just(True),
            },
        )
    )


@st.composite
def cases(draw: st.DrawFn) -> RandomCase:
    """Draw a case for which both classes should give the same result."""
    tree: dict[str, Any] = {
        "src/real.txt": "real",
        "src/real/in": "within",
        "src/real/in.dir/deeper": "deeper",
        "else/note": "a stranger's",
    }
    sources = [draw(random_sources(number)) for number in range(draw(st.integers(1, 4)))]
    for entries, _, _ in sources:
        tree.update(entries)
    pool = [path for _, paths, _ in sources for path in paths]
    names = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True))
    values = {name: draw(random_value(pool)) for name in names}
    inputs = draw(random_inputs())
    infields = draw(st.sampled_from([[], names[:1], names[::-1]]))
    file = draw(st.sampled_from([name for name in tree if isinstance(tree[name], (str, Mode))]))
    changes: list[Tree] = draw(st.sampled_from([[], [{}], [{file: "changed"}], [{file: "y"}]]))
    hard_links = draw(st.booleans())
    shown = {
        "@ names": any(name.startswith("@") for name in names),
        "dotted names": any("." in name for name in names),
        "infields": infields,
        "second run": changes,
        "hard links": hard_links,
        "copies": not hard_links,
    }
    return RandomCase(
        Case(
            {name: values[name][0] for name in names}, inputs, tree, infields, changes, hard_links
        ),
        there=draw(st.lists(st.sampled_from(THERE), max_size=4)),
        features=frozenset(
            [
                *(feature for _, _, feature in sources),
                *(shape for _, shape in values.values()),
                *inputs,
                *(feature for feature, present in shown.items() if present),
            ]
        ),
    )


def prepare_destinations(random_case: RandomCase, plan: Plan, root: Path) -> tuple[Case, set[str]]:
    """Make the files at the destinations; return the case with them, and its features."""
    tree, features = dict(random_case.case.tree), set(random_case.features)
    removes = "remove_dest_dir" in random_case.case.inputs
    for kind, transfer in zip(cycle(random_case.there), plan.transfers):
        place = os.path.relpath(transfer.destination, root)
        text = Path(transfer.source).read_text()
        if kind == "same":
            tree[place] = text if removes else Mode(text, 0o640)
        elif kind == "different":
            tree[place] = f"{text[:-1]}~"
        elif kind == "link":
            tree[place] = Link("ROOT/else/note")
        elif kind == "stale":
            tree[f"{posixpath.dirname(place)}/old/stale"] = "stale"
        features.add(f"{kind} at the destination")
    return replace(random_case.case, tree=tree), features


def leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple, set)):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def depends_on_order(case: Case, root: Path) -> bool:
    """Return whether the result of nipype depends on the order of the sources."""
    config.set("execution", "try_hard_link_datasink", "false")
    sources = {
        (os.path.abspath(replace_root(leaf, root)), name)
        for name, value in case.fields.items()
        for leaf in leaves(value)
    }
    ends = []
    for order in (sorted(sources), sorted(sources, reverse=True)):
        rebuild(root, case.tree)
        for path, name in order:
            one = replace(case, fields={name: path}, infields=())
            try:
                make_sink(NipypeDataSink, one, root).run()
            except Exception:  # noqa: BLE001
                return True
        ends.append(snapshot(root))
    return ends[0] != ends[1]


def check_random_case(random_case: RandomCase, root: Path) -> set[str]:
    """Compare both classes on a case; return its features, or that it was rejected."""
    rebuild(root, random_case.case.tree)
    before, sink = snapshot(root), make_sink(DataSink, random_case.case, root)
    try:
        plan = sink.plan()
    except (CollisionError, DestinationError) as error:
        with pytest.raises(type(error)):
            sink.run()
        assert snapshot(root) == before
        assert depends_on_order(random_case.case, root)
        return {"rejected"}
    some, features = prepare_destinations(random_case, plan, root)
    if "remove_dest_dir" in features and depends_on_order(some, root):
        return {"rejected"}
    expected = run_locally(NipypeDataSink, some, root)
    stored = existing_objects(some, root)
    kept = stored if "remove_dest_dir" in features else {}  # it needs a boto3 Bucket
    keys = [(paths, {**kept, **objects}) for paths, objects in as_keys(root, expected)]
    copy = FakeBucket(stored)
    s3_copy = {"s3_copy": bucket_base(some, root), "bucket": copy} if not some.hard_links else {}
    inputs: dict[str, Any] = {"local_hardlink": some.hard_links, **s3_copy}
    other_setting = replace(some, hard_links=not some.hard_links)
    try:
        result = run(
            DataSink, other_setting, root, lambda: (snapshot(root), dict(copy.objects)), **inputs
        )
    except CollisionError:  # before the second run, a change has made equal sources different
        assert some.changes
        return {"rejected"}
    assert [(paths, tree) for paths, (tree, _) in result] == expected
    copied = [objects for _, (_, objects) in result]
    assert copied == [objects for _, objects in keys] or some.hard_links
    bucket = FakeBucket(stored)
    there = {"base_directory": bucket_base(some, root), "bucket": bucket}
    assert run(DataSink, some, root, lambda: dict(bucket.objects), **there) == keys
    return features


@pytest.mark.no_cover  # the table covers the same code, and measuring takes a third of the time
def test_random_cases_match_nipype(
    root: Path, caplog: pytest.LogCaptureFixture, pytestconfig: pytest.Config
) -> None:
    caplog.set_level("WARNING", "nipype.interface")
    number = 1500 if pytestconfig.getoption("--soak") else 140
    counts: Counter[str] = Counter()

    @settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def check(random_case: RandomCase) -> None:
        features = check_random_case(random_case, root)
        counts.update(["cases", *features])
        for feature in features:
            event(feature)

    check()
    assert counts["cases"] >= number
    assert counts["rejected"] < counts["cases"] / 10
    assert {name: counts[name] for name in FEATURES if counts[name] < counts["cases"] / 15} == {}
