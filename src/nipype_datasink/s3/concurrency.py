"""How many requests at a time hide the time that the network takes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MAX_CLASSIC_REQUESTS", "SECONDS_PER_REQUEST", "ConcurrencyEstimator"]

# Requests at a time through boto3, at the most; they hide round trips of 30 ms.
MAX_CLASSIC_REQUESTS = 32
# Seconds that botocore needs for one: all threads share one interpreter lock.
SECONDS_PER_REQUEST = 1e-3


class ConcurrencyEstimator:
    """The pace of one run: what the user allows, and how long the store takes to answer.

    Parameters
    ----------
    limit
        Requests at a time; None leaves it to what is seen.
    affordable
        Requests at a time for which this process has descriptors; it bounds the limit, too.
    """

    def __init__(self, limit: int | None = None, *, affordable: int | None = None) -> None:
        self.affordable = sys.maxsize if affordable is None else affordable
        self.limit = None if limit is None else min(limit, self.affordable)
        self._wait = math.inf  # seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Take the time of a request: what is no work of this thread is waiting."""
        begin, work = time.perf_counter(), time.thread_time()
        yield
        self._wait = time.perf_counter() - begin - (time.thread_time() - work)

    def requests(self, *, work: float, least: int, most: int) -> int:
        """Return how many requests at a time keep the processor busy; more would only contend.

        Parameters
        ----------
        work
            Seconds that the processor needs for one.
        least, most
            Bounds of the result, unless the user has set a limit.
        """
        if self.limit is not None:
            return self.limit
        return int(min(self.affordable, max(least, min(most, 1 + self._wait / work))))
