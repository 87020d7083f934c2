"""Hostile names: what S3 can hold is stored and read back exactly, the rest is refused by name.

Each store here has names that AWS takes and it does not: moto those with a line feed, SeaweedFS
those with a backslash. So moto takes all, but SeaweedFS those with a line feed.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nipype_datasink import DataSink, DestinationError
from tests import stores
from tests.integration.conftest import Count, Record

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

LONGEST_NAME = 255  # bytes, on disk
REFUSED = ("leaves the bucket", "not UTF-8", "longer than 1,024 bytes")
Texts = st.SearchStrategy[str]

MOST_REFUSED = 0.3  # of all cases

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


def _mostly(usual: Texts, seldom: Texts) -> Texts:
    """Draw one in ten from `seldom`."""
    return st.sampled_from([usual] * 9 + [seldom]).flatmap(lambda chosen: chosen)


NAMES = _mostly(_part, st.one_of(_long, _bytes)).filter(_fits)
_folder = _mostly(_part, st.one_of(_long, st.sampled_from(["", ".", ".."])))
CONTAINERS = _mostly(
    st.lists(_folder, max_size=6).map("/".join),
    st.lists(_long, min_size=3, max_size=6).map("/".join),
)
FIELDS = st.lists(st.sampled_from(["a", "@b", "", "ab", "c d", "ä", "%41"]), max_size=3).map(
    lambda parts: ".".join(["x", *parts])
)


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


def key_of(container: str, field: str, name: str) -> bytes:
    """Return the key that a file system would make a path of; an oracle of its own."""
    parts: list[str] = []
    folders = [part for part in field.split(".") if part and not part.startswith("@")]
    for part in [*container.split("/"), *folders, name]:
        if part == "..":
            parts.pop()  # IndexError: out of the bucket
        elif part not in ("", "."):
            parts.append(part)
    return os.fsencode("/".join(parts))


def why_refused(container: str, field: str, name: str) -> str:
    """Say why AWS could hold no such object; "" if it could."""
    try:
        key = key_of(container, field, name)
    except IndexError:
        return REFUSED[0]
    try:
        key.decode()
    except UnicodeDecodeError:
        return REFUSED[1]
    return "" if len(key) <= 1024 else REFUSED[2]


def test_hostile_names(*, moto: Bucket, bucket: Bucket, count: Count, record: Record) -> None:
    cases: Counter[str] = Counter()

    @settings(max_examples=count(10_000, 300), suppress_health_check=list(HealthCheck))
    @given(st.lists(NAMES, min_size=1, max_size=3, unique=True), CONTAINERS, FIELDS)
    def check(names: list[str], container: str, field: str) -> None:
        store = bucket if "\n" in "".join([container, *names]) else moto
        assume(store is moto or "\\" not in "".join([container, *names]))
        with tempfile.TemporaryDirectory() as directory:
            paths = [Path(directory) / name for name in names]
            for path in paths:
                path.write_bytes(os.fsencode(path.name))
            sink = DataSink(base_directory="s3://mybucket", container=container)
            sink.inputs.s3_endpoint_url = store.meta.client.meta.endpoint_url
            setattr(sink.inputs, field, [str(path) for path in paths])
            why = next(filter(None, (why_refused(container, field, name) for name in names)), "")
            cases[why or "stored"] += 1
            if why:
                check_refusal(sink, store)
            else:
                check_stored(sink, store, {key_of(container, field, n): n for n in names})

    check()
    refused = cases.total() - cases["stored"]
    record("Hostile names", {"cases": cases.total(), **dict(cases)})
    assert sum(cases[why] > 0 for why in REFUSED) >= count(len(REFUSED), 1)
    assert refused < MOST_REFUSED * cases.total()


def check_refusal(sink: DataSink, bucket: Bucket) -> None:
    with pytest.raises(DestinationError) as caught:
        sink.run()
    assert "s3://mybucket" in str(caught.value)
    assert list(bucket.objects.all()) == []


def check_stored(sink: DataSink, bucket: Bucket, wanted: dict[bytes, str]) -> None:
    try:
        reported: Any = sink.run().outputs.out_file
        listed = bucket.meta.client.list_objects_v2(Bucket=bucket.name).get("Contents", [])
        assert {item["Key"].encode() for item in listed} == set(wanted)
        assert {place.removeprefix("s3://mybucket/").encode() for place in reported} == set(wanted)
        for key, name in wanted.items():
            body = bucket.Object(key.decode()).get()["Body"].read()
            assert body == os.fsencode(name)
        sink.run()
    finally:
        for key in wanted:
            bucket.Object(key.decode()).delete()
