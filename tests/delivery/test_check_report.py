"""Reports of checks: aligned, at most 80 columns wide, and safe to print."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from nipype_datasink.delivery.check_report import CheckReport, CheckStep, PlaceReport, StepVerdict

LONG = "word " * 40


def report_of(
    *steps: CheckStep, place: str = "s3://lab/deriv", sinks: tuple[str, ...] = ()
) -> CheckReport:
    return CheckReport((PlaceReport(place=place, steps=steps, sinks=sinks),))


def test_verdicts_are_aligned_and_lines_fit_into_80_columns() -> None:
    report = report_of(
        CheckStep(name="endpoint", text=LONG, verdict=StepVerdict.WARNING, advice=LONG),
        CheckStep(name="list", text="below x/", verdict=StepVerdict.FAILED, advice=LONG),
        CheckStep(name="write", text=LONG),
    )
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 80
    column = lines[1].index("warning")
    found = [line for line in lines if line.endswith((" warning", " FAILED", " ok"))]
    assert [line[column:] for line in found] == ["warning", "FAILED", "ok"]
    assert str(report).count("word") == 4 * 40


def test_a_long_path_is_not_broken() -> None:
    path = f"/data/{'x' * 100}"
    report = report_of(CheckStep(name="identity", text=path), CheckStep(name="list", text="a"))
    assert f"  identity   {path}  ok" in str(report)
    assert "  list       a  ok" in str(report)


def test_a_step_without_a_verdict_ends_with_its_text() -> None:
    report = report_of(CheckStep(name="identity", text="AK...", verdict=StepVerdict.UNKNOWN))
    assert str(report).splitlines()[1] == "  identity   AK..."
    assert report.ok


def test_sinks_are_named_where_something_fails() -> None:
    step = CheckStep(name="list", text="x/", verdict=StepVerdict.FAILED, advice="a\nb")
    lines = str(report_of(step, sinks=("wf.a", "wf.b"))).splitlines()
    assert lines[1:] == [
        "  list       x/  FAILED",
        "             a",
        "             b",
        "  used by    wf.a, wf.b",
        "would work: no",
    ]
    assert "used by" not in str(report_of(CheckStep(name="list", text="x/"), sinks=("wf.a",)))
    assert "used by" not in str(report_of(step, sinks=("s3://lab/deriv",)))


def test_a_few_of_many_sinks_are_named() -> None:
    step = CheckStep(name="list", text="x/", verdict=StepVerdict.FAILED)
    report = report_of(step, sinks=tuple(f"wf.s{number}" for number in range(9)))
    assert "  used by    wf.s0, wf.s1, wf.s2, wf.s3, 5 more" in str(report).splitlines()


def test_the_longest_name_of_a_step_does_not_touch_its_text() -> None:
    report = report_of(
        CheckStep(name="not checked", text="known later", verdict=StepVerdict.UNKNOWN)
    )
    assert str(report).splitlines()[1] == "  not checked  known later"


def test_control_characters_and_html_are_escaped() -> None:
    report = report_of(
        CheckStep(name="list", text="a\x1b[2Jb", advice="\x07<b>"), place="/data/\n<i>"
    )
    assert "\x1b" not in str(report)
    assert "\x07" not in str(report)
    assert str(report).startswith("/data/\\n<i>\n")
    assert report._repr_html_().startswith("<pre>/data/\\n&lt;i&gt;\n")
    warned = replace(report, warnings=("\x07",))
    assert str(warned).splitlines()[-2] == "WARNING \\x07"


def test_json_has_everything() -> None:
    report = report_of(CheckStep(name="list", text="below x/", verdict=StepVerdict.UNKNOWN))
    assert json.loads(json.dumps(report.as_json())) == {
        "ok": True,
        "places": [
            {
                "place": "s3://lab/deriv",
                "ok": True,
                "steps": [{"name": "list", "text": "below x/", "verdict": None, "advice": None}],
                "not_tried": [],
                "not_known": [],
                "sinks": [],
            }
        ],
        "warnings": [],
    }


def test_each_key_of_the_json_is_documented() -> None:
    page = Path(__file__).parents[2] / "docs" / "command.md"
    table = page.read_text().partition("| key of `check --json` |")[2].partition("\n\n")[0]
    report = report_of(CheckStep(name="list", text="below x/")).as_json()
    (place,) = report["places"]

    keys = {*report, *place, *place["steps"][0]}
    assert keys - {"ok"} < set(re.findall(r"`(\w+)`", table))
