"""Deliveries in one process share its file descriptors."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from nipype_datasink.s3 import descriptors
from nipype_datasink.s3.descriptors import (
    are_descriptors_scarce,
    free_descriptors,
    reserved_requests,
)


@pytest.fixture
def limit() -> Iterator[int]:
    """The limit of descriptors for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    yield 400
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files(count: int) -> list[int]:
    return [os.open("/", os.O_RDONLY) for _ in range(count)]


def close_files(files: list[int]) -> None:
    for file in files:
        os.close(file)


def test_open_files_are_not_free(limit: int) -> None:
    before = free_descriptors()
    assert 0 < before < limit
    files = open_files(10)
    assert free_descriptors() == before - 10
    close_files(files)


def test_descriptors_are_scarce_when_more_than_half_are_in_use(limit: int) -> None:
    assert not are_descriptors_scarce()
    files = open_files(200)
    assert are_descriptors_scarce()
    close_files(files)


def test_requests_reserve_a_share_of_the_free_descriptors(limit: int) -> None:
    with reserved_requests(1000) as requests:
        assert 2 * requests <= 0.75 * free_descriptors() < 2 * requests + 2
    files = open_files(200)
    with reserved_requests(1000) as fewer:
        assert requests - 75 <= fewer <= requests - 74
    close_files(files)


def test_two_runs_do_not_reserve_the_same_descriptors(limit: int) -> None:
    with reserved_requests(1000) as first, reserved_requests(1000) as second:
        assert 2 * first + 2 * second < free_descriptors()
        assert second > 1
    with reserved_requests(1000) as again:
        assert again == first


def test_no_more_requests_are_reserved_than_needed(limit: int) -> None:
    with reserved_requests(3) as requests:
        assert requests == 3


def test_one_request_is_always_allowed(limit: int) -> None:
    files = []
    try:
        while True:
            files += open_files(1)
    except OSError:
        with reserved_requests(1000) as requests:
            free = free_descriptors()
    close_files(files)
    assert (requests, free) == (1, 0)


def test_half_the_limit_counts_as_free_if_open_files_cannot_be_counted(
    limit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(_: str) -> list[str]:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", unknown)
    assert free_descriptors() == limit // 2


def test_a_forked_child_has_reserved_nothing(limit: int) -> None:
    with reserved_requests(10):
        child = os.fork()
        if not child:
            os._exit(descriptors._reserved)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
