"""Measure costs that do not depend on files: the import, and a second sink in a process.

Run as a module, this measures one of the two in its own process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.server import BUCKET, Server, running
from benchmarks.sources import Sources
from benchmarks.tools import call, is_installed, make_home

_REPEATS = 20


def overheads(server: Path, workspace: Path, processes: int) -> dict[str, float]:
    """Measure both; return the numbers by name.

    Parameters
    ----------
    server
        The compiled server.
    workspace
        Directory for sources.
    processes
        Number of processes whose import is measured.
    """
    home = make_home(workspace)
    source = Sources(1, 1024).make(workspace / "sources")
    imports = [call(__name__, "{}", "", home)["ms"] for _ in range(processes)]
    result = {"import of DataSink after nipype.interfaces.io, ms": median(imports)}
    with running(server) as store:
        for transport in filter(is_installed, ("classic", "crt")):
            job = {"transport": transport, "endpoint": store.endpoint, "source": str(source)}
            found = call(__name__, json.dumps(job), store.endpoint, home)
            result.update({f"second sink, {transport}: {name}": found[name] for name in found})
    return result


def _imports() -> dict[str, float]:
    """Measure the import of `DataSink` after nipype's own module."""
    import nipype.interfaces.io  # noqa: F401

    begin = time.perf_counter()
    from nipype_datasink import DataSink  # noqa: F401

    return {"ms": 1000 * (time.perf_counter() - begin)}


def _second_sink(transport: str, endpoint: str, source: str) -> dict[str, float]:
    """Measure CPU time and requests of a sink of one file, after another sink has run."""
    from nipype.interfaces.utility import IdentityInterface

    from nipype_datasink import DataSink

    def sink(number: int) -> Any:
        one = DataSink(s3_transfer_client=transport)
        one.inputs.base_directory = f"s3://{BUCKET}/{transport}/{number}"
        one.inputs.bold = [str(path) for path in Path(source).iterdir()]
        return one

    sink(0).run()
    idle = _cpu_ms([IdentityInterface(fields=["x"], x=1).run] * _REPEATS)
    server = Server(endpoint, 0)
    server.take_counts()
    sinking = _cpu_ms([sink(number).run for number in range(1, 1 + _REPEATS)])
    requests = sum(server.take_counts().values()) / _REPEATS
    return {
        "CPU of nipype's run() of an empty interface, ms": idle,
        "CPU of the sink in addition, ms": sinking - idle,
        "requests": requests,
    }


def _cpu_ms(acts: list[Callable[[], object]]) -> float:
    """Return the median CPU time of some calls, in ms."""
    duration = []
    for act in acts:
        begin = time.process_time()
        act()
        duration.append(time.process_time() - begin)
    return 1000 * median(duration)


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(f"\n{json.dumps(_second_sink(**job) if job else _imports())}")
