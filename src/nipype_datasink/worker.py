"""Where this process runs, in words, and what a worker on another machine cannot reach."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from collections.abc import Mapping

__all__ = ["batch_job", "describe_process", "why_node_local"]

# What batch systems set in a job's environment, and their names.
_JOBS = {
    "SLURM_JOB_ID": "SLURM",
    "PBS_JOBID": "PBS",
    "LSB_JOBID": "LSF",
    "OAR_JOB_ID": "OAR",
    "_CONDOR_JOB_AD": "HTCondor",
    "JOB_ID": "SGE",  # last, as others may use so plain a name
}
_NODE_LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")


def batch_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the job of a batch system that this process is, if it is one.

    Examples
    --------
    >>> batch_job({"SLURM_JOB_ID": "12"})
    'SLURM job 12'
    """
    for variable, system in _JOBS.items():
        if environment.get(variable):
            return f"{system} job {environment[variable]}"
    return None


def describe_process() -> str:
    """Return host, process and job; a crash file is read elsewhere."""
    kind = "worker process" if multiprocessing.parent_process() else "process"
    place = f"{kind} {os.getpid()} on {socket.gethostname()}"
    job = batch_job()
    return f"{place} ({job})" if job else place


def why_node_local(path: str) -> str | None:
    """Return why a path means another place on another machine, if it does."""
    path = os.path.expanduser(path)
    if not os.path.isabs(path):
        return "is relative to the directory of this process"
    for folder in dict.fromkeys((tempfile.gettempdir(), *_NODE_LOCAL)):
        if os.path.commonpath([folder, os.path.normpath(path)]) == folder:
            return f"is below {folder}, which most machines have for themselves"
    return None
