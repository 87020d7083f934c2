"""Trials of stores detect errors, and docs/stores.md reports the results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stores import trials
from stores.advice import advice
from stores.catalogue import STORES
from stores.naming import NAMES, names
from stores.remedies import find_remedies
from stores.report import markdown
from stores.results import TRANSPORTS, Results, Tried
from stores.sinks import Settings, run_sink
from stores.trials import LARGE, REMOVAL, SMALL, TRAILERS, TRIALS
from stores.verdicts import Verdict, failed
from stores.visit import FIELD, Visit
from tests.stores import ACCESS_KEY, SECRET_KEY
from tests.tls import behind_tls

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

pytestmark = pytest.mark.needs("moto")
ALL = {row: trial for group in TRIALS.values() for trial in group for row in trial.rows}


@pytest.fixture
def visit(endpoint: str, bucket: Bucket, tmp_path: Path) -> Iterator[Visit]:
    with behind_tls(endpoint) as (secure, certificate):
        visit = Visit(
            "moto",
            endpoint,
            keys=(ACCESS_KEY, SECRET_KEY),
            transport="classic",
            directory=tmp_path,
            over_tls=Settings(
                inputs={"s3_endpoint_url": secure}, environment={"AWS_CA_BUNDLE": certificate}
            ),
        )
        visit.bucket = bucket.name
        yield visit
    for item in bucket.objects.all():  # moto's DeleteObjects rejects some of the names
        item.delete()


@pytest.mark.parametrize("row", [SMALL, REMOVAL, TRAILERS, trials.checksum_row("CRC32")])
def test_trials_that_work_with_moto_succeed(row: str, visit: Visit) -> None:
    found = ALL[row].verdicts(visit)

    assert tuple(found) == ALL[row].rows
    assert [verdict for verdict in found.values() if verdict.note or not verdict.good] == []


def test_rejected_names_are_reported(visit: Visit) -> None:
    (verdict,) = names(visit)

    assert (verdict.word, verdict.good) == ("all but 1", False)
    assert r"a\nb" in verdict.note
    assert "a b" in NAMES


def test_wrong_missing_and_additional_objects_are_reported(visit: Visit, bucket: Bucket) -> None:
    paths = {f"x/{name}": visit.directory / name for name in ("right", "wrong", "missing")}
    for key, path in paths.items():
        path.write_text(key)
    bucket.put_object(Key="x/right", Body=b"x/right")
    bucket.put_object(Key="x/wrong", Body=b"x/WRONG")
    bucket.put_object(Key="x/additional")

    difference = visit.difference(paths, "x/")

    assert difference == "1 of 3 missing, 1 of 3 with wrong bytes, 1 that were not sent"


def test_files_that_are_sent_again_are_counted(visit: Visit, bucket: Bucket) -> None:
    path = visit.directory / "a.txt"
    path.write_text("a")
    key = f"x/{FIELD}/a.txt"
    bucket.put_object(Key=key, Body=b"b")  # an object that has to be sent

    verdict = trials._resent(visit, "x", [path], changed=0)

    assert (verdict.word, verdict.good) == ("all sent again", False)


def test_failing_and_endless_runs_are_reported(endpoint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    inputs = {"base_directory": "s3://no-such-bucket", "s3_endpoint_url": endpoint}
    settings = Settings(inputs=inputs, environment=keys)

    assert "S3ClientError" in run_sink({FIELD: [str(path)]}, settings).error
    assert run_sink({FIELD: [str(path)]}, settings, seconds=0).error == "did not end within 0 s"


def test_settings_that_make_a_failing_trial_work_are_found(visit: Visit) -> None:
    seen: list[str] = []

    def make_visit(settings: Settings) -> Visit:
        seen.append(str(settings))
        return visit

    found = dict(find_remedies({REMOVAL: failed("why")}, make_visit))

    assert found == {REMOVAL: "`s3_transfer_client = 'classic'`"}
    assert seen == ["`s3_transfer_client = 'classic'`"]
    assert not dict(find_remedies({REMOVAL: Verdict(word="yes")}, make_visit))


def _tried(**bad: tuple[str, Verdict]) -> Tried:
    good = dict.fromkeys(ALL, Verdict(word="yes"))
    verdicts = {
        transport: {**good, **dict([bad[transport]] if transport in bad else [])}
        for transport in TRANSPORTS
    }
    return Tried(store=STORES[0], version="1.2.3", verdicts=verdicts)


def _page(*tried: Tried) -> str:
    return markdown(Results(tried=tried, absent={"radosgw": "not installed"}, seconds=61))


def test_page_has_a_cell_for_each_trial_and_a_footnote_for_each_error() -> None:
    page = _page(
        _tried(crt=(LARGE, failed("S3Error: no <UploadId>")), auto=(LARGE, failed("Other")))
    )

    assert all(f"\n| {row} " in page for row in ALL)
    assert "classic: yes, crt: error[^1], auto: error[^2] |" in page
    assert "[^1]: S3Error: no \\<UploadId\\>\n" in page
    assert "SeaweedFS 1.2.3" in page
    assert "- radosgw: not installed\n" in page
    assert set(re.findall(r"\[\^(\d)\](?!:)", page)) == set(re.findall(r"\[\^(\d)\]:", page))


def test_advice_names_helpful_settings_and_unsolved_failures() -> None:
    tried = replace(_tried(auto=(LARGE, failed("Other"))), remedies={LARGE: ""})
    helped = replace(tried, remedies={LARGE: "`s3_region = 'us-east-1'`"})
    results = Results(tried=[tried], absent={}, seconds=1)

    assert f'These rows fail with every setting that was tried: "{LARGE}".' in list(
        advice(tried, results)
    )
    assert f"Set `s3_region = 'us-east-1'`. Then these rows work: \"{LARGE}\"." in list(
        advice(helped, results)
    )


def test_advice_ignores_transports_that_do_not_work() -> None:
    bad = dict.fromkeys([LARGE, trials.OTHER_REGION], failed("no upload ID"))
    verdicts = dict(_tried().verdicts)
    verdicts["crt"] = {**verdicts["crt"], **bad}
    tried = replace(_tried(), verdicts=verdicts)

    lines = list(advice(tried, Results(tried=[tried], absent={}, seconds=1)))

    assert "`s3_region`: not needed; every value works." in lines


def test_advice_names_the_transport_that_does_not_work() -> None:
    tried = _tried(crt=(LARGE, failed("Other")))

    lines = list(advice(tried, Results(tried=[tried], absent={}, seconds=1)))

    assert "Set `s3_endpoint_url` and credentials. Then all rows with a star work." in lines
    assert "`crt` does not work; `auto` uses `classic` instead if necessary." in lines


def test_committed_page_has_every_row_and_store() -> None:
    page = (Path(__file__).parents[1] / "docs" / "stores.md").read_text()

    assert all(f"\n| {row} " in page for row in ALL)
    assert all(f"\n### {store.name}\n" in page for store in STORES)
