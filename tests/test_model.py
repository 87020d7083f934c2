"""Random sequences of runs, faults and strangers end as the model says (`tests/model.py`).

A sequence that does not is printed as a script, which runs from the root of the repository.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import itertools
import logging
import os
import posixpath
import shutil
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from nipype.interfaces.io import DataSink as NipypeDataSink

from nipype_datasink import DataSink, DataSinkError, DeliveryError, MissingSourceError, Status
from tests import fuse, stores
from tests.faultproxy import Fault, Faults, Proxy
from tests.model import Kind, Link, Promise, Sink, above, promise
from tests.seeds import SEEDS, Seed

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

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
}
INSTEAD = [
    None,
    None,
    b"",
    b"x",
    b"y",
    b"longer",
    Kind.FOLDER,
    Kind.PIPE,
    *map(Link, ["a.txt", "d", "gone", "b"]),
]
BYTES = [b"", b"x", b"y", b"longer"]
TOPS = [*SOURCES, "d", "b/d", "d/e"]
# Few, and many of them go to one place: what one run does is to matter to the next.
SUNK = ["d", "a.txt", "b/a.txt", "b/d", "links", "_run_1/bold.nii.gz", "_run_2/bold.nii.gz"]
SUNK += ["pair.img", "one.nii", "link.txt", "A.txt", "gone.txt"]
NAMES = ["anat", "func.mean", "@flat", "anat.@x", "T1w"]
# Where sinks go, or near it: what strangers have there at first, and write later.
FOLDERS = ["base/anat", "base/T1w", "base/func/mean", "base"]
OLD = [f"{folder}/{name}/old" for folder in FOLDERS for name in ["d", "links"]]
OLD += ["base/anat/d.old", "base/anat/a.txt"]
PLACES = [*OLD, "base/anat", "base/anat/d/x", "base/anat/pair.hdr", "base/c/anat/a.txt"]
# No part of a base directory: substitutions change whole paths.
LITERAL = [("_run_", "run-"), ("/anat/", "/T1w/"), ("a.txt", "e/a"), ("pair", "T1"), ("links", "L")]
REGULAR = [(r"_run_(\d)", r"r\1"), (r"/([^/]+)\.txt$", r"/\1/text"), ("/c/", "/"), ("//+", "/")]

_leaf = st.sampled_from(SUNK)
_leaves = st.lists(_leaf, min_size=1, max_size=3)
_odd = st.sampled_from(["", {"a": 1}, "sub01", [[]]])
_nested = _leaves.map(lambda some: [some[:1], [], some[1:]])
_values = st.integers(0, 19).flatmap(lambda n: st.one_of(_leaf, _leaves, _nested) if n else _odd)


def _some(rules: list[Any]) -> Any:
    some = st.lists(st.sampled_from(rules), min_size=1, max_size=2).map(tuple)
    return st.one_of(st.just(()), some)


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
    local_hardlink=st.booleans(),
    skip_missing=st.booleans(),
    encrypt=st.booleans(),
    transport=st.sampled_from(["classic", "crt"]),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "remove_dest_dir": st.booleans(),
        "skip_missing": st.booleans(),
        "local_hardlink": st.booleans(),
        "encrypt": st.booleans(),
        "transport": st.sampled_from(["classic", "crt"]),
    },
)
LAST_OR = SINKS | SINKS | st.none()
CALLS = ["open", "replace", "mkdir", "fstat", "open", "replace", "link", "copy_file_range", "lstat"]
CALLS += ["lstat", "stat", "write", "listdir", "unlink", "rmdir", "scandir", "readlink"]
MOMENTS = st.tuples(st.sampled_from(CALLS), st.integers(0, 5))

Acted = list[int]


@contextmanager
def at_call(moment: tuple[str, int], act: Callable[[], None], *, lasting: bool) -> Iterator[Acted]:
    """Let `act` happen before a certain call of a function of `os`, and those after it.

    Only calls of the library count. Yields how often it happened.
    """
    name, after = moment
    real, numbers, acted = getattr(os, name), itertools.count(), [0]

    def call(*args: Any, **kwargs: Any) -> Any:
        cleans = name == "unlink" and ".datasink-" in str(args[0])  # what stays then may stay
        if by_library() and not cleans:
            number = next(numbers)
            if number == after or (lasting and number > after):
                acted[0] += 1
                act()
        return real(*args, **kwargs)

    setattr(os, name, call)
    try:
        yield acted
    finally:
        setattr(os, name, real)


def by_library() -> bool:
    """Return whether the library has called what called this, `os.path` in between left aside."""
    frame: Any = sys._getframe(2)
    while frame.f_globals["__name__"] in ("genericpath", "posixpath"):
        frame = frame.f_back
    return frame.f_globals["__name__"].startswith(("nipype_datasink", "tests.seeds"))


class DirectoryMachine(RuleBasedStateMachine):
    """Sinks into a directory; each step is checked."""

    counts: ClassVar[Counter[str]] = Counter()
    disk: ClassVar[Path | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.counts["sequences"] += 1
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="model-", dir=memory)).resolve()
        self.out = Path(tempfile.mkdtemp(dir=self.disk or self.root))
        self.before = os.getcwd()
        os.chdir(self.root)
        self.sources: dict[str, Any] = {}
        for name, entry in SOURCES.items():
            self.set_source(name, entry)
        self.last = Sink({})
        self.prepare()
        for path in OLD:
            self.put(path, b"old")

    def prepare(self) -> None:
        """Make what the places need."""

    def teardown(self) -> None:
        """Let the last sink run without trouble."""
        try:
            self.run(self.last)
        finally:
            os.chdir(self.before)
            shutil.rmtree(self.root)
            shutil.rmtree(self.out, ignore_errors=True)

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[None]:
        """Have what machines of this class need."""
        yield

    # What sources and destinations hold.

    def set_source(self, name: str, entry: Any) -> None:
        """Put something in the place of a source, and of what would be around or below it."""
        for path in {name, *self.sources}:
            if f"{path}/".startswith(f"{name}/") or name.startswith(f"{path}/"):
                self.sources.pop(path, None)
                remove(self.root / path)
        if entry is not None:
            self.sources[name] = entry
            write(self.root / name, self.on_disk_as(entry))
        for folder in above(name):
            if os.path.isdir(folder) and folder not in self.sources and not os.listdir(folder):
                os.rmdir(folder)

    def on_disk_as(self, entry: Any) -> Any:
        return Link(str(self.root / entry.target)) if isinstance(entry, Link) else entry

    def address(self, path: str) -> str:
        """Return a destination as `out_file` has it."""
        return f"{self.out}/{path}"

    def look(self) -> tuple[dict[str, bytes], set[str]]:
        """Return all files by destination, and all folders."""
        files, folders = read_tree(self.out)
        return {self.same(path): files[path] for path in files}, set(map(self.same, folders))

    def put(self, path: str, data: bytes | None) -> None:
        """Write or delete a destination, as a stranger; do nothing where folders are in the way."""
        if any((self.out / folder).is_file() for folder in above(path)):
            return
        remove(self.out / path)
        if data is not None:
            write(self.out / path, data)

    @staticmethod
    def same(path: str) -> str:
        return path

    @staticmethod
    def has_folders(place: str) -> bool:
        return True

    # What happens.

    @rule(name=st.sampled_from(TOPS), entry=st.sampled_from(INSTEAD), restore=st.booleans())
    def change_source(self, name: str, entry: Any, restore: bool) -> None:
        self.counts["change_source"] += 1
        if restore:
            for each in SOURCES:
                self.set_source(each, SOURCES[each])
        self.set_source(name, entry)

    @rule(
        index=st.integers(0, 19),
        beside=st.sampled_from(["", "x", "old", "old", "../d.old", "inside"]),
        data=st.sampled_from([None, b"x", b"longer"]),
    )
    def change_destination(self, index: int, beside: str, data: bytes | None) -> None:
        """Write, replace, delete or block one of the files, or a file beside it, as a stranger."""
        self.counts["change_destination"] += 1
        files = sorted(read_places(self)) or PLACES
        path = files[index % len(files)]
        if beside == "inside":
            self.put(path, None)
            path = f"{path}/inside"
        elif beside:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), beside))
        self.put(path, data)

    @rule(sink=SINKS)
    def sink(self, sink: Sink) -> None:
        self.counts["sink"] += 1
        self.run(sink)

    @rule(change=CHANGES)
    def sink_again(self, change: Mapping[str, Any]) -> None:
        self.counts["sink_again"] += 1
        self.run(replace(self.last, **change))

    @rule(
        sink=LAST_OR,
        moment=MOMENTS,
        error=st.sampled_from(["ENOSPC", "EIO", "EACCES"]),
        lasting=st.booleans(),
    )
    def sink_with_fault(
        self, sink: Sink | None, moment: tuple[str, int], error: str, lasting: bool
    ) -> None:
        self.counts["sink_with_fault"] += 1
        number = getattr(errno, error)

        def fail() -> None:
            raise OSError(number, os.strerror(number))

        self.run(sink or self.last, at_call(moment, fail, lasting=lasting))

    @rule(
        sink=LAST_OR,
        moment=MOMENTS,
        name=st.sampled_from(list(SOURCES)),
        data=st.sampled_from(BYTES),
    )
    def source_changes_meanwhile(
        self, sink: Sink | None, moment: tuple[str, int], name: str, data: bytes
    ) -> None:
        self.counts["source_changes_meanwhile"] += 1
        if isinstance(self.sources.get(name), bytes):
            act = lambda: self.set_source(name, data)  # noqa: E731
            self.run(sink or self.last, at_call(moment, act, lasting=False))

    @rule(
        sink=LAST_OR,
        moment=MOMENTS,
        path=st.sampled_from(PLACES),
        data=st.sampled_from([None, *BYTES]),
    )
    def stranger_meanwhile(
        self, sink: Sink | None, moment: tuple[str, int], path: str, data: bytes | None
    ) -> None:
        self.counts["stranger_meanwhile"] += 1
        if path not in self.look()[1]:
            act = lambda: self.put(path, data)  # noqa: E731
            self.run(
                sink or self.last,
                at_call(moment, act, lasting=False),
                {self.same(path): data},
            )

    # A run, and what it is compared with.

    def run(self, sink: Sink, trouble: Any = None, strangers: Mapping[str, Any] = {}) -> Any:
        """Run a sink; compare what is there and what it reports with what the model says."""
        self.last = sink
        before, folders = self.look()
        want = self.promise(sink, before, folders)
        if not (trouble or want.refusals or want.beyond_nipype):
            assert self.run_nipype(sink, before) == (want.after(before), want.out_file), "the model"
        made, error, out_file = self.make(DataSink, sink, self.address("base")), None, []
        with trouble or nullcontext([0]) as acted:
            made.inputs.trait_set(**self.own_inputs(sink))
            try:
                out_file = made.run().outputs.out_file
            except Exception as caught:  # noqa: BLE001
                error = caught
        after, _ = self.look()
        self.counts[f"ends: {type(error).__name__}{', in trouble' if acted[0] else ''}"] += 1
        if acted[0]:
            want = either(want, self.promise(sink, before, folders), before, after)
            leave_to_strangers(strangers, want, before, after)
        check(sink, want, before, after, error, in_trouble=acted[0] > 0)
        if error is None:
            assert out_file == [self.address(path) for path in want.out_file]
        elif isinstance(error, DeliveryError):
            said = {path: said for path, said in self.said(error).items() if path not in strangers}
            check_outcomes(want, before, after, said)
        for name, entry in self.sources.items():
            assert read(self.root / name) == self.on_disk_as(entry), (
                f"the source {name} was changed"
            )
        return want, error

    def promise(self, sink: Sink, before: Mapping[str, bytes], folders: set[str]) -> Promise:
        return promise(
            sink, self.sources, before, folders, same=self.same, has_folders=self.has_folders
        )

    def said(self, error: DataSinkError) -> dict[str, Status]:
        """Return what an error says of each destination."""
        said = {}
        for outcome in error.outcomes:
            path = outcome.transfer.destination
            assert outcome.status.arrived or path in str(error)
            place = next(each for each in ("base", "copy") if path.startswith(self.address(each)))
            said[self.same(place + path.removeprefix(self.address(place)))] = outcome.status
        return said

    def make(self, kind: Any, sink: Sink, base: str) -> Any:
        made = kind(base_directory=base, container=sink.container)
        made.inputs.parameterization = sink.parameterization
        made.inputs.remove_dest_dir = sink.remove_dest_dir
        made.inputs.substitutions = list(sink.substitutions)
        made.inputs.regexp_substitutions = list(sink.regexp_substitutions)
        if sink.strip_dir:
            made.inputs.strip_dir = sink.strip_dir
        for name, value in sink.fields.items():
            setattr(made.inputs, name, value)
        return made

    def own_inputs(self, sink: Sink) -> dict[str, Any]:
        """Return inputs that nipype's class does not have, or not in this meaning."""
        inputs: dict[str, Any] = {"local_hardlink": sink.local_hardlink}
        if sink.local_copy:
            inputs["local_copy"] = f"{self.out}/copy"
        if sink.skip_missing:
            inputs["sink_missing"] = "skip"
        return inputs

    def run_nipype(self, sink: Sink, before: Mapping[str, bytes]) -> Any:
        """Return what nipype's class makes of a copy of what is there, and what it reports."""
        root = self.root / "nipype"
        for path, data in before.items():
            write(root / path, data)
        out_file = self.make(NipypeDataSink, sink, f"{root}/base").run().outputs.out_file
        files, _ = read_tree(root)
        shutil.rmtree(root, ignore_errors=True)
        return files, [path.removeprefix(f"{root}/") for path in out_file]


class FoldingMachine(DirectoryMachine):
    """Sinks into a directory whose file system ignores case."""

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as directory:
            real, mount = Path(directory, "real"), Path(directory, "mount")
            real.mkdir()
            mount.mkdir()
            with fuse.mounted(real, mount, "inodes"):
                cls.disk = mount
                yield

    @staticmethod
    def same(path: str) -> str:
        return path.casefold()

    def run_nipype(self, sink: Sink, before: Mapping[str, bytes]) -> Any:
        want = self.promise(sink, before, set())
        return want.after(before), want.out_file


class BucketMachine(DirectoryMachine):
    """Sinks into a bucket, with their copies on disk."""

    prefixes = itertools.count()
    bucket: ClassVar[Bucket]
    proxy: ClassVar[Proxy]
    store: ClassVar[str] = ""

    def prepare(self) -> None:
        self.prefix = f"{os.getpid()}/{next(self.prefixes)}"
        self.endpoint = self.store

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.bucket.objects.filter(Prefix=f"{self.prefix}/").delete()

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[None]:
        with ExitStack() as stack:
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            environment.setenv("AWS_ACCESS_KEY_ID", stores.ACCESS_KEY)
            environment.setenv("AWS_SECRET_ACCESS_KEY", stores.SECRET_KEY)
            environment.setenv("AWS_MAX_ATTEMPTS", "1")
            own = cls.store or stack.enter_context(stores.moto())
            cls.proxy = stack.enter_context(stores.faulty(own))
            resource = boto3.resource("s3", endpoint_url=own, region_name="us-east-1")
            cls.bucket = resource.create_bucket(Bucket="mybucket")
            environment.setattr(cls, "store", own)
            yield

    def address(self, path: str) -> str:
        if self.has_folders(path.split("/", maxsplit=1)[0]):
            return super().address(path)
        return f"s3://mybucket/{self.prefix}/{path}"

    @staticmethod
    def has_folders(place: str) -> bool:
        return place != "base"

    def look(self) -> tuple[dict[str, bytes], set[str]]:
        files, folders = super().look()
        for item in self.bucket.objects.filter(Prefix=f"{self.prefix}/"):
            data = _BY_ETAG.get(item.e_tag.strip('"'))
            path = item.key.removeprefix(f"{self.prefix}/")
            files[path] = item.get()["Body"].read() if data is None else data
        return files, folders

    def put(self, path: str, data: bytes | None) -> None:
        if self.has_folders(path.split("/", maxsplit=1)[0]):
            super().put(path, data)
        elif data is None:
            self.bucket.Object(f"{self.prefix}/{path}").delete()
        else:
            self.bucket.put_object(Key=f"{self.prefix}/{path}", Body=data)

    def own_inputs(self, sink: Sink) -> dict[str, Any]:
        return {
            **super().own_inputs(sink),
            "s3_endpoint_url": self.endpoint,
            "s3_transfer_client": sink.transport,
            "encrypt_bucket_keys": sink.encrypt,
        }

    def run(self, sink: Sink, trouble: Any = None, strangers: Mapping[str, Any] = {}) -> Any:
        want, error = super().run(sink, trouble, strangers)
        uploads = self.bucket.meta.client.list_multipart_uploads(Bucket="mybucket")
        assert not uploads.get("Uploads")
        if sink.encrypt and not trouble and error is None:
            for path in filter(lambda path: path.startswith("base/"), want.files):
                assert self.bucket.Object(f"{self.prefix}/{path}").server_side_encryption
        return want, error

    @rule(
        sink=LAST_OR,
        kind=st.sampled_from([kind.name for kind in Fault if kind is not Fault.TRICKLE]),
        only=st.sampled_from(["", "GET", "PUT", "POST", "HEAD"]),
        after=st.integers(0, 4),
        lasting=st.booleans(),
    )
    def sink_over_fault(
        self, sink: Sink | None, kind: str, only: str, after: int, lasting: bool
    ) -> None:
        self.counts["sink_over_fault"] += 1
        sink = sink or self.last
        # The runtime tries again six times, which takes ten seconds.
        most = 100 if lasting and sink.transport == "classic" else 1
        faults = Faults(kinds=(Fault[kind],), only=only, after=after, most=most, pause=0.01)
        self.run(sink, self.faulty(faults))

    @contextmanager
    def faulty(self, faults: Faults) -> Iterator[Acted]:
        self.proxy.set(faults)
        self.endpoint, acted = self.proxy.address, [0]
        try:
            yield acted
        finally:
            acted[0] = self.proxy.hits().total()
            self.endpoint = self.store


_BY_ETAG = {
    hashlib.md5(data).hexdigest(): data
    for data in [b"old", *BYTES, *SOURCES.values()]
    if isinstance(data, bytes)
}


def read_places(machine: DirectoryMachine) -> set[str]:
    """Return what a stranger finds, spelled as it is stored."""
    return {
        *read_tree(machine.out)[0],
        *(machine.look()[0] if isinstance(machine, BucketMachine) else ()),
    }


def either(
    want: Promise, then: Promise, before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> Promise:
    """Return what is to be there where a source may have been read before or after a change."""
    for path in want.files.keys() & then.files.keys():
        if after.get(path) == then.files[path]:
            want.files[path] = then.files[path]
    want.refusals |= then.refusals
    return want


def leave_to_strangers(
    strangers: Mapping[str, Any], want: Promise, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """Check what a stranger has written during the run; leave it out of the rest."""
    for path, data in strangers.items():
        allowed = [data, want.files.get(path), before.get(path)]
        assert after.pop(path, None) in allowed + [None] * (path not in want.files)
        before.pop(path, None)
        want.files.pop(path, None)


def check(
    sink: Sink,
    want: Promise,
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    error: Any,
    *,
    in_trouble: bool,
) -> None:
    """Compare what is there and how a run has ended with the model."""
    if error is None:
        assert in_trouble or not want.refusals, "it should have been refused"
        assert not want.missing or sink.skip_missing, "what is missing was not reported"
        assert after == want.after(before)
        return
    expected = tuple(want.refusals) or MissingSourceError
    if not isinstance(error, (DataSinkError, OSError) if in_trouble else expected):
        raise AssertionError(f"unexpected error: {error!r}") from error
    if isinstance(error, MissingSourceError):
        assert want.missing
        assert not sink.skip_missing
        assert after == {**before, **want.files}
        assert all(outcome.status.arrived for outcome in error.outcomes)
    elif not isinstance(error, DeliveryError):
        assert after == before, "it was refused, but something was written"


def check_outcomes(
    want: Promise,
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    said: Mapping[str, Status],
) -> None:
    """Compare what an error says of each file with what is there."""
    assert want.files.keys() <= said.keys()
    for path, status in said.items():
        old, new = before.get(path), want.files.get(path)
        allowed = {Status.NOT_TRIED: [old], Status.FAILED: [old, new]}.get(status, [new])
        assert after.get(path) in allowed, f"{path} is {status.value}"
    may_go = want.removed if all(said[path].arrived for path in want.files) else set()
    for path in {*before, *after} - said.keys():
        assert after.get(path) == before.get(path) or (path in may_go and path not in after), path


def read_tree(root: Path) -> tuple[dict[str, bytes], set[str]]:
    """Return the files below a directory, and the folders."""
    files, folders = dict[str, bytes](), set[str]()
    for folder, inner, names in os.walk(root):
        here = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
        folders |= {here + name for name in inner}
        files |= {here + name: Path(folder, name).read_bytes() for name in names}
    return files, folders


def read(path: Path) -> Any:
    if path.is_symlink():
        return Link(os.readlink(path))
    if path.is_dir():
        return Kind.FOLDER
    return Kind.PIPE if path.is_fifo() else path.read_bytes()


def write(path: Path, entry: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(entry, Link):
        path.symlink_to(entry.target)
    elif entry is Kind.FOLDER:
        path.mkdir()
    elif entry is Kind.PIPE:
        os.mkfifo(path)
    else:
        path.write_bytes(entry)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def explore(machine: type[DirectoryMachine], sequences: int, **more: Any) -> Counter[str]:
    """Run random sequences of 15 steps; return how often each rule was drawn."""
    machine.counts.clear()
    chosen = settings(
        max_examples=sequences,
        stateful_step_count=15,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    logger = logging.getLogger("nipype.interface")
    before = logger.level
    logger.setLevel("CRITICAL")
    try:
        with machine.prepared():
            run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:
        print(script(machine, error))
        raise
    finally:
        logger.setLevel(before)
    return +machine.counts


def drawn(machine: type[DirectoryMachine]) -> dict[str, int]:
    """Return how often each rule was drawn in the last exploration."""
    return {name: machine.counts[name] for name, _ in inspect.getmembers(machine, _is_rule)}


def _is_rule(member: object) -> bool:
    return hasattr(member, "hypothesis_stateful_rule")


def plant(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a fault into the library."""
    for path, replacement in seed.replacements.items():
        raising = not path.endswith(".all")  # the builtin, which a name of the module hides
        monkeypatch.setattr(f"nipype_datasink.{path}", replacement, raising=raising)


def script(machine: type[DirectoryMachine], error: BaseException) -> str:
    """Return a program that does what a failed sequence did."""
    notes = "\n".join(getattr(error, "__notes__", []))
    begin, end = "state = ", "state.teardown()"
    steps = begin + notes.partition(begin)[2].rpartition(end)[0] + end
    return (
        "from tests.test_model import *\n\n"
        f"with {machine.__name__}.prepared():\n{textwrap.indent(steps, '    ')}\n"
    )


@pytest.mark.parametrize(
    ("machine", "sequences"),
    [(DirectoryMachine, 60), (FoldingMachine, 2), (BucketMachine, 4)],
    ids=["directory", "ignored case", "bucket"],
)
def test_sequences_end_as_the_model_says(
    machine: type[DirectoryMachine], sequences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if machine is FoldingMachine and (why := fuse.unavailable_reason()):
        pytest.skip(why)
    counts = explore(machine, sequences, derandomize=True)
    assert counts["sequences"] >= sequences
    assert sum(drawn(machine).values()) >= 8 * sequences


def test_a_counterexample_is_printed_as_a_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(os.getcwd())
    plant(SEEDS["missing sources are not named"], monkeypatch)
    with pytest.raises(AssertionError, match="what is missing was not reported"):
        explore(DirectoryMachine, 100, derandomize=True, phases=[Phase.generate])
    program = capsys.readouterr().out.partition("from tests")
    names: dict[str, Any] = {}
    try:
        with pytest.raises(AssertionError, match="what is missing was not reported"):
            exec("".join(program[1:]), names)
    finally:
        shutil.rmtree(names["state"].root)
