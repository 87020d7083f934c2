"""Unusual names and settings: each file is stored under the right key, or an error names it.

Each store rejects some names that AWS accepts: moto those with a line feed, SeaweedFS those with a
backslash, and those with more than 255 bytes between two slashes. Therefore SeaweedFS gets the
names with a line feed, and moto all others.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nipype_datasink import CollisionError, DataSink, DestinationError
from tests import stores
from tests.integration.conftest import Count, Record

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

ROOT = "s3://mybucket"
LONGEST_NAME = 255  # bytes, on disk
LONGEST_KEY = 1024  # bytes
MAX_IMPOSSIBLE_PERCENT = 30, 70  # percent of all cases; more in a short run, whose cases vary more

LEAVES = "leaves the bucket"
EMPTY_KEY = "key is empty"
NOT_UTF_8 = "not UTF-8"
TOO_LONG = "longer than 1,024 bytes"
SHARED = "the place, or the folder, of another file"
IMPOSSIBLE = (LEAVES, EMPTY_KEY, NOT_UTF_8, TOO_LONG, SHARED)

Texts = st.SearchStrategy[str]
Pairs = list[tuple[str, str]]

_TRICKY = [
    *("%", "%2F", "%00", "+", " ", "  ", "a b", "a+b", "&", "=", "?", "#", ";", ":", "@", "~", "*"),
    *("\n", "\r", "\t", "\x01", "\x1b", "\x7f", "\x85", "\u2028", "\ufffe", "\uffff"),
    *("ä", "a\u0308", "\u0130", "\u202e", "脳", "🧠", "\u200b", "\\", '"', "'", "<", ">", "&amp;"),
    *("..a", "a..", "...", ".", "..", "a.nii", "a.nii.gz", "a.img", "con", "-", "_x", ".hidden"),
]
_text = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=12)
_bytes = st.binary(min_size=1, max_size=6).map(os.fsdecode)
_part = st.lists(st.one_of(st.sampled_from(_TRICKY), _text), min_size=1, max_size=4).map("".join)
_long = st.builds(
    lambda letter, times: letter * times, st.sampled_from("xä脳"), st.integers(60, 255)
)


def _fits(name: str) -> bool:
    whole = len(os.fsencode(name)) <= LONGEST_NAME
    return whole and name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _mostly(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> Any:
    """Draw one of ten values from `rare`."""
    return st.sampled_from([usual] * 9 + [rare]).flatmap(lambda chosen: chosen)


_name: Texts = _mostly(_part, st.one_of(_long, _bytes)).filter(_fits)
_beginning = st.builds(lambda name, more: [name, name + more], _name, _part)
_folders: Texts = _mostly(
    st.lists(_mostly(_part, st.one_of(_long, st.sampled_from(["", ".", ".."]))), max_size=6),
    st.lists(_long, min_size=3, max_size=6),
).map("/".join)
_old = st.one_of(st.sampled_from(_TRICKY), _text, _part.map("/{}".format))
_new = _mostly(_part, st.sampled_from(["", "/", "//", "/./", "../..", "\udcff"]))
_literal: st.SearchStrategy[Pairs] = st.lists(st.tuples(_old, _new), max_size=2)
_escaped = st.tuples(_old.map(re.escape), _new.map(lambda new: new.replace("\\", r"\\")))
_wild = st.sampled_from(
    [("/.*", ""), ("/.*", "/one"), ("[^/]*$", "one"), ("/", "/../"), ("(.)$", r"\1/../..")]
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Names of files in one folder, and the settings that decide their destinations."""

    names: list[str]
    folder: str
    prefix: str
    container: str
    field: str
    strip: str
    literal: Pairs
    regular: Pairs

    @property
    def inputs(self) -> dict[str, Any]:
        return {
            "base_directory": f"{ROOT}/{self.prefix}",
            "container": self.container,
            "strip_dir": self.strip,
            "substitutions": self.literal,
            "regexp_substitutions": self.regular,
        }

    @property
    def base(self) -> str:
        return resolved(f"{resolved(self.prefix)}/{self.container}")

    def destination(self, name: str) -> str:
        """Return the destination of a file below the bucket, computed independently."""
        fields = [part for part in self.field.split(".") if not part.startswith("@")]
        run = self.folder.replace(self.strip, "")
        parts = [self.base, *fields, run if run.startswith("_") else "", name]
        path = "".join(f"/{part}" for part in parts if part)
        for old, new in self.literal:
            path = with_slash(path.replace(old, new))
        for old, new in self.regular:
            path = with_slash(re.sub(old, new, path))
        return path

    def key(self, name: str) -> bytes:
        return os.fsencode(resolved(self.destination(name)))

    def why_impossible(self, name: str) -> str:
        """Return why AWS cannot store the object; "" if it can."""
        try:
            key = self.key(name)
            key.decode()
        except IndexError:
            return LEAVES
        except UnicodeDecodeError:
            return NOT_UTF_8
        return TOO_LONG if len(key) > LONGEST_KEY else "" if key else EMPTY_KEY

    def why_together(self) -> str:
        """Return why the files cannot be stored together; "" if they can."""
        keys = [self.key(name) for name in self.names]
        folders = {folder for key in keys for folder in folders_of(key)}
        return SHARED if len(set(keys)) < len(keys) or not folders.isdisjoint(keys) else ""


def with_slash(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def resolved(path: str) -> str:
    """Resolve a path as a file system does; raise IndexError if it leaves the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def folders_of(key: bytes) -> Iterator[bytes]:
    while b"/" in key:
        key = key.rpartition(b"/")[0]
        yield key


def _is_possible(case: Case) -> bool:
    return all(map(_fits, [*case.names, case.folder])) and len({*case.names}) == len(case.names)


CASES = st.builds(
    Case,
    names=_mostly(st.lists(_name, min_size=1, max_size=3, unique=True), _beginning),
    folder=_mostly(st.just("in"), st.builds("{}_{}".format, st.sampled_from(["", "in"]), _part)),
    prefix=_mostly(st.sampled_from(["", "out", "a b/%41"]), _folders),
    container=_folders,
    field=st.lists(st.sampled_from(["a", "@b", "", "ab", "c d", "ä", "%41"]), max_size=3).map(
        lambda parts: ".".join(["x", *parts])
    ),
    strip=st.sampled_from(["in", "in\n", " ", "%2F", "脳"]),
    literal=_literal,
    regular=st.lists(_mostly(_escaped, _wild), max_size=2),
).filter(_is_possible)


@pytest.fixture(scope="module")
def moto() -> Iterator[Bucket]:
    with stores.moto() as address:
        resource = boto3.resource(
            "s3",
            endpoint_url=address,
            aws_access_key_id=stores.ACCESS_KEY,
            aws_secret_access_key=stores.SECRET_KEY,
            region_name="us-east-1",
        )
        yield resource.create_bucket(Bucket="mybucket")


def test_unusual_names_and_settings(
    *,
    moto: Bucket,
    bucket: Bucket,
    transport: str,
    count: Count,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The log may hold names that are not UTF-8, which test reports cannot show.
    caplog.set_level(logging.ERROR, logger="nipype.interface")
    cases: Counter[str] = Counter()

    @settings(max_examples=count(5_000, 500), suppress_health_check=list(HealthCheck))
    @given(CASES)
    def check(case: Case) -> None:
        whys = {name: case.why_impossible(name) for name in case.names}
        why = next(filter(None, whys.values()), "") or case.why_together()
        with tempfile.TemporaryDirectory() as directory:
            sink = sink_of(case, Path(directory) / case.folder)
            sink.inputs.s3_transfer_client = transport
            with empty_after_error(moto, bucket):
                if not why:
                    check_stored(sink, case, moto, bucket)
                elif why == SHARED:
                    check_error(sink, moto, CollisionError, [directory])
                else:
                    impossible = [
                        destination_in_error(case, name) for name in case.names if whys[name]
                    ]
                    check_error(sink, moto, DestinationError, impossible)
        cases[why or "stored"] += 1

    check()
    impossible = cases.total() - cases["stored"]
    record(
        f"Unusual names and settings, {transport}",
        {"cases": cases.total(), **dict(sorted(cases.items()))},
    )
    assert sum(cases[why] > 0 for why in IMPOSSIBLE) >= count(len(IMPOSSIBLE), 1)
    assert impossible * 100 < count(*MAX_IMPOSSIBLE_PERCENT) * cases.total()


@contextmanager
def empty_after_error(*buckets: Bucket) -> Iterator[None]:
    """Empty the buckets after an error, so that the next case does not fail, too."""
    try:
        yield
    except BaseException:
        for bucket in buckets:
            bucket.objects.all().delete()
        raise


def sink_of(case: Case, folder: Path) -> DataSink:
    folder.mkdir()
    for name in case.names:
        (folder / name).write_bytes(os.fsencode(name))
    sink = DataSink(**case.inputs)
    setattr(sink.inputs, case.field, [str(folder / name) for name in case.names])
    return sink


def destination_in_error(case: Case, name: str) -> str:
    """Return the text by which an error names the destination of a file."""
    try:
        return repr(ROOT + case.destination(name))
    except IndexError:
        return "leaves its bucket"


def merge_slashes(text: str) -> str:
    """Merge repeated slashes, which substitutions may leave."""
    return re.sub("/+", "/", text)


def check_error(sink: DataSink, bucket: Bucket, kind: type[Exception], texts: list[str]) -> None:
    sink.inputs.s3_endpoint_url = bucket.meta.client.meta.endpoint_url
    with pytest.raises(kind) as caught:
        sink.run()
    message = merge_slashes(str(caught.value))
    assert all(merge_slashes(text) in message for text in texts)
    assert list(bucket.objects.all()) == []


def seaweedfs_accepts(key: bytes) -> bool:
    return b"\\" not in key and all(len(part) <= LONGEST_NAME for part in key.split(b"/"))


def check_stored(sink: DataSink, case: Case, moto: Bucket, seaweedfs: Bucket) -> None:
    wanted = {case.key(name): name for name in case.names}
    bucket = seaweedfs if any(b"\n" in key for key in wanted) else moto
    assume(bucket is moto or all(map(seaweedfs_accepts, wanted)))
    sink.inputs.s3_endpoint_url = bucket.meta.client.meta.endpoint_url
    try:
        reported: Any = sink.run().outputs.out_file
        listed = bucket.meta.client.list_objects_v2(Bucket=bucket.name).get("Contents", [])
        assert {item["Key"].encode() for item in listed} == set(wanted)
        assert {place.removeprefix(f"{ROOT}/").encode() for place in reported} == set(wanted)
        for key, name in wanted.items():
            body = bucket.Object(key.decode()).get()["Body"].read()
            assert body == os.fsencode(name)
        sink.run()
    finally:
        for key in wanted:
            bucket.Object(key.decode()).delete()
