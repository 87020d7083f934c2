"""Names of files as people see them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink import CollisionError, DataSink, DataSinkError, SourceError
from nipype_datasink.display import escaped, escaped_lines

HOSTILE = "a\nnipype INFO: all is well\x1b[2J\r\u202e"


@given(st.text())
def test_what_is_shown_can_be_printed_and_encoded(text: str) -> None:
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
def test_only_what_cannot_be_printed_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_lines_of_a_message_stay_lines() -> None:
    assert escaped_lines("a\x1b\nb\r") == "a\\x1b\nb\\r"


def hostile(folder: Path, content: str = "x") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HOSTILE).write_text(content)
    return str(folder / HOSTILE)


def test_no_error_log_or_plan_shows_a_name_as_it_is(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = hostile(workdir / "1"), hostile(workdir / "2", "y")
    (workdir / "blocked" / "x" / HOSTILE).mkdir(parents=True)
    shown = [str(sink_of(workdir / "out", x=one).plan())]
    causes: list[tuple[type[DataSinkError], DataSink]] = [
        (CollisionError, sink_of(workdir / "out", x=[one, two])),
        (SourceError, sink_of(workdir / "out", **{f"x{HOSTILE}": 3})),
        (DataSinkError, sink_of(workdir / "out", x=f"{one}/gone")),
        (DataSinkError, sink_of(workdir / "blocked", x=one)),
    ]
    for kind, sink in causes:
        with pytest.raises(kind) as caught:
            sink.run()
        shown.append(str(caught.value))
    sink = sink_of(workdir / "out\x1b", x=one)
    sink.inputs.substitutions = [("/x/", "/z/")]
    sink.run()
    shown += [item.getMessage() for item in caplog.records]

    assert len(shown) > 5
    for text in shown:
        for character in "\x1b\r\u202e":
            assert character not in text, text
        assert not any(line.startswith("nipype INFO") for line in text.splitlines())
    assert sum("sub: " in item for item in shown) == 1


def sink_of(base: Path, **fields: object) -> DataSink:
    sink = DataSink(base_directory=str(base))
    for name, value in fields.items():
        setattr(sink.inputs, name, value)
    return sink


def test_a_plan_is_silent_and_a_run_logs_each_substitution_once(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (workdir / "a").write_text("a")
    sink = sink_of(workdir / "out", x=[str(workdir / "a")])
    sink.inputs.substitutions = [("/a", "/b")]
    sink.plan()
    assert not caplog.records
    sink.run()
    lines = [item.getMessage() for item in caplog.records if "sub: " in item.getMessage()]
    assert lines == [f"sub: {workdir}/out/x/a -> {workdir}/out/x/b"]
