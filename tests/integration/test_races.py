"""Many processes at one destination, and clients across forks."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype_datasink import DataSink
from tests.conftest import contents
from tests.integration.conftest import Count, Record

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

PROCESSES = 8
NAMES = ("plain.dat", "other.dat", "hard.dat", "symbolic.dat", "folder/inside.dat")
_fork = multiprocessing.get_context("fork")


def content(process: int, name: str) -> bytes:
    """Return bytes that differ for each process and name, also in length."""
    return b"%d %s " % (process, name.encode()) * (500 + 5000 * process)


def make_sources(directory: Path, process: int) -> list[str]:
    """Write the sources of one process: files, links to them, and a directory."""
    (directory / "folder").mkdir(parents=True)
    for name in ("plain.dat", "other.dat", "folder/inside.dat"):
        (directory / name).write_bytes(content(process, name))
    os.link(directory / "plain.dat", directory / "hard.dat")
    (directory / "symbolic.dat").symlink_to("other.dat")
    return [str(directory / name.partition("/")[0]) for name in NAMES]


def run_sinks(sources: list[str], rounds: int, inputs: dict[str, Any]) -> None:
    """Deliver the same files several times, with and without hard links."""
    for number in range(rounds):
        sink = DataSink(local_hardlink=number % 2 == 0, **inputs)
        sink.inputs.out = sources
        sink.run()


def in_processes(
    task: Callable[..., None], arguments: list[tuple[object, ...]], repeat: Callable[[], object]
) -> None:
    """Run `task` in one process for each item of `arguments`; raise the first error."""
    with ProcessPoolExecutor(len(arguments), mp_context=_fork) as pool:
        futures = [pool.submit(task, *each) for each in arguments]
        while not all(future.done() for future in futures):
            repeat()
        for future in futures:
            future.result()


def variants(name: str) -> set[bytes]:
    origin = {"hard.dat": "plain.dat", "symbolic.dat": "other.dat"}.get(name, name)
    return {content(process, origin) for process in range(PROCESSES)}


def test_many_processes_write_the_same_files(workdir: Path, count: Count, record: Record) -> None:
    rounds = count(200, 20)
    sources = [make_sources(workdir / f"in{n}", n) for n in range(PROCESSES)]
    wanted = {name: variants(name) for name in NAMES}
    out = workdir / "out"
    (out / "out").mkdir(parents=True)
    bystander = workdir / "bystander"
    bystander.write_bytes(content(0, "plain.dat"))
    (out / "out/plain.dat").symlink_to(bystander)
    os.link(bystander, out / "out/hard.dat")
    looks = 0

    def look() -> None:
        nonlocal looks
        for name in NAMES:
            path = out / "out" / name
            looks += path.exists()
            assert not path.exists() or path.read_bytes() in wanted[name], f"{name} is incomplete"

    inputs = {"base_directory": str(out)}
    in_processes(run_sinks, [(each, rounds, inputs) for each in sources], look)
    look()
    for process in range(PROCESSES):
        for name in ("plain.dat", "other.dat", "hard.dat", "folder/inside.dat"):
            path = workdir / f"in{process}" / name
            assert path.read_bytes() == content(process, name.replace("hard", "plain"))
    assert bystander.read_bytes() == content(0, "plain.dat"), "written through a link"
    assert not list(out.rglob(".datasink-*"))
    assert looks > rounds
    record(
        "Processes at one directory",
        {
            "processes": PROCESSES,
            "runs of each": rounds,
            "files read meanwhile, all complete": looks,
        },
    )


def test_many_processes_write_the_same_objects(
    *,
    workdir: Path,
    bucket: Bucket,
    inputs: dict[str, Any],
    transport: str,
    count: Count,
    record: Record,
) -> None:
    rounds = count(200, 10)
    sources = [make_sources(workdir / f"in{n}", n) for n in range(PROCESSES)]
    looks = 0

    def look() -> None:
        nonlocal looks
        found = contents(bucket)
        looks += len(found)
        for key, data in found.items():
            assert data in variants(key.removeprefix("out/")), f"{key} is incomplete"

    in_processes(run_sinks, [(each, rounds, inputs) for each in sources], look)
    look()
    assert sorted(contents(bucket)) == sorted(f"out/{name}" for name in NAMES)
    record(
        f"Processes at one prefix, {transport}",
        {
            "processes": PROCESSES,
            "runs of each": rounds,
            "objects read meanwhile, all complete": looks,
        },
    )


def send_own(process: int, directory: Path, runs: int, inputs: dict[str, Any]) -> None:
    """Send files of this process to a prefix that only this process uses."""
    path = directory / f"{process}.dat"
    for number in range(runs):
        path.write_bytes(content(process, str(number)))
        sink = DataSink(container=f"{process}/{number}", infields=["x"], x=str(path), **inputs)
        sink.run()


@contextmanager
def threads_that_send(directory: Path, inputs: dict[str, Any]) -> Iterator[list[int]]:
    """Send from two threads; yield the number of files that each has sent so far."""
    finished = threading.Event()
    sent = [0, 0]

    def keep_sending(number: int) -> None:
        while not finished.is_set():
            send_own(100 + number, directory, 5, inputs)
            sent[number] += 5

    with ThreadPoolExecutor(len(sent)) as pool:
        futures = [pool.submit(keep_sending, number) for number in range(len(sent))]
        yield sent
        finished.set()
        for future in futures:
            future.result()


def test_clients_across_forks(
    *,
    workdir: Path,
    bucket: Bucket,
    inputs: dict[str, Any],
    transport: str,
    count: Count,
    record: Record,
) -> None:
    """Children are forked while threads of the parent send through its open client."""
    runs = count(200, 20)
    send_own(PROCESSES, workdir, 1, inputs)
    with threads_that_send(workdir, inputs) as sent:
        children = [
            _fork.Process(target=send_own, args=(number, workdir, runs, inputs))
            for number in range(PROCESSES)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
    assert [child.exitcode for child in children] == [0] * PROCESSES
    assert min(sent) > 0
    there = contents(bucket)
    for process in range(PROCESSES):
        for number in range(runs):
            assert there[f"{process}/{number}/x/{process}.dat"] == content(process, str(number))
    record(
        f"Forked children, {transport}",
        {"children": PROCESSES, "transfers of each": runs, "transfers of the parent": sum(sent)},
    )
