"""Times are read as botocore reads them. `test_client` tests which files a session needs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink.s3.session import read_timestamp


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-25T06:03:45.000Z",
        "2026-11-25T06:03:45.123456Z",
        "2026-11-25T06:03:45.123456789Z",
        "2026-11-25T06:03:45Z",
        "2026-11-25T06:03:45+02:00",
        "2026-11-25T06:03:45",
        "Wed, 25 Nov 2026 06:03:45 GMT",
        "1795586625",
        1795586625,
        1795586625.5,
    ],
)
def test_a_time_is_read_as_botocore_reads_it(written: Any) -> None:
    read, expected = read_timestamp(written), parse_timestamp(written)
    assert read == expected
    assert read.utcoffset() == expected.utcoffset()


@given(st.datetimes(timezones=st.just(timezone.utc)), st.sampled_from(["seconds", "milliseconds"]))
def test_every_time_in_the_format_of_s3_is_read(moment: datetime, precision: str) -> None:
    written = moment.isoformat(timespec=precision).replace("+00:00", "Z")
    assert read_timestamp(written) == parse_timestamp(written)


@pytest.mark.parametrize("written", ["", "Z", "yesterday", "2026-13-25T06:03:45Z"])
def test_an_invalid_time_raises_the_error_of_botocore(written: str) -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        parse_timestamp(written)
    with pytest.raises(ValueError, match="Invalid timestamp"):
        read_timestamp(written)
