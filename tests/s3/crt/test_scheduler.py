"""In which order the scheduler has uploads verified."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.parallel import Pool
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.crt.scheduler import Limits, Scheduler
from nipype_datasink.s3.part_digests import PartDigests
from tests.s3.faulty_store import LARGE

MIB = 1 << 20


class Uploader:
    """Starts uploads; some end in a given order when all of these have started, others at once."""

    address = "http://127.0.0.1"
    scheduler: Scheduler

    def __init__(self, order: str, failing: str = "") -> None:
        self._order = order
        self._failing = failing
        self._started: dict[str, Any] = {}

    def start(
        self, transfer: FileTransfer, done: Callable[[Any], None], *, connections: int
    ) -> Any:
        name = transfer.key
        upload = SimpleNamespace(
            transfer=transfer,
            version=(transfer.size,),
            error=OSError("refused") if name in self._failing else None,
            close=lambda: None,
            cancel=lambda: None,
        )
        if name not in self._order:
            done(upload)
            return upload
        self._started[name] = upload
        if len(self._started) == len(self._order):
            for each in self._order:
                done(self._started[each])
        return upload


@pytest.fixture
def verified(large: str) -> Callable[..., str]:
    """Return the names of files in the order in which their verification has ended."""

    def run(
        uploader: Uploader,
        *,
        only_first: bool = True,
        record_after: str = "",
        on_small: Callable[[], object] = lambda: None,
        **sizes: int,
    ) -> str:
        transfers = [
            FileTransfer(source=large, destination=f"s3://mybucket/{name}", size=size)
            for name, size in sizes.items()
        ]
        names: list[str] = []

        def verify(upload: Any) -> Outcome:
            if upload.transfer == digests.deciding_file:
                threading.Event().wait(0.05)  # others could overtake it
            names.append(upload.transfer.key)
            if upload.transfer.size == 1:
                on_small()
            if upload.transfer.key == record_after:
                digests.record(())
            return Outcome(transfer=upload.transfer, status=Status.SENT)

        digests = PartDigests(is_needed=True, only_first=only_first)
        with Pool(2) as pool:
            scheduler = Scheduler(
                uploader,  # type: ignore[arg-type]
                verify=verify,
                translate=lambda error: error,
                limits=Limits(requests=100, parts=100, attempts=1),
                breaker=CircuitBreaker(),
                pool=pool,
                part_digests=digests,
            )
            uploader.scheduler = scheduler
            scheduler.run(transfers)
        assert all(scheduler.outcome(transfer) for transfer in transfers)
        return "".join(names)

    return run


SIZE = len(LARGE)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_large_files_wait_for_the_one_whose_digest_is_computed(
    verified: Callable[..., str], order: str
) -> None:
    assert verified(Uploader(order), a=SIZE, b=SIZE, c=SIZE)[0] == "a"


def test_files_of_one_part_do_not_wait(verified: Callable[..., str]) -> None:
    names = verified(Uploader("bca"), a=SIZE, b=PART_BYTES, c=MIB, d=SIZE)
    assert sorted(names[:2]) == ["b", "c"]
    assert names[2:] == "ad"


def test_large_files_do_not_wait_where_each_needs_its_digest(
    verified: Callable[..., str],
) -> None:
    assert sorted(verified(Uploader("ba"), only_first=False, a=SIZE, b=SIZE)) == ["a", "b"]


def test_only_a_few_files_are_held(verified: Callable[..., str]) -> None:
    class Ending(Uploader):
        def start(self, transfer: FileTransfer, done: Any, **options: Any) -> Any:
            upload = super().start(transfer, done, **options)
            if transfer.key == "e":  # when the files from b on have been accepted
                done(self._started.pop("a"))
            return upload

    names = verified(Ending("a!"), a=SIZE, b=SIZE, c=SIZE, d=SIZE, e=SIZE)
    assert sorted(names[:3]) == ["b", "c", "d"]


def test_files_are_not_held_any_more_when_a_small_file_has_decided(
    verified: Callable[..., str],
) -> None:
    class Deciding(Uploader):
        def start(self, transfer: FileTransfer, done: Any, **options: Any) -> Any:
            upload = super().start(transfer, done, **options)
            if transfer.key == "c":
                done(self._started.pop("a"))
            return upload

    names = verified(Deciding("a!"), record_after="s", a=SIZE, s=1, b=SIZE, c=SIZE)
    assert names[:2] == "sb"


def test_held_files_do_not_wait_for_the_end_of_all_small_files(
    verified: Callable[..., str],
) -> None:
    class EndingLater(Uploader):
        def start(self, transfer: FileTransfer, done: Any, **options: Any) -> Any:
            if transfer.key == "s":  # it ends when the deciding file is verified
                return super().start(transfer, self._later(done), **options)
            return super().start(transfer, done, **options)

        def _later(self, done: Any) -> Callable[[Any], None]:
            def end(upload: Any) -> None:
                while not self.scheduler._is_decided():
                    time.sleep(0.001)
                done(upload)

            return lambda upload: threading.Thread(target=end, args=[upload]).start()

    uploader = EndingLater("ba")
    held: list[int] = []

    def look() -> None:
        held.append(len(uploader.scheduler._held))

    verified(uploader, on_small=look, a=SIZE, b=SIZE, s=1)
    assert held == [0]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_large_files_are_verified_where_the_one_that_they_wait_for_fails(
    verified: Callable[..., str], order: str
) -> None:
    names = verified(Uploader(order, failing="a"), a=SIZE, b=SIZE, c=SIZE)
    assert sorted(names) == ["b", "c"]
