"""Measure how long a store takes to answer a request.

The first request of a client also connects, which takes one round trip for TCP, one or two more for
TLS, and time for cryptography. Later requests do not, so this time must not be counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# Its attribute `answers` is the list of each thread that is measuring; others have none, or None.
_measuring = threading.local()


def idle_seconds() -> float:
    """Return a time that passes only while this thread does not compute."""
    return time.perf_counter() - time.thread_time()


@contextmanager
def recorded_answers() -> Iterator[list[float]]:
    """Yield a list, to which each request of this thread adds the seconds until its answer.

    Only clients for which `record_answers` was called add anything.
    """
    answers: list[float] = []
    _measuring.answers = answers
    try:
        yield answers
    finally:
        _measuring.answers = None


def record_answers(client: S3Client) -> None:
    """Let the connections of a client record how long they wait for answers.

    botocore has no event between connecting and the answer. Without these attributes of botocore,
    nothing is recorded.
    """
    session: Any = getattr(getattr(client, "_endpoint", None), "http_session", None)
    pools: dict[str, Any] = getattr(session, "_pool_classes_by_scheme", {})
    for scheme, pool in pools.items():
        pools[scheme] = _recording_pool(pool)


def _recording_pool(pool: Any) -> Any:
    """Return a subclass of a class of connection pools of urllib3."""

    class RecordingConnection(pool.ConnectionCls):  # type: ignore[misc]
        def getresponse(self, *args: Any, **settings: Any) -> Any:
            answers: list[float] | None = getattr(_measuring, "answers", None)
            if answers is None:
                return super().getresponse(*args, **settings)
            begin = idle_seconds()
            response = super().getresponse(*args, **settings)
            answers.append(idle_seconds() - begin)
            return response

    class RecordingPool(pool):  # type: ignore[misc]
        ConnectionCls = RecordingConnection

    return RecordingPool
