"""Test that file names are shown with escapes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink import CollisionError, DataSink, DataSinkError, SourceError
from nipype_datasink.display import escaped, escaped_lines

UNSAFE_NAME = "a\nnipype INFO: all is well\x1b[2J\r\u202e"


@given(st.text())
def test_escaped_text_is_printable_and_encodable(text: str) -> None:
    shown = escaped(text)
    assert shown.isprintable()
    shown.encode()
    assert escaped(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sub-01/anat 1/Grüße.nii.gz", "sub-01/anat 1/Grüße.nii.gz"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u2028\u202e", r"\u2028\u202e"),
        (os.fsdecode(b"\xff"), r"\udcff"),
        ('it\'s "a"', 'it\'s "a"'),
    ],
)
def test_only_unprintable_characters_are_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_escaped_lines_keep_line_feeds() -> None:
    assert escaped_lines("a\x1b\nb\r") == "a\\x1b\nb\\r"


def unsafe_file(folder: Path, content: str = "x") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNSAFE_NAME).write_text(content)
    return str(folder / UNSAFE_NAME)


def test_names_are_escaped_in_errors_logs_and_plans(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = unsafe_file(workdir / "1"), unsafe_file(workdir / "2", "y")
    (workdir / "blocked" / "x" / UNSAFE_NAME).mkdir(parents=True)
    shown = [str(make_sink(workdir / "out", x=one).plan())]
    causes: list[tuple[type[DataSinkError], DataSink]] = [
        (CollisionError, make_sink(workdir / "out", x=[one, two])),
        (SourceError, make_sink(workdir / "out", **{f"x{UNSAFE_NAME}": 3})),
        (DataSinkError, make_sink(workdir / "out", x=f"{one}/gone")),
        (DataSinkError, make_sink(workdir / "blocked", x=one)),
    ]
    for kind, sink in causes:
        with pytest.raises(kind) as caught:
            sink.run()
        shown.append(str(caught.value))
    sink = make_sink(workdir / "out\x1b", x=one)
    sink.inputs.substitutions = [("/x/", "/z/")]
    sink.run()
    shown += [item.getMessage() for item in caplog.records]

    assert len(shown) > 5
    for text in shown:
        for character in "\x1b\r\u202e":
            assert character not in text, text
        assert not any(line.startswith("nipype INFO") for line in text.splitlines())
    assert sum("sub: " in item for item in shown) == 1


def make_sink(base: Path, **fields: object) -> DataSink:
    sink = DataSink(base_directory=str(base))
    for name, value in fields.items():
        setattr(sink.inputs, name, value)
    return sink


def test_plan_logs_nothing_and_run_logs_each_substitution_once(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (workdir / "a").write_text("a")
    sink = make_sink(workdir / "out", x=[str(workdir / "a")])
    sink.inputs.substitutions = [("/a", "/b")]
    sink.plan()
    assert not caplog.records
    sink.run()
    lines = [item.getMessage() for item in caplog.records if "sub: " in item.getMessage()]
    assert lines == [f"sub: {workdir}/out/x/a -> {workdir}/out/x/b"]


def test_many_files_have_a_short_repr(workdir: Path) -> None:
    sources = [unsafe_file(workdir / name) for name in "abc"]
    sink = make_sink(workdir / "out", **dict(zip("xyz", sources, strict=True)))
    assert repr(sink.plan()) == "<Plan: 3 files, 3 bytes>"
