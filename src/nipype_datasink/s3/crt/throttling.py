"""Waiting where a store says that there are too many requests (status 429)."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Hashable
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

__all__ = ["Throttle", "attempts_of"]

_ATTEMPTS = 5  # as boto3 by itself
_LONGEST_SECONDS = 20.0


def attempts_of(client: S3Client) -> int:
    """Return how often a client sends the same request, at the most."""
    settings: Any = getattr(client.meta.config, "retries", None) or {}
    return int(settings.get("total_max_attempts") or _ATTEMPTS)


class Throttle:
    """The requests that a store refuses because there are too many; for one thread.

    After each refusal nothing is begun for a while, which doubles with every attempt, and then half
    as many requests are under way at a time.

    Parameters
    ----------
    attempts
        How often something may be sent.
    """

    def __init__(self, attempts: int = _ATTEMPTS) -> None:
        self.limit = math.inf
        """Requests at a time."""
        self._attempts = attempts
        self._refused: Counter[Hashable] = Counter()
        self._resume = 0.0  # time at which requests may begin again

    @property
    def pause(self) -> float:
        """Seconds until something may be begun."""
        return max(0.0, self._resume - monotonic())

    def refuse(self, what: Hashable, under_way: int) -> bool:
        """Take note of a refusal; return whether the same may be sent again.

        Parameters
        ----------
        what
            Was sent.
        under_way
            Requests at that time.
        """
        self._refused[what] += 1
        if not self.pause:  # others that were under way are refused for the same reason
            self.limit = max(1, min(self.limit, under_way) // 2)
        longest = min(_LONGEST_SECONDS, 2.0 ** (self._refused[what] - 1))
        wait = random.uniform(longest / 2, longest)
        self._resume = max(self._resume, monotonic() + wait)
        return self._refused[what] < self._attempts
