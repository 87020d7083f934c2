"""Estimate how many concurrent requests hide the network's latency."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from nipype_datasink.s3.latency import idle_seconds, recorded_answers


class RequestProfile(NamedTuple):
    """What one kind of request costs, and how many of them are sent at a time."""

    hidden_seconds: float
    """Seconds of latency for which one more request is sent: at most a request's processor time."""

    minimum: int
    """Number of concurrent requests where the store answers at once."""

    maximum: int
    """Number of concurrent requests where the store is far away."""


# boto3: all threads share one interpreter lock. 32 requests hide round trips of 30 ms.
CLASSIC_REQUESTS = RequestProfile(hidden_seconds=1e-3, minimum=2, maximum=32)
MAX_CLASSIC_PARTS = 10  # of large files; boto3's own default

# The AWS Common Runtime, as measured: whole files, and parts of large ones. Responses come in
# waves, so twice as many requests as would keep a processor busy are faster: 0.85 times the seconds
# (`make bench ARGS='--only small-20ms-second'`). Where the store is near, two parts for each
# processor are fastest; more than 16 take memory for little gain.
CRT_REQUESTS = RequestProfile(hidden_seconds=1 / 12000, minimum=64, maximum=500)
CRT_PARTS = RequestProfile(
    hidden_seconds=4e-3, minimum=max(4, min(8, 2 * (os.cpu_count() or 1))), maximum=16
)


class ConcurrencyEstimator:
    """Estimate the number of concurrent requests from the store's latency.

    Parameters
    ----------
    limit
        Number of concurrent requests that the user has set; None to estimate it.
    affordable
        Number of requests for which this process has file descriptors; it also bounds the limit.
    """

    def __init__(self, limit: int | None = None, *, affordable: int | None = None) -> None:
        self.affordable = sys.maxsize if affordable is None else affordable
        self.limit = None if limit is None else min(limit, self.affordable)
        self._latency_seconds = math.inf  # nothing is known yet: assume a distant store

    @contextmanager
    def measure_latency(self) -> Iterator[None]:
        """Measure how long this thread waits, and does not compute, during requests.

        Of several answers the fastest counts. If no answer is recorded, all the time counts.
        """
        begin = idle_seconds()
        with recorded_answers() as answers:
            yield
        self._latency_seconds = min(answers, default=idle_seconds() - begin)

    def estimate(self, profile: RequestProfile) -> int:
        """Return how many concurrent requests hide the latency.

        More would only compete for processors. A limit that the user has set is returned as it is.
        """
        if self.limit is not None:
            return self.limit
        hidden_seconds, minimum, maximum = profile
        wanted = 1 + self._latency_seconds / hidden_seconds
        return round(min(self.affordable, max(minimum, min(maximum, wanted))))
