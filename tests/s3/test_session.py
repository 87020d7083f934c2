"""A session that was made quicker must not be another one."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3.session
import botocore.session
import pytest
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink.s3.session import read_timestamp, start_session


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
def test_a_time_is_the_one_that_botocore_reads(written: Any) -> None:
    read, expected = read_timestamp(written), parse_timestamp(written)
    assert read == expected
    assert read.utcoffset() == expected.utcoffset()


@given(st.datetimes(timezones=st.just(timezone.utc)), st.sampled_from(["seconds", "milliseconds"]))
def test_every_time_of_s3_is_read(moment: datetime, precision: str) -> None:
    written = moment.isoformat(timespec=precision).replace("+00:00", "Z")
    assert read_timestamp(written) == parse_timestamp(written)


@pytest.mark.parametrize("written", ["", "Z", "yesterday", "2026-13-25T06:03:45Z"])
def test_what_is_no_time_is_refused_as_botocore_does(written: str) -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        parse_timestamp(written)
    with pytest.raises(ValueError, match="Invalid timestamp"):
        read_timestamp(written)


@pytest.mark.parametrize("service", ["s3", "sts", "sso", "sso-oidc"])
def test_whatever_credentials_may_need_can_be_opened(service: Any) -> None:
    region = "eu-central-1"
    ours: Any = start_session(region_name=region).client(service)
    theirs: Any = boto3.session.Session(region_name=region).client(service)
    assert ours.meta.service_model.operation_names == theirs.meta.service_model.operation_names
    assert ours.meta.endpoint_url == theirs.meta.endpoint_url


def test_models_are_those_that_botocore_reads(tmp_path: Path) -> None:
    (tmp_path / "s3/2020-01-01").mkdir(parents=True)
    (tmp_path / "s3/2020-01-01/own-1.json").write_text('{"b": "\u00e4", "a": [{}]}', "utf-8")
    names = ["endpoints", "partitions", "_retry", "s3/2020-01-01/own-1"]
    theirs = botocore.session.get_session().get_component("data_loader")
    newest = theirs.determine_latest_version("s3", "service-2")
    names += [f"s3/{newest}/service-2", f"s3/{newest}/paginators-1", "s3/2006-03-01/none-1"]
    ours: Any = start_session(region_name="eu-central-1")._session.get_component("data_loader")
    for loader in (ours, theirs):
        loader.search_paths.append(str(tmp_path))
    for name in names:
        assert read(ours, name) == read(theirs, name)
    assert read(ours, names[0])
    assert read(ours, names[-1]) is None


def read(loader: Any, name: str) -> str | None:
    """Return what a loader of botocore finds, in order."""
    try:
        return json.dumps(loader.load_data(name))
    except DataNotFoundError:
        return None


def test_a_service_that_is_not_there_is_not_found() -> None:
    session: Any = start_session(region_name="eu-central-1")
    with pytest.raises(Exception, match="quantum") as caught:
        session.client("quantum")
    assert not isinstance(caught.value, UnknownServiceError)
