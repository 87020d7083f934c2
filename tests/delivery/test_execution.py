"""Each target delivers its part of a plan; one error names all failures."""

from __future__ import annotations

import logging
import pickle
import signal
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nipype_datasink.delivery.execution import deliver
from nipype_datasink.delivery.failure_report import Explanation
from nipype_datasink.delivery.outcome import Outcome, Status, not_tried
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.errors import DeliveryError, MissingSourceError, S3Error
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.plan import Delivery, FileTransfer, Plan
from nipype_datasink.planning.sources import Problem

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

    def deliver(self, plan: Plan, _: Progress, /) -> list[Outcome]:
        self.plans.append(plan)
        return [
            Outcome(transfer=transfer, status=status, cause=None if status.arrived else self.cause)
            for transfer, status in zip(plan.transfers, self.statuses, strict=True)
        ]

    def explain(self, causes: Sequence[Exception], /) -> Explanation:
        cause = causes[-1] if causes else None
        return Explanation(text=f"explained: {cause}", cause=cause)

    def error(self, message: str, cause: Exception | None, /) -> DeliveryError:
        kind = DeliveryError if self.location == DISK else S3Error
        return kind(message)


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
            "s3://bucket/out: 2 sent, 1 unchanged (3 kB sent in 2.5 s)",
        )
    ]


def test_a_delivery_without_files_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    deliver(Plan(()), [Fake(DISK)])
    assert caplog.messages == ["/copy: no files"]


def test_unverified_files_are_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(Fake):
        def deliver(self, plan: Plan, _: Progress, /) -> list[Outcome]:
            sent, unchanged = plan.transfers
            return [
                Outcome(transfer=sent, status=Status.SENT, verified=False),
                Outcome(transfer=unchanged, status=Status.UNCHANGED, verified=False),
            ]

    deliver(plan_of(BUCKET, 2), [Silent(BUCKET)])
    assert [item.getMessage() for item in caplog.records if item.levelno == logging.WARNING] == [
        "s3://bucket/out/a: sent, not verified"
    ]


@pytest.mark.parametrize("more", [1, 2])
def test_one_warning_counts_all_unverified_files(
    more: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Silent(Fake):
        def deliver(self, plan: Plan, _: Progress, /) -> list[Outcome]:
            return [
                Outcome(transfer=transfer, status=Status.SENT, verified=False)
                for transfer in plan.transfers
            ]

    deliver(plan_of(BUCKET, 1 + more), [Silent(BUCKET)])
    assert caplog.messages[1:] == [f"s3://bucket/out/a: sent, not verified (and {more} more)"]


def test_an_error_has_the_outcome_of_every_file_and_its_cause() -> None:
    statuses = [Status.SENT, Status.NOT_TRIED, Status.UNCHANGED, Status.FAILED]
    cause = OSError("full")
    with pytest.raises(DeliveryError) as caught:
        deliver(plan_of(DISK, 4), [Fake(DISK, *statuses, cause=cause)])
    assert str(caught.value).startswith("/copy: explained: full\n")
    assert [item.status for item in caught.value.outcomes] == statuses
    assert caught.value.original is cause
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_failure_in_one_target_does_not_stop_the_next() -> None:
    plan = Plan((delivery(DISK, "a"), delivery(BUCKET, "a")))
    bucket = Fake(BUCKET, Status.SENT)
    with pytest.raises(DeliveryError, match="/copy: explained") as caught:
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
    assert str(caught.value).startswith("s3://bucket/out: explained: refused\n")
    assert "\n/copy: explained: full\n" in str(caught.value)
    assert caught.value.original is refused
    assert len(caught.value.outcomes) == 2


def test_an_explanation_that_fails_does_not_replace_the_error() -> None:
    class Speechless(Fake):
        def explain(self, causes: Sequence[Exception], /) -> Explanation:
            raise NameError("x")

    with pytest.raises(DeliveryError, match="/copy: OSError: full") as caught:
        deliver(plan_of(DISK, 1), [Speechless(DISK, Status.FAILED, cause=OSError("full"))])
    assert str(caught.value.original) == "full"
    with pytest.raises(DeliveryError, match="/copy: NameError: x"):
        deliver(plan_of(DISK, 1), [Speechless(DISK, Status.FAILED)])


def test_an_error_without_causes_is_raised() -> None:
    with pytest.raises(DeliveryError) as caught:
        deliver(plan_of(DISK, 1), [Fake(DISK, Status.FAILED)])
    assert caught.value.original is None


def test_an_error_leaves_a_list_that_the_next_delivery_removes(workdir: Path) -> None:
    missing = (Problem("x", "/w/b", "is absent"),)
    plan = Plan(plan_of(DISK, 2).deliveries, missing=missing)
    target = Fake(DISK, Status.FAILED, Status.SENT, cause=OSError("full"))
    with pytest.raises(DeliveryError) as caught:
        deliver(plan, [target], list_directory=str(workdir))
    (found,) = workdir.iterdir()
    assert f"\n  everything that was not delivered: {found}\n" in str(caught.value)
    assert found.read_text().splitlines()[1:] == [
        "/copy/a\tfailed\tfull",
        "\tmissing\tx: /w/b is absent",
    ]
    assert caught.value.missing == missing
    deliver(plan_of(DISK, 1), [Fake(DISK, Status.SENT)], list_directory=str(workdir))
    assert not list(workdir.iterdir())


def test_missing_sources_are_an_error_after_everything_else_was_delivered() -> None:
    folder = replace(delivery(DISK, "a"), cleared_folder="/copy")
    missing = (Problem("x", "/w/b", "is absent"), Problem("y", "/w/c", "is absent"))
    target = Fake(DISK, Status.SENT)
    with pytest.raises(MissingSourceError) as caught:
        deliver(Plan((folder,), missing=missing), [target])
    first, *names, process, last = str(caught.value).splitlines()
    assert names == ["  missing: x: /w/b is absent", "  missing: y: /w/c is absent"]
    assert process.startswith("  run by: process ")
    assert first == last
    assert first == (
        "2 sources are missing; everything else was delivered. Run again when nothing is missing. "
        "If these outputs are optional, set sink_missing to 'skip' (datasink_missing in nipype's "
        "configuration, or nipype-datasink run --missing skip)"
    )
    assert caught.value.missing == missing
    assert [outcome.status for outcome in caught.value.outcomes] == [Status.SENT]
    assert [item.cleared_folder for item in target.plans[0].deliveries] == [None]


def test_folders_are_cleared_if_nothing_is_missing() -> None:
    folder = replace(delivery(DISK, "a"), cleared_folder="/copy")
    target = Fake(DISK, Status.SENT)
    deliver(Plan((folder,)), [target])
    assert target.plans == [Plan((folder,))]


def test_no_folder_is_cleared_after_a_failure_in_another_place() -> None:
    folders = [replace(delivery(each, "a"), cleared_folder="a") for each in (DISK, BUCKET)]
    disk = Fake(DISK, Status.FAILED, cause=OSError("disk full"))
    bucket = Fake(BUCKET, Status.SENT)
    with pytest.raises(DeliveryError):
        deliver(Plan(tuple(folders)), [disk, bucket])
    assert [item.cleared_folder for item in bucket.plans[0].deliveries] == [None]


def test_nothing_tried_concerns_empty_folders_that_would_be_cleared_too() -> None:
    cause = OSError("no bucket")
    empty = replace(delivery(DISK, "d"), transfers=())
    cleared = replace(empty, source="/w/e", cleared_folder="/copy/e")
    plan = Plan((empty, replace(delivery(DISK, "a"), cleared_folder="/copy"), cleared))
    assert not_tried(plan, cause) == [
        Outcome(transfer=transfer, status=Status.NOT_TRIED, cause=cause)
        for transfer in (
            *plan.transfers,
            FileTransfer(source="/w/e", destination="/copy/e", size=0),
        )
    ]


def test_an_exception_of_a_signal_handler_is_not_the_outcome_of_a_file() -> None:
    (transfer,) = plan_of(DISK, 1).transfers

    def end(*_: object) -> None:
        raise ValueError("too late")

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(ValueError, match="too late") as caught:
            signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(ValueError, match="too late") as again:
            Outcome.failure(transfer, caught.value)
        assert again.value is caught.value
    finally:
        signal.signal(signal.SIGUSR1, before)


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


@pytest.mark.parametrize("is_cause", [False, True], ids=["context", "cause"])
def test_an_outcome_keeps_no_request_body_in_memory(is_cause: bool) -> None:
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
            if is_cause:
                raise S3Error("given up") from error
            raise S3Error("given up")  # noqa: B904

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

    def deliver(self, plan: Plan, _: Progress, /) -> list[Outcome]:
        assert self.cause
        raise self.cause


def test_a_bug_in_one_target_keeps_the_outcomes_of_others() -> None:
    plan = Plan((delivery(DISK, "a"), delivery(BUCKET, "a"), delivery(BUCKET, "b")))
    fault = NameError("name 'x' is not defined")
    with pytest.raises(S3Error, match="out: explained: name 'x'") as caught:
        deliver(plan, [Fake(DISK, Status.SENT), Broken(BUCKET, cause=fault)])
    assert [outcome.status for outcome in caught.value.outcomes] == [
        Status.SENT,
        Status.FAILED,
        Status.FAILED,
    ]
    assert caught.value.original is fault
    assert pickle.loads(pickle.dumps(caught.value)).outcomes[0] == caught.value.outcomes[0]


def test_an_error_without_text_keeps_the_outcomes_of_others() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    plan = Plan((delivery(DISK, "a"), delivery(BUCKET, "b")))
    with pytest.raises(S3Error) as caught:
        deliver(plan, [Fake(DISK, Status.SENT), Broken(BUCKET, cause=Mute())])
    assert "\n  failed: s3://bucket/out/b\n" in str(caught.value)
    assert str(caught.value.original) == "Mute: (the error has no text)"
    assert [outcome.status for outcome in caught.value.outcomes] == [Status.SENT, Status.FAILED]


def test_a_bug_in_a_target_without_files_is_a_delivery_error() -> None:
    fault = NameError("x")
    with pytest.raises(DeliveryError) as caught:
        deliver(Plan(()), [Broken(DISK, cause=fault)])
    assert str(caught.value) == "/copy: NameError: x"
    assert caught.value.original is fault
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_error_that_cannot_be_pickled_is_kept_as_text() -> None:
    class Unpicklable(Exception):
        def __reduce__(self) -> str:
            raise TypeError("cannot be pickled")

    (transfer,) = plan_of(DISK, 1).transfers
    cause = Outcome.failure(transfer, Unpicklable("bad")).cause
    assert type(cause) is DeliveryError
    assert str(cause) == "Unpicklable: bad"


def test_a_time_limit_ends_a_delivery_at_once() -> None:
    late = TimeoutError("too late")
    with pytest.raises(TimeoutError) as caught:
        deliver(plan_of(DISK, 2), [Broken(DISK, cause=late)])
    assert caught.value is late
