"""A circuit breaker: stop sending files to a bucket that accepts none."""

from __future__ import annotations

import threading

from nipype_datasink.s3.errors import DENIED, code_of, concerns_bucket

# Denied files before any file is accepted. Fewer may all lie below a prefix that the credentials
# may not write to; each costs one request. This number is a guess.
_MAX_DENIED_FILES = 10


class CircuitBreaker:
    """Stop sending when further requests would fail too; any thread may call its methods."""

    def __init__(self) -> None:
        # The lock guards the count of denied objects. The two flags only change from False to
        # True, so threads may read and set them without it.
        self._lock = threading.Lock()
        self._is_open = False
        self._has_succeeded = False
        self._denials_left = _MAX_DENIED_FILES

    @property
    def is_open(self) -> bool:
        """Whether no further request should be started."""
        return self._is_open

    def open(self) -> None:
        """Let no further request be started."""
        self._is_open = True

    def record_success(self) -> None:
        """Record that the bucket holds an object that this run delivers."""
        self._has_succeeded = True

    def record_listing_failure(self) -> None:
        """Record that the bucket could not be listed: then one denied upload is enough."""
        self._denials_left = 1

    def record_failure(self, error: BaseException) -> None:
        """Record an error; open if it concerns the whole bucket and not one object."""
        with self._lock:
            # A policy may deny single objects while others arrive. Where many are denied and none
            # has arrived, the credentials may not write at all.
            self._denials_left -= code_of(error) in DENIED
            if concerns_bucket(error) or (self._denials_left <= 0 and not self._has_succeeded):
                self.open()
