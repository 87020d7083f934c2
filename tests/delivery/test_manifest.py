"""The text of manifests, their names, and lines for sha256sum."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nipype_datasink.delivery.manifest import (
    COLUMNS,
    ManifestRow,
    checksum_lines,
    from_text,
    is_manifest_name,
    manifest_name,
    newest_rows,
    to_text,
)
from nipype_datasink.errors import ManifestError

SHA256 = hashlib.sha256(b"x").hexdigest()
ROW = ManifestRow(
    destination="/out/x/a.nii",
    size=1,
    sha256=SHA256,
    etag="",
    status="new",
    verified=True,
    field="x",
    source="/work/a.nii",
    node="study/datasink",
    time="2026-11-26T10:00:00.250Z",
    base="/out",
)

# Bytes that are not UTF-8 become half characters (surrogates); these are names of real files.
NAMES = st.binary(max_size=12).map(os.fsdecode) | st.text("\\tnr\t\n\r\x85\u2028 é", max_size=8)
TEXTS = {name: NAMES for name in COLUMNS if name not in ("size", "sha256", "verified")}
TEXTS["destination"] = NAMES.map(lambda name: "/" + name.replace("\0", "0") + "x")
ROWS = st.builds(
    ManifestRow,
    size=st.none() | st.integers(0, 1 << 60),
    sha256=st.sampled_from(["", SHA256]),
    verified=st.booleans(),
    **TEXTS,
)


@settings(max_examples=60)
@example([replace(ROW, destination="/\\t\t\n\r\\")])
@given(st.lists(ROWS, max_size=3))
def test_rows_are_the_same_after_writing_and_reading(rows: list[ManifestRow]) -> None:
    text = to_text(rows)

    assert from_text(text) == rows
    assert text.count("\n") == len(rows) + 1
    assert {line.count("\t") for line in text.split("\n")[:-1]} == {len(COLUMNS) - 1}
    assert "\r" not in text


def test_a_manifest_is_a_table_with_the_names_of_its_columns() -> None:
    assert to_text([ROW]).splitlines() == [
        "destination\tsize\tsha256\tetag\tstatus\tverified\tfield\tsource\tnode\ttime\tbase",
        f"/out/x/a.nii\t1\t{SHA256}\t\tnew\ttrue\tx\t/work/a.nii\tstudy/datasink\t"
        "2026-11-26T10:00:00.250Z\t/out",
    ]


def test_columns_may_be_added_and_in_any_order() -> None:
    lines = [line.split("\t") for line in to_text([ROW]).splitlines()]
    text = "".join(
        "\t".join([more, *reversed(line)]) + "\n" for more, line in zip("ab", lines, strict=True)
    )
    assert from_text(text) == [ROW]


def test_a_name_that_no_file_can_have_can_be_written() -> None:
    (row,) = from_text(to_text([replace(ROW, source="/work/\ud800")]))
    assert row.source == r"/work/\ud800"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a manifest"),
        ("subject\tage\n1\t2\n", "not a manifest: the columns"),
        (to_text([ROW])[:-1], "incomplete"),
        (to_text([])[:-1], "incomplete"),
        (to_text([]) + "/a\n", "line 2"),
        (to_text([ROW]) + to_text([ROW])[:-9] + "\n", "line 3"),
        (to_text([ROW]).replace("/out/x", r"/out\q"), r"'\\\\q' is not an escape"),
        (to_text([ROW]).replace("\t1\t", "\tone\t"), "line 2"),
        (to_text([ROW]).replace(SHA256, SHA256[1:]), "is not a SHA-256"),
        (to_text([replace(ROW, destination="x")]), "is not a path or an s3:// address"),
        (to_text([replace(ROW, destination="s3://bucket")]), "is not a path or an s3:// address"),
        (to_text([replace(ROW, destination="/out/\0")]), "is not a path or an s3:// address"),
    ],
)
def test_other_texts_are_rejected(text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        from_text(text)


def test_names_of_manifests_are_short_and_simple() -> None:
    name = manifest_name("a b/" + "é" * 300, "/out")
    assert len(name.encode()) <= 143
    assert name.isascii()
    assert is_manifest_name(name)
    assert is_manifest_name(manifest_name("", "/out", ""))
    assert not manifest_name(".hidden", "/out").startswith(".")
    assert not is_manifest_name("participants.tsv")


def test_sinks_have_different_manifests() -> None:
    sinks = [("a/b", "/out", "c"), ("a.b", "/out", "c"), ("a/b", "/out/c", ""), ("a/b", "/out", "")]
    assert len({manifest_name(*sink) for sink in sinks}) == len(sinks)


def test_of_a_destination_the_row_of_the_last_sink_counts() -> None:
    later = replace(ROW, size=2, time="2026-11-26T10:00:00.251Z")
    skipped = replace(ROW, status="missing", sha256="", size=None, time="2026-11-27T10:00:00.000Z")
    other = replace(ROW, destination="/out/x/b.nii")
    assert newest_rows([[skipped], [later, other], [ROW], [skipped]]) == [later, other]
    assert newest_rows([[ROW], [later]]) == [later]
    assert newest_rows([[skipped], []]) == []


def test_checksum_lines_are_those_of_the_first_base() -> None:
    rows = [
        replace(ROW, status="missing", sha256="", size=None),
        ROW,
        replace(ROW, destination="/copy/x/a.nii", base="/copy"),
        replace(ROW, destination="/elsewhere/b"),
    ]
    assert list(checksum_lines(rows)) == [f"{SHA256}  x/a.nii\n", f"{SHA256}  /elsewhere/b\n"]


def test_sha256sum_reads_the_lines(tmp_path: Path) -> None:
    names = [
        "a",
        " b ",
        "-c",
        "back\\slash",
        "line\nfeed",
        "x\ty",
        "é",
        "\\n",
        os.fsdecode(b"\xff"),
    ]
    rows = []
    for name in names:
        (tmp_path / name).write_text("x")
        rows.append(replace(ROW, destination=str(tmp_path / name), base=str(tmp_path)))
    lines = list(checksum_lines(rows))
    (tmp_path / "sums").write_bytes("".join(lines).encode("utf-8", "surrogateescape"))

    own = subprocess.run(["sha256sum", "--", *names], cwd=tmp_path, capture_output=True, check=True)
    assert "".join(lines).encode("utf-8", "surrogateescape") == own.stdout
    command = ["sha256sum", "--check", "--strict", "--quiet", "sums"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / names[0]).write_text("y")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1
