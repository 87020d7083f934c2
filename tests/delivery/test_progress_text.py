"""What is said about how far a delivery is."""

from __future__ import annotations

import pytest

from nipype_datasink.delivery.progress_text import (
    Amount,
    Phase,
    Rate,
    Sample,
    State,
    format_seconds,
    interruption_line,
    log_line,
    rate_of,
)

MB = 1_000_000


def state(
    phase: Phase = Phase.SENDING,
    *,
    done: tuple[int, int] = (0, 0),
    total: tuple[int, int] = (0, 0),
    rate: tuple[float, float] = (0.0, 0.0),
    seconds: float = 5.0,
) -> State:
    return State(
        place="s3://lab/many",
        phase=phase,
        done=Amount(files=done[0], size=done[1]),
        total=Amount(files=total[0], size=total[1]),
        rate=Rate(files=rate[0], size=rate[1]),
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("state", "line"),
    [
        pytest.param(
            state(done=(1204, 112 * MB), total=(5006, 560 * MB), rate=(225, 21 * MB)),
            "1,204 of 5,006 files, 112 of 560 MB, 21 MB/s, about 21 s left",
            id="sending",
        ),
        pytest.param(
            state(Phase.COPYING, done=(0, 3), total=(1, 7), rate=(0, 1)),
            "0 of 1 file, 3 of 7 bytes, 1 byte/s, about 4 s left",
            id="few bytes",
        ),
        pytest.param(
            state(Phase.COMPARING, done=(2, 5120 * MB), total=(9, 20480 * MB), rate=(1, 512 * MB)),
            "comparing, 2 of 9 files, 5.1 of 20.5 GB, 512 MB/s, about 30 s left",
            id="comparing",
        ),
        pytest.param(
            state(done=(0, 16 * MB), total=(1, 3_200 * MB)),
            "0 of 1 file, 0.02 of 3.2 GB, 0 bytes/s",
            id="a stalled upload",
        ),
        pytest.param(
            state(done=(3, 8 * MB), total=(5, 8 * MB), rate=(1, MB)),
            "verifying, 3 of 5 files, 8 of 8 MB",
            id="all bytes are sent",
        ),
        pytest.param(
            state(done=(5, 8 * MB), total=(5, 8 * MB), rate=(1, MB)),
            "5 of 5 files, 8 of 8 MB, 1 MB/s",
            id="everything is sent",
        ),
        pytest.param(
            state(done=(1, 0), total=(3, 0), rate=(0.01, 0)),
            "1 of 3 files, about 3 min left",
            id="empty files",
        ),
        pytest.param(
            state(Phase.REMOVING, done=(1000, 0), total=(5000, 0), rate=(500, 0)),
            "removing, 1,000 of 5,000 files, about 8 s left",
            id="files without sizes",
        ),
        pytest.param(state(Phase.LISTING, seconds=42), "listing, 42 s", id="nothing is known"),
        pytest.param(
            state(Phase.REMOVING, done=(7, 0), seconds=42), "removing, 7 files, 42 s", id="no total"
        ),
    ],
)
def test_a_line_says_how_far_a_delivery_is(state: State, line: str) -> None:
    assert log_line(state) == f"s3://lab/many: {line}"


@pytest.mark.parametrize(
    ("samples", "files", "size"),
    [
        ([(0.0, 0, 0)], 0, 0),
        ([(0.0, 0, 0), (0.0, 5, 5)], 0, 0),
        ([(0.0, 0, 0), (4.0, 2, 100)], 0.5, 25),
        ([(10.0, 4, 100), (12.0, 5, 300), (20.0, 9, 400)], 0.5, 30),
        ([(0.0, 3, 100), (1.0, 4, 60)], 1, 0),
    ],
    ids=["one", "no time", "two", "the first counts", "bytes are sent again"],
)
def test_a_rate_is_what_was_done_in_a_second(
    samples: list[tuple[float, int, int]], files: float, size: float
) -> None:
    found = rate_of(
        [Sample(time=time, done=Amount(files=some, size=sum_)) for time, some, sum_ in samples]
    )
    assert found == Rate(files=files, size=size)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (21.4, "21 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (250, "4 min"),
        (3569, "59 min"),
        (3571, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (4_000_000, "1,111 h 7 min"),
    ],
)
def test_seconds_are_told_as_people_do(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_an_interruption_says_what_is_in_place_and_that_a_rerun_completes_it() -> None:
    line = interruption_line(
        "s3://lab/many",
        Phase.SENDING,
        Amount(files=1204, size=112 * MB),
        Amount(files=5006, size=560 * MB),
    )
    assert line == (
        "s3://lab/many: interrupted while sending: 1,204 of 5,006 files (112 of 560 MB) are in "
        "place; run again to complete it: files in place are not transferred again"
    )


@pytest.mark.parametrize(("place", "prefix"), [("/out", "/out: "), ("", "")])
def test_an_interruption_before_anything_is_written_says_so(place: str, prefix: str) -> None:
    line = interruption_line(place, Phase.PLANNING, Amount(), Amount())
    assert line == f"{prefix}interrupted while planning: nothing was written; run again"


def test_an_interruption_of_empty_files_tells_no_sizes() -> None:
    line = interruption_line("/out", Phase.COPYING, Amount(), Amount(files=1))
    assert line.startswith("/out: interrupted while copying: 0 of 1 file is in place; ")
