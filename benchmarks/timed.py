"""Run one tool in this process and print its time, CPU and memory as JSON.

This module imports only the standard library and what the tool needs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.job import Job

_THREADS = 32  # for boto3, where more do not help because of the GIL, and for bare copies
_MULTIPART_BYTES = 8 << 20  # bytes; from here on boto3 sends parts
_OBSTORE_PART_BYTES = 5 << 20  # its default


Action = Callable[[], object]


def nipype(job: Job) -> Action:
    import boto3.s3.inject  # noqa: F401
    from nipype.interfaces.io import DataSink

    return _run_of(DataSink(), job)


def classic(job: Job) -> Action:
    return _this_library(job, "classic")


def crt(job: Job) -> Action:

    return _this_library(job, "crt")


def local(job: Job) -> Action:
    from nipype_datasink import DataSink

    return _run_of(DataSink(), job)


def _this_library(job: Job, transport: str) -> Action:
    import nipype_datasink.s3.target  # noqa: F401
    from nipype_datasink import DataSink

    return _run_of(DataSink(s3_transfer_client=transport), job)


def _run_of(sink: Any, job: Job) -> Action:
    sink.inputs.base_directory = job.destination
    sink.inputs.encrypt_bucket_keys = job.encrypt
    for folder, files in job.folders.items():
        setattr(sink.inputs, folder or "@all", files)
    run: Action = sink.run
    return run


def boto3_threads(job: Job) -> Action:
    import boto3.s3.transfer

    def act() -> None:
        client = _boto3_client()
        absent = _absent(client, job) if job.rerun else job.files

        def send(path: str) -> None:
            in_parts = os.path.getsize(path) >= _MULTIPART_BYTES
            config = boto3.s3.transfer.TransferConfig(use_threads=in_parts)
            client.upload_file(path, job.bucket, job.key(path), Config=config)

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(send, absent))

    return act


@cache
def _boto3_client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(max_pool_connections=_THREADS))


def _absent(client: Any, job: Job) -> list[str]:
    """Return the files whose MD5 is not in one listing."""
    from hashlib import md5

    prefix = job.destination.split("/", 3)[3]
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=job.bucket, Prefix=prefix)
    stored = {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}

    def is_absent(path: str) -> bool:
        digest = md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
        return stored.get(job.key(path)) != f'"{digest}"'

    return [path for path in job.files if is_absent(path)]


def boto3_upload_file(job: Job) -> Action:
    import boto3.s3.inject

    def act() -> None:
        client = boto3.client("s3")
        for path in job.files:
            client.upload_file(path, job.bucket, job.key(path))

    return act


def crc64nvme(job: Job) -> Action:
    """Send with boto3 and CRC64NVME checksums, only to prepare objects for other tools."""
    import boto3.s3.inject

    client = boto3.client("s3")
    extra = {"ChecksumAlgorithm": "CRC64NVME"}

    def act() -> None:
        for path in job.files:
            client.upload_file(path, job.bucket, job.key(path), ExtraArgs=extra)

    return act


def obstore_asyncio(job: Job) -> Action:
    import asyncio

    import obstore

    async def send_all() -> None:
        store = _obstore_store(job.bucket, job.endpoint, job.ca)
        limit = asyncio.Semaphore(job.requests)

        async def send(path: str) -> None:
            async with limit:
                body, in_parts = _obstore_body(path)
                await obstore.put_async(store, job.key(path), body, use_multipart=in_parts)

        await asyncio.gather(*map(send, job.files))

    return lambda: asyncio.run(send_all())


def obstore_threads(job: Job) -> Action:
    return _obstore_in_threads(job, lambda _body, _etag: None)


def obstore_verified(job: Job) -> Action:
    """Compare the ETag of each object with the MD5 of the file, as this library does."""
    return _obstore_in_threads(job, _check_etag)


def _obstore_in_threads(job: Job, check: Callable[[bytes | Path, str], object]) -> Action:
    import obstore

    def act() -> None:
        store = _obstore_store(job.bucket, job.endpoint, job.ca)

        def send(path: str) -> None:
            body, in_parts = _obstore_body(path)
            sent = obstore.put(store, job.key(path), body, use_multipart=in_parts)
            check(body, sent["e_tag"].strip('"'))

        with ThreadPoolExecutor(job.threads) as pool:
            list(pool.map(send, job.files))

    return act


def _check_etag(body: bytes | Path, etag: str) -> None:
    from hashlib import md5

    if isinstance(body, bytes):
        digest = md5(body, usedforsecurity=False).hexdigest()
    else:
        with body.open("rb") as file:
            parts = iter(lambda: file.read(_OBSTORE_PART_BYTES), b"")
            digests = [md5(part, usedforsecurity=False).digest() for part in parts]
        whole = md5(b"".join(digests), usedforsecurity=False).hexdigest()
        digest = f"{whole}-{len(digests)}"
    if etag != digest:
        raise SystemExit(f"the ETag is {etag}, the MD5 {digest}")


@cache  # a second run in the same process uses the connections of the first
def _obstore_store(bucket: str, endpoint: str, ca: str) -> Any:
    from obstore.store import S3Store

    options: Any = {"root_certificate": Path(ca).read_text()} if ca else {"allow_http": True}
    return S3Store(bucket, endpoint=endpoint, unsigned_payload=True, client_options=options)


def _obstore_body(path: str) -> tuple[bytes | Path, bool]:
    """Return what obstore sends, and whether in parts: small files as bytes, which is faster."""
    body = Path(path)
    in_parts = body.stat().st_size >= _MULTIPART_BYTES
    return (body if in_parts else body.read_bytes()), in_parts


def bare_threads(job: Job) -> Action:
    """Only create, write and close each file: no temporary name, nothing compared."""
    folders = job.folders

    def copy(item: tuple[str, str]) -> None:
        folder, path = item
        target = os.path.join(job.destination, folder, os.path.basename(path))
        with open(path, "rb") as file, open(target, "xb", buffering=0) as new:
            new.write(file.read())

    def act() -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            made = [os.path.join(job.destination, folder) for folder in folders if folder]
            list(pool.map(os.mkdir, made))
            files = [(folder, path) for folder, paths in folders.items() for path in paths]
            list(pool.map(copy, sorted(files, key=lambda item: os.path.basename(item[1]))))

    return act


def measure(act: Action) -> dict[str, float]:
    """Run a tool in this process.

    Memory is the peak above the memory of the interpreter after all imports.
    """
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, see proc(5)
    idle, before, begin = _memory("VmRSS"), _cpu(), time.perf_counter()
    act()
    seconds, cpu = time.perf_counter() - begin, _cpu() - before
    return {"wall": seconds, "cpu": cpu, "memory": _memory("VmHWM") - idle}


def measure_command(command: tuple[str, ...]) -> dict[str, float]:
    """Run a program; measure its whole process."""
    begin = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
    return {
        "wall": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
    }


def _memory(field: str) -> float:
    """Return a field of /proc/self/status in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def _cpu() -> float:
    return sum(os.times()[:4])


TOOLS: dict[str, Callable[[Job], Action]] = {
    "nipype": nipype,
    "classic": classic,
    "crt": crt,
    "local": local,
    "boto3 in threads": boto3_threads,
    "boto3 upload_file": boto3_upload_file,
    "crc64nvme": crc64nvme,
    "bare threads": bare_threads,
    "obstore asyncio": obstore_asyncio,
    "obstore threads": obstore_threads,
    "obstore verified": obstore_verified,
}


def _reset_counts(endpoint: str) -> None:
    with urlopen(Request(f"{endpoint}/-/reset", method="POST")):
        pass


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    command = tuple(job.command)
    if job.before:
        TOOLS[job.tool](replace(job, destination=job.before))()
        _reset_counts(job.endpoint)
    result = measure_command(command) if command else measure(TOOLS[job.tool](job))
    print(f"\n{json.dumps(result)}", flush=True)
    os._exit(0)  # obstore's threads sometimes abort a process that ends normally


if __name__ == "__main__":
    main()
