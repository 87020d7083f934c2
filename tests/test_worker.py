"""Test the description of a process, and the detection of directories local to a machine."""

from __future__ import annotations

import multiprocessing
import os
import socket
from concurrent.futures import ProcessPoolExecutor

import pytest

from nipype_datasink.worker import batch_job, describe_process, why_node_local


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": ""}, None),
        ({"SLURM_JOB_ID": "7", "JOB_ID": "8"}, "SLURM job 7"),
        ({"PBS_JOBID": "7.head"}, "PBS job 7.head"),
        ({"JOB_ID": "7"}, "SGE job 7"),
        ({"_CONDOR_JOB_AD": "/x/.job.ad"}, "HTCondor job /x/.job.ad"),
    ],
)
def test_batch_job_is_detected_from_the_environment(
    environment: dict[str, str], job: str | None
) -> None:
    assert batch_job(environment) == job


@pytest.mark.parametrize("path", ["/data/out", "/tmpdir/out", "/", "~/out", "/data/../home/tmp"])
def test_shared_directory_is_not_node_local(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert why_node_local(path) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("out", "is relative"),
        ("", "is relative"),
        ("/tmp", "is below /tmp"),
        ("/data/../tmp/out", "is below /tmp"),
        ("/dev/shm/out", "is below /dev/shm"),
        ("/mnt/job7/out", "is below /mnt/job7"),
    ],
)
def test_node_local_directory_is_explained(
    path: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/mnt/job7")

    assert why in (why_node_local(path) or "")


def test_process_description_has_host_and_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert describe_process() == f"process {os.getpid()} on {socket.gethostname()}"

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert describe_process().endswith(f"on {socket.gethostname()} (SLURM job 7)")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        assert pool.submit(describe_process).result().startswith("worker process ")
