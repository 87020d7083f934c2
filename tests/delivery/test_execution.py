"""Each target delivers its part of a plan; one error names all failures."""

from __future__ import annotations

import logging
import pickle
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest

from nipype_datasink.delivery.execution import Outcome, Status, deliver
from nipype_datasink.errors import DeliveryError, S3Error
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import Delivery, FileTransfer, Plan

DISK = LocalDirectory("/copy")
BUCKET = S3Prefix("bucket", "out")


def delivery(location: Location, name: str) -> Delivery:
    transfer = FileTransfer(source=f"/w/{name}", destination=f"{location}/{name}", size=1500)
    return Delivery(
        field="x",
        source=transfer.source,
        destination=transfer.destination,
        location=location,
        transfers=(transfer,),
    )


class Fake:
    """A target that returns given statuses."""

    def __init__(
        self, location: Location, *statuses: Status, cause: Exception | None = None
    ) -> None:
        self.location = location
        self.statuses = statuses
        self.cause = cause
        self.plans: list[Plan] = []

    def deliver(self, plan: Plan) -> list[Outcome]:
        self.plans.append(plan)
        return [
            Outcome(transfer=transfer, status=status, cause=None if status.arrived else self.cause)
            for transfer, status in zip(plan.transfers, self.statuses, strict=True)
        ]

    def error(self, message: str, causes: Sequence[Exception], /) -> DeliveryError:
        kind = DeliveryError if self.location == DISK else S3Error
        return kind(f"{causes[0] if causes else None}; {message}")


def plan_of(location: Location, count: int) -> Plan:
    return Plan(tuple(delivery(location, name) for name in "abcdef"[:count]))


@pytest.mark.parametrize(
    ("status", "arrived"),
    [
        (Status.SENT, True),
        (Status.UNCHANGED, True),
        (Status.FAILED, False),
        (Status.NOT_TRIED, False),
    ],
)
def test_sent_and_unchanged_files_have_arrived(status: Status, arrived: bool) -> None:
    assert status.arrived is arrived


@pytest.mark.parametrize("status", Status)
def test_a_file_that_did_not_arrive_is_not_verified(status: Status) -> None:
    (transfer,) = plan_of(DISK, 1).transfers
    assert Outcome(transfer=transfer, status=status).verified is status.arrived
    assert not Outcome.failure(transfer, OSError("disk full")).verified


def test_each_target_gets_its_part_in_order() -> None:
    plan = Plan((delivery(BUCKET, "a"), delivery(DISK, "a")))
    disk, bucket = Fake(DISK, Status.SENT), Fake(BUCKET, Status.UNCHANGED)
    outcomes = deliver(plan, [disk, bucket])
    assert [outcome.transfer.destination for outcome in outcomes] == [
        "/copy/a",
        "s3://bucket/out/a",
    ]
    assert (disk.plans, bucket.plans) == ([plan.for_location(DISK)], [plan.for_location(BUCKET)])


def test_one_log_line_counts_the_outcomes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 12.5])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    deliver(plan_of(BUCKET, 3), [Fake(BUCKET, Status.SENT, Status.UNCHANGED, Status.SENT)])
    assert caplog.record_tuples == [
        (
            "nipype.interface",
            logging.INFO,
            "s3://bucket/out: 2 sent, 1 unchanged (3,000 bytes, 2.5 s)",
        )
    ]


def test_a_delivery_without_files_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    deliver(Plan(()), [Fake(DISK)])
    assert [item.getMessage().partition(" (")[0] for item in caplog.records] == ["/copy: nothing"]


def test_unverified_files_are_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(Fake):
        def deliver(self, plan: Plan) -> list[Outcome]:
            sent, unchanged = plan.transfers
            return [
                Outcome(transfer=sent, status=Status.SENT, verified=False),
                Outcome(transfer=unchanged, status=Status.UNCHANGED, verified=False),
            ]

    deliver(plan_of(BUCKET, 2), [Silent(BUCKET)])
    assert [item.getMessage() for item in caplog.records if item.levelno == logging.WARNING] == [
        "s3://bucket/out/a: sent, not verified"
    ]


def test_an_error_names_the_status_of_every_file() -> None:
    statuses = [Status.SENT, Status.NOT_TRIED, Status.UNCHANGED, Status.FAILED]
    cause = OSError("full")
    with pytest.raises(DeliveryError) as caught:
        deliver(plan_of(DISK, 4), [Fake(DISK, *statuses, cause=cause)])
    assert str(caught.value).splitlines() == [
        "full; some files were not delivered to /copy:",
        "  failed: /copy/d: full",
        "  not tried: /copy/b",
        "  sent: /copy/a",
        "  unchanged: /copy/c",
    ]
    assert caught.value.__cause__ is cause
    assert [item.status for item in caught.value.outcomes] == statuses


def test_a_failure_in_one_target_does_not_stop_the_next() -> None:
    plan = Plan((delivery(DISK, "a"), delivery(BUCKET, "a")))
    bucket = Fake(BUCKET, Status.SENT)
    with pytest.raises(DeliveryError, match="some files were not delivered to /copy") as caught:
        deliver(plan, [Fake(DISK, Status.FAILED), bucket])
    assert bucket.plans == [plan.for_location(BUCKET)]
    assert len(caught.value.outcomes) == 2


def test_failures_in_two_targets_are_one_error() -> None:
    plan = Plan((delivery(DISK, "a"), delivery(BUCKET, "a")))
    refused = OSError("refused")
    targets = [
        Fake(DISK, Status.FAILED, cause=OSError("full")),
        Fake(BUCKET, Status.FAILED, cause=refused),
    ]
    with pytest.raises(S3Error) as caught:
        deliver(plan, targets)
    assert "failed: s3://bucket/out/a: refused" in str(caught.value)
    assert "failed: /copy/a: full" in str(caught.value)
    assert caught.value.__cause__ is refused
    assert len(caught.value.outcomes) == 2


def test_an_error_survives_pickling_with_its_outcomes() -> None:
    with pytest.raises(DeliveryError) as caught:
        deliver(plan_of(DISK, 1), [Fake(DISK, Status.FAILED, cause=OSError("full"))])
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is DeliveryError
    assert str(error) == str(caught.value)
    assert [getattr(item, "status", None) for item in error.outcomes] == [Status.FAILED]


def test_an_outcome_is_verified_by_default(tmp_path: Path) -> None:
    (transfer,) = plan_of(DISK, 1).transfers
    outcome = Outcome(transfer=transfer, status=Status.SENT)
    assert outcome.verified
    assert outcome.cause is None


class Body:
    """A request body whose end of life can be observed."""


def test_an_outcome_keeps_no_request_body_in_memory() -> None:
    (transfer,) = plan_of(BUCKET, 1).transfers
    held: list[weakref.ref[Body]] = []

    def send() -> None:
        body = Body()
        held.append(weakref.ref(body))
        raise OSError("no connection")

    def retry() -> None:
        body = Body()
        held.append(weakref.ref(body))
        try:
            send()
        except OSError as error:
            raise S3Error("given up") from error

    try:
        retry()
    except S3Error as error:
        outcome = Outcome.failure(transfer, error)
    assert [body() for body in held] == [None, None]
    assert str(outcome.cause) == "given up"


def test_an_error_with_a_circle_of_causes_can_be_an_outcome() -> None:
    (transfer,) = plan_of(BUCKET, 1).transfers
    one, two = OSError("one"), OSError("two")
    one.__cause__, two.__cause__ = two, one
    assert Outcome.failure(transfer, one).cause is one


class Broken(Fake):
    """A target with a bug."""

    def deliver(self, plan: Plan) -> list[Outcome]:
        assert self.cause
        raise self.cause


def test_a_bug_in_one_target_keeps_the_outcomes_of_others() -> None:
    plan = Plan((delivery(DISK, "a"), delivery(BUCKET, "a"), delivery(BUCKET, "b")))
    fault = NameError("name 'x' is not defined")
    with pytest.raises(S3Error, match="failed: s3://bucket/out/a: name 'x'") as caught:
        deliver(plan, [Fake(DISK, Status.SENT), Broken(BUCKET, cause=fault)])
    assert [outcome.status for outcome in caught.value.outcomes] == [
        Status.SENT,
        Status.FAILED,
        Status.FAILED,
    ]
    assert caught.value.__cause__ is fault
    assert pickle.loads(pickle.dumps(caught.value)).outcomes[0] == caught.value.outcomes[0]


def test_an_error_without_text_keeps_the_outcomes_of_others() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    plan = Plan((delivery(DISK, "a"), delivery(BUCKET, "b")))
    with pytest.raises(S3Error, match="failed: s3://bucket/out/b: Mute") as caught:
        deliver(plan, [Fake(DISK, Status.SENT), Broken(BUCKET, cause=Mute())])
    assert [outcome.status for outcome in caught.value.outcomes] == [Status.SENT, Status.FAILED]


def test_a_bug_in_a_target_without_files_is_a_delivery_error() -> None:
    with pytest.raises(DeliveryError, match="/copy: NameError: x"):
        deliver(Plan(()), [Broken(DISK, cause=NameError("x"))])


def test_a_time_limit_ends_a_delivery_at_once() -> None:
    late = TimeoutError("too late")
    with pytest.raises(TimeoutError) as caught:
        deliver(plan_of(DISK, 2), [Broken(DISK, cause=late)])
    assert caught.value is late
