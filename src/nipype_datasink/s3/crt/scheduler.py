"""Decide when the next upload through the AWS Common Runtime starts, and collect the outcomes.

Three kinds of threads meet here:

- The scheduler has a thread of its own, which calls `Scheduler.run`. All state belongs to it.
- The runtime's threads report the end of an upload. They only put it into a queue.
- The main thread may be interrupted at any time. It then calls `Scheduler.cancel`, which only opens
  the circuit breaker and puts a mark into the same queue.

So the queue is all that these threads share, and no lock is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from botocore.exceptions import ReadTimeoutError

from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.parallel import WorkCancelled
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3 import silence
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.crt.errors import is_cancellation
from nipype_datasink.s3.crt.throttling import Throttle
from nipype_datasink.s3.crt.upload import Upload, Uploader
from nipype_datasink.s3.part_digests import PartDigests
from nipype_datasink.s3.transport import cancelled

_TOO_MANY_REQUESTS = 429

# Files up to this size are verified in the scheduler's thread, as it takes time to wake another.
# The number is a guess.
_QUICKLY_READ_BYTES = 1 << 20
_MAX_HELD = 2  # as large files are sent two at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be under way at a time."""

    requests: int
    """Number of requests."""

    parts: int
    """Number of parts; it also bounds the bytes, and so the memory, of all files."""

    attempts: int
    """How many times a file may be sent."""

    @property
    def parts_of_one_file(self) -> int:
        """Number of parts of one file: large files are sent two at a time."""
        return max(1, self.parts // 2)

    def load_of(self, transfer: FileTransfer) -> tuple[int, int]:
        """Return how many requests and bytes of a file are under way at a time."""
        if transfer.size <= PART_BYTES:
            return 1, transfer.size
        return self.parts_of_one_file, self.parts_of_one_file * PART_BYTES

    def allow(self, requests: int, size: int) -> bool:
        """Return whether so many requests and bytes may be under way."""
        return requests <= self.requests and size <= self.parts * PART_BYTES


class Scheduler:
    """Send files, as many at a time as the limits allow.

    Parameters
    ----------
    uploader
        Starts uploads.
    verify
        Returns the outcome of an upload that the store has accepted.
    translate
        Returns the error that boto3 would have raised in place of one of the runtime.
    limits
        How much may be under way.
    breaker
        Records successes and failures.
    pool
        Verifies files that take long to read, and those in parts, which need a request.
    part_digests
        Digests that the pool computes while large files are sent.
    """

    def __init__(  # noqa: PLR0913
        self,
        uploader: Uploader,
        *,
        verify: Callable[[Upload], Outcome],
        translate: Callable[[Exception], Exception],
        limits: Limits,
        breaker: CircuitBreaker,
        pool: Executor,
        part_digests: PartDigests,
    ) -> None:
        self._uploader = uploader
        self._verify = verify
        self._translate = translate
        self._limits = limits
        self._breaker = breaker
        self._pool = pool
        self._part_digests = part_digests
        self._throttle = Throttle(limits.attempts)
        # Uploads that have ended; None stands for an interrupt.
        self._ended: SimpleQueue[Upload | None] = SimpleQueue()
        self._under_way: dict[FileTransfer, Upload] = {}
        self._requests = self._bytes = 0  # of the uploads under way
        self._outcomes: dict[FileTransfer, Outcome | Future[Outcome]] = {}
        self._throttled: list[FileTransfer] = []  # to be sent again
        self._held: list[Upload] = []  # to be verified when another file is

    def run(self, transfers: Sequence[FileTransfer]) -> None:
        """Send files; return when every upload has ended, also after an interrupt.

        Raises
        ------
        WorkCancelled
            If an interrupt came while a small file was verified in this thread.
        """
        waiting = transfers
        try:
            while waiting:
                self._throttled = []
                for transfer in waiting:
                    self._wait_for_room(transfer)
                    self._start(transfer)
                self._wait_for_all()
                waiting = self._throttled
        except WorkCancelled:
            self.cancel()
            raise
        finally:
            self._wait_for_all()
            if self._held:
                self._wait_for_decision()
                self._verify_held()

    def outcome(self, transfer: FileTransfer) -> Outcome:
        """Return the outcome of a file; wait until it is verified."""
        outcome = self._outcomes[transfer]
        return outcome.result() if isinstance(outcome, Future) else outcome

    def cancel(self) -> None:
        """Start no more uploads and cancel those under way; any thread may call this."""
        self._breaker.open()
        self._ended.put(None)

    def _wait_for_all(self) -> None:
        """Wait until every upload has ended, even if an interrupt comes in between.

        An upload that nobody waits for could go on after the node has failed, or leave its parts.
        """
        interrupt: WorkCancelled | None = None
        while self._under_way:
            try:
                self._settle_next()
            except WorkCancelled as error:
                interrupt = error
                self.cancel()
        if interrupt:
            raise interrupt

    def _wait_for_room(self, transfer: FileTransfer) -> None:
        """Wait until the limits allow another file. A file alone may always be sent."""
        while self._under_way and not self._has_room(transfer):
            self._settle_next()
        while self._throttle.pause and not self._breaker.is_open:
            with suppress(Empty):
                self._settle(self._ended.get(timeout=self._throttle.pause))

    def _has_room(self, transfer: FileTransfer) -> bool:
        requests, size = self._limits.load_of(transfer)
        requests += self._requests
        return requests <= self._throttle.limit and self._limits.allow(requests, size + self._bytes)

    def _start(self, transfer: FileTransfer) -> None:
        if self._breaker.is_open:
            self._outcomes[transfer] = Outcome(transfer=transfer, status=Status.NOT_TRIED)
            return
        try:
            upload = self._uploader.start(
                transfer, self._ended.put, connections=self._limits.parts_of_one_file
            )
        except Exception as error:  # noqa: BLE001 - the runtime raises builtins of many kinds
            self._outcomes[transfer] = Outcome.failure(transfer, error)
            return
        self._under_way[transfer] = upload
        self._count(transfer, 1)
        self._part_digests.begin(transfer, upload.version[0], self._pool)

    def _count(self, transfer: FileTransfer, sign: int) -> None:
        requests, size = self._limits.load_of(transfer)
        self._requests += sign * requests
        self._bytes += sign * size

    def _settle_next(self) -> None:
        """Wait for the end of an upload, or give up where the store does not respond any more."""
        try:
            ended = self._ended.get(timeout=silence.RESPONSE_SECONDS)
        except Empty:
            # Large files may take longer in a slow network, where the store still answers.
            if silence.is_silent(self._uploader.address):
                self._give_up()
        else:
            self._settle(ended)

    def _give_up(self) -> None:
        """Let all uploads under way fail, and do not wait for them.

        The runtime cannot abort uploads of parts where nobody answers, so their parts may remain.
        """
        error = ReadTimeoutError(endpoint_url=self._uploader.address)
        self._breaker.record_failure(error)
        for transfer, upload in self._under_way.items():
            upload.cancel()
            self._part_digests.abandon(transfer)
            self._outcomes[transfer] = Outcome.failure(transfer, error)
        self._under_way = {}

    def _settle(self, upload: Upload | None) -> None:
        """Note the outcome of an upload that has ended; after an interrupt, cancel the others."""
        if upload is None:
            for other in self._under_way.values():
                other.cancel()
            return
        transfer, requests = upload.transfer, self._requests
        if self._held and self._is_decided():
            self._verify_held()
        upload.close()
        del self._under_way[transfer]
        self._count(transfer, -1)
        if upload.error:
            self._part_digests.abandon(transfer)
        if upload.error is None:
            self._breaker.record_success()
            self._accept(upload)
        elif is_cancellation(upload.error):
            self._outcomes[transfer] = cancelled(transfer)
        elif _is_throttled(upload.error) and self._throttle.record_rejection(transfer, requests):
            self._throttled.append(transfer)
        else:
            self._fail(transfer, self._translate(upload.error))

    def _accept(self, upload: Upload) -> None:
        """Verify an upload that the store has accepted."""
        transfer = upload.transfer
        if transfer.size <= _QUICKLY_READ_BYTES:
            self._outcomes[transfer] = self._verify(upload)
        elif transfer.size <= PART_BYTES or transfer == self._part_digests.deciding_file:
            self._submit(upload)
        else:
            # If it were compared before the deciding file, it would need an MD5 itself. This is
            # worth a short wait only.
            self._held.append(upload)
            if self._is_decided() or len(self._held) > _MAX_HELD:
                self._verify_held()

    def _submit(self, upload: Upload) -> None:
        self._outcomes[upload.transfer] = self._pool.submit(self._verify, upload)

    def _is_decided(self) -> bool:
        """Return whether the comparison of a file has shown if the others need an MD5."""
        deciding = self._part_digests.deciding_file
        if deciding is None:
            return True
        outcome = self._outcomes.get(deciding)
        return outcome.done() if isinstance(outcome, Future) else outcome is not None

    def _wait_for_decision(self) -> None:
        deciding = self._part_digests.deciding_file
        outcome = self._outcomes.get(deciding) if deciding else None
        if isinstance(outcome, Future):
            wait([outcome])  # an interrupt ends the verification

    def _verify_held(self) -> None:
        """Verify the uploads that were held, whether the decision is known or not."""
        for upload in self._held:
            self._submit(upload)
        self._held = []

    def _fail(self, transfer: FileTransfer, error: Exception) -> None:
        self._outcomes[transfer] = Outcome.failure(transfer, error)
        self._breaker.record_failure(error)
        if self._breaker.is_open:
            for other in self._under_way.values():
                if other.transfer.size > PART_BYTES:  # small files end soon anyway
                    other.cancel()


def _is_throttled(error: Exception) -> bool:
    # The runtime itself repeats requests after other temporary errors, but not after this status.
    return getattr(error, "status_code", None) == _TOO_MANY_REQUESTS
