"""Slow down where a store rejects requests because there are too many (status 429)."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Hashable
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_DEFAULT_ATTEMPTS = 5  # as boto3's mode "legacy"; its mode "standard" gives up after three
_MAX_PAUSE_SECONDS = 20.0


def max_attempts(client: S3Client) -> int:
    """Return how many times a client of boto3 sends a request that fails."""
    settings: Any = getattr(client.meta.config, "retries", None) or {}
    return int(settings.get("total_max_attempts") or _DEFAULT_ATTEMPTS)


class Throttle:
    """Limit requests after a store has rejected some because there are too many; for one thread.

    After each rejection no request is started for a while, which doubles with every attempt. Then
    half as many requests are sent at a time.

    Parameters
    ----------
    attempts
        How many times the same item may be sent.
    """

    def __init__(self, attempts: int = _DEFAULT_ATTEMPTS) -> None:
        self.limit = math.inf
        """Largest number of concurrent requests."""
        self._attempts = attempts
        self._rejections: Counter[Hashable] = Counter()
        self._resume = 0.0  # the `monotonic` time at which requests may start again

    @property
    def pause(self) -> float:
        """Seconds until the next request may start."""
        return max(0.0, self._resume - monotonic())

    def record_rejection(self, item: Hashable, requests: int) -> bool:
        """Record a rejection; return whether the same item may be sent again.

        Parameters
        ----------
        item
            What was sent.
        requests
            Number of concurrent requests at that time.
        """
        self._rejections[item] += 1
        # During a pause, other requests of the same burst are rejected: they count only once.
        if not self.pause:
            self.limit = max(1, min(self.limit, requests) // 2)
        longest = min(_MAX_PAUSE_SECONDS, 2.0 ** (self._rejections[item] - 1))
        pause = random.uniform(longest / 2, longest)
        self._resume = max(self._resume, monotonic() + pause)
        return self._rejections[item] < self._attempts
