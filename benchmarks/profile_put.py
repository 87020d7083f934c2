"""Measure the CPU time of each stage when boto3 sends a small PUT; also a program.

A profiler slows Python code more than C code. Therefore the profile gives the share of each stage,
and the total time is measured without a profiler.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.server import BUCKET, running
from benchmarks.sources import Sources
from benchmarks.tools import BUILD, call, make_home

_MODULE = "benchmarks.profile_put"
_SIZE = 16 << 10  # bytes
# The time of a stage is that of its functions and their callees. None of them calls another one.
_STAGES = {
    "signing, with SHA-256 of the body": [("signers.py", "sign")],
    "checking and serialising arguments": [
        ("validate.py", "serialize_to_request"),
        ("awsrequest.py", "prepare_request_dict"),
    ],
    "resolving the endpoint": [("client.py", "_resolve_endpoint_ruleset")],
    "botocore's checksums": [
        ("httpchecksum.py", "resolve_request_checksum_algorithm"),
        ("httpchecksum.py", "apply_request_checksum"),
    ],
    "urllib3 and http.client": [("httpsession.py", "send")],
    "parsing the response": [("parsers.py", "parse")],
    "deciding on a retry": [("endpoint.py", "_needs_retry")],
}
_SOCKET = "_socket.socket"


def profile_put(server: Path, workspace: Path, count: int) -> dict[str, float]:
    """Return the CPU time of one PUT in ms by stage.

    Parameters
    ----------
    server
        The compiled server.
    workspace
        Directory for sources.
    count
        Number of files that are sent.
    """
    source = Sources(count, _SIZE).make(workspace / "sources")
    with running(server) as store:
        return call(_MODULE, str(source), store.endpoint, make_home(workspace))


def _measure(source: Path) -> dict[str, float]:
    files = [str(path) for path in sorted(source.iterdir())]
    _sink("warm", files[:1]).run()
    times: list[float] = []
    with _around_send(*[lambda: times.append(time.thread_time())] * 2):
        begin = time.process_time()  # as the files are sent in a thread of their own
        _sink("plain", files).run()
        whole = time.process_time() - begin
    sending = times[1] - times[0]
    profile = cProfile.Profile(time.thread_time)
    with _around_send(profile.enable, profile.disable):
        _sink("profiled", files).run()
    shares = _shares(pstats.Stats(profile), len(files))
    stages = {stage: share * sending for stage, share in shares.items()}
    stages["all else: nipype's run(), the plan, one listing"] = whole - sending
    return {stage: 1000 * duration / len(files) for stage, duration in stages.items()}


@contextmanager
def _around_send(before: Callable[[], object], after: Callable[[], object]) -> Iterator[None]:
    """Call functions in this thread before and after all files of a sink are sent."""
    from nipype_datasink.s3.classic import ClassicTransport

    send = ClassicTransport.send

    def watched(*arguments: Any) -> Any:
        before()
        try:
            return send(*arguments)
        finally:
            after()

    ClassicTransport.send = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        ClassicTransport.send = send  # type: ignore[method-assign]


def _sink(folder: str, files: list[str]) -> Any:
    from nipype_datasink import DataSink

    sink = DataSink(s3_transfer_client="classic", s3_max_concurrency=1)
    sink.inputs.base_directory = f"s3://{BUCKET}/{folder}"
    setattr(sink.inputs, "@all", files)
    return sink


def _shares(profile: pstats.Stats, count: int) -> dict[str, float]:
    """Return the share of each stage in the time of the sending thread."""
    stats: Mapping[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = profile.stats  # type: ignore[attr-defined]
    calls = sum(one[1] for where, one in stats.items() if where[2] == "_make_api_call")
    if calls != count:
        raise SystemExit(f"the profile saw {calls} of {count} requests")
    taken = {
        stage: sum(one[3] for where, one in stats.items() if _is_one_of(where, functions))
        for stage, functions in _STAGES.items()
    }
    socket = sum(one[2] for where, one in stats.items() if _SOCKET in where[2])
    taken["urllib3 and http.client"] -= socket
    taken["system calls of the socket"] = socket
    botocore = sum(one[3] for where, one in stats.items() if where[2] == "_make_api_call")
    whole = sum(one[2] for one in stats.values())
    taken["events and the rest of botocore"] = botocore - sum(taken.values())
    taken["this library: verification and outcomes"] = whole - botocore
    return {stage: duration / whole for stage, duration in taken.items()}


def _is_one_of(where: tuple[str, int, str], functions: list[tuple[str, str]]) -> bool:
    path, _, function = where
    return any(path.endswith(f"botocore/{file}") and function == name for file, name in functions)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_put", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="number of files")
    options = parser.parse_args()
    stages = profile_put(BUILD / "nulls3", BUILD / "workspace", options.count)
    whole = sum(stages.values())
    for stage, duration in stages.items():
        print(f"{stage:40}{duration:8.3f} ms {100 * duration / whole:5.1f} %")
    print(f"{'all':40}{whole:8.3f} ms")


if __name__ == "__main__":
    if sys.argv[1:] and Path(sys.argv[1]).is_dir():
        print(f"\n{json.dumps(_measure(Path(sys.argv[1])))}")
    else:
        main()
