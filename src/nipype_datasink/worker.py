"""Describe the process that runs a sink, and find what must not or cannot leave its machine."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from collections.abc import Mapping

# Variables that batch systems set in the environment of a job, and the names of these systems.
_JOBS = {
    "SLURM_JOB_ID": "SLURM",
    "PBS_JOBID": "PBS",
    "LSB_JOBID": "LSF",
    "OAR_JOB_ID": "OAR",
    "_CONDOR_JOB_AD": "HTCondor",
    "JOB_ID": "SGE",  # last, because other programs may use this common name
}
_NODE_LOCAL_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run")

_SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)


def batch_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the batch system's name and number of the current job; None outside a job.

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
    """Return host, process and job, for errors that are read on another machine."""
    kind = "worker process" if multiprocessing.parent_process() else "process"
    place = f"{kind} {os.getpid()} on {socket.gethostname()}"
    job = batch_job()
    return f"{place} ({job})" if job else place


def why_node_local(path: str) -> str | None:
    """Return why a path is not the same directory on another machine; None if it may be."""
    path = os.path.expanduser(path)
    if not os.path.isabs(path):
        return "is relative to the directory of this process"
    for folder in dict.fromkeys((tempfile.gettempdir(), *_NODE_LOCAL_FOLDERS)):
        if os.path.commonpath([folder, os.path.normpath(path)]) == folder:
            return f"is below {folder}, which is local to each machine"
    return None


def secret_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the names of variables with secrets: AWS's keys, and proxies with a password.

    Examples
    --------
    >>> secret_variables({"AWS_SESSION_TOKEN": "x", "HTTP_PROXY": "http://me:x@proxy", "A": "x"})
    ['AWS_SESSION_TOKEN', 'HTTP_PROXY']
    """
    return [
        name
        for name, value in environment.items()
        if name in _SECRET_VARIABLES or (name.lower().endswith("_proxy") and "@" in value)
    ]
