"""Errors begin and end with the cause, and have few lines."""

from __future__ import annotations

import pytest

from nipype_datasink.delivery.failure_report import Explanation, FailedPlace, describe_failure
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.planning.sources import Problem

DISK = LocalDirectory("/copy")
BUCKET = S3Prefix("bucket", "out")
DENIED = OSError("An error occurred (AccessDenied)")


def outcomes(location: Location, statuses: dict[str, Status], **causes: Exception) -> list[Outcome]:
    return [
        Outcome(
            transfer=FileTransfer(source=name, destination=f"{location}/{name}", size=1),
            status=status,
            cause=None if status.arrived else causes.get(name, DENIED),
        )
        for name, status in statuses.items()
    ]


def failed_place(location: Location, results: list[Outcome], *context: str) -> FailedPlace:
    explanation = Explanation(text="denied; ask\nthe owner", cause=DENIED, context=context)
    return FailedPlace(location=location, explanation=explanation, outcomes=results)


def test_an_error_has_the_cause_counts_names_and_context() -> None:
    statuses = dict.fromkeys("cd", Status.FAILED) | {"a": Status.SENT, "n": Status.NOT_TRIED}
    place = failed_place(
        BUCKET, outcomes(BUCKET, statuses, d=OSError("too\nlarge")), "endpoint: here"
    )
    assert describe_failure([place], [], ["  run by: 1"]).splitlines() == [
        "s3://bucket/out: denied; ask; the owner",
        "  error: An error occurred (AccessDenied)",
        "  4 files: 1 sent, 2 failed, 1 not tried",
        "  failed: s3://bucket/out/d: too; large",
        "  failed: s3://bucket/out/c",
        "  not tried: s3://bucket/out/n",
        "  endpoint: here",
        "  run by: 1",
        "s3://bucket/out: denied; ask; the owner",
    ]


def test_a_cause_that_the_first_line_contains_is_not_repeated() -> None:
    explanation = Explanation(text="full; free space there", cause=OSError("full"))
    results = outcomes(DISK, {"a": Status.FAILED})
    place = FailedPlace(location=DISK, explanation=explanation, outcomes=results)
    assert "  error:" not in describe_failure([place], [], [])


@pytest.mark.parametrize("failed", [0, 1])
def test_many_files_that_were_not_tried_are_counted(failed: int) -> None:
    statuses = dict.fromkeys("abc", Status.NOT_TRIED) | dict.fromkeys("x" * failed, Status.FAILED)
    lines = describe_failure([failed_place(DISK, outcomes(DISK, statuses))], [], []).splitlines()
    assert any("3 not tried" in line for line in lines)
    assert ("  not tried: all other 3 files" in lines) is bool(failed)


@pytest.mark.parametrize("count", [19, 20, 21, 5000])
def test_at_most_twenty_files_are_named(count: int) -> None:
    statuses = {f"f{number}": Status.FAILED for number in range(count)}
    lines = describe_failure([failed_place(DISK, outcomes(DISK, statuses))], [], []).splitlines()
    named = [line for line in lines if line.startswith("  failed: /copy/")]
    assert len(named) == min(count, 20)
    assert (f"  and {count - 20:,} more" in lines) is (count > 20)


def test_no_error_has_more_than_sixty_lines() -> None:
    names = [f"{number}" for number in range(5000)]
    statuses = {name: Status.FAILED if int(name) % 2 else Status.NOT_TRIED for name in names}
    places = [
        failed_place(place, outcomes(place, statuses), "endpoint: e", "credentials: c")
        for place in (BUCKET, DISK, LocalDirectory("/b"))
    ]
    missing = [Problem("x", name, "is absent") for name in names]
    message = describe_failure(places, missing, ["  run by: 1", "  everything: 2"])
    lines = message.splitlines()
    assert 40 < len(lines) <= 60
    assert lines[0] == lines[-1]
    assert "  and 4,992 more" in lines


def test_names_are_escaped() -> None:
    place = LocalDirectory("/c\n")
    results = outcomes(place, {"a\n": Status.FAILED, "b\n": Status.NOT_TRIED})
    message = describe_failure([failed_place(place, results)], [], [])
    assert message.startswith("/c\\n: denied")
    assert "\n  failed: /c\\n/a\\n\n  not tried: /c\\n/b\\n\n" in message
