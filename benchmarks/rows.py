"""The rows of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.row import Copy, Row, Upload
from benchmarks.sources import Sources
from benchmarks.tools import NIPYPE

_KIB, _MIB = 1 << 10, 1 << 20
_PYTHON = (NIPYPE, "boto3 in threads")
_OBSTORE = ("obstore asyncio", "obstore threads", "obstore verified")
_PEERS = ("awscli", "rclone", "s5cmd", *_OBSTORE)
_OURS = ("classic", "crt")
_SECOND = (*_OBSTORE, *_OURS)  # tools that can send twice in one process
_SLOW_RTT_MS = 20  # from this round-trip time on, nipype runs once
# With TLS, each connection costs a handshake, so fewer of them are faster. obstore's numbers of
# threads are by round-trip time in ms, from the longest.
_TLS_REQUESTS = 128
_TLS_THREADS = ((50, 128), (20, 64), (0, 32))


def rows(rtts: Sequence[int]) -> list[Row]:
    """Return every row, for these round-trip times in ms."""
    return [
        *_uploads(rtts),
        *_tls_uploads(rtts),
        *_reruns(),
        *_many_existing_objects(),
        *_scaling(),
        *_copies(_SIZES),
        *_slow_copies(),
    ]


def quick_rows() -> list[Row]:
    """Return rows that show in seconds that everything works; their numbers say nothing."""
    few, parts = Sources(5, _KIB), Sources(1, 9 * _MIB)
    group = "Quick"
    return [
        Upload(name="quick", group=group, sources=few, tools=(*_PYTHON, *_OURS)),
        Upload(name="quick-parts", group=group, sources=parts, tools=_OURS, tls=True, second=True),
        Upload(name="quick-no-checksums", group=group, sources=parts, tools=_OURS, checksums=False),
        Upload(
            name="quick-rerun",
            group=group,
            sources=few,
            tools=_OURS,
            sent_before_by="self",
            rtt=1,
            existing_objects=20,
        ),
        Copy(name="quick-local", group=group, sources=few, tools=(NIPYPE, "local", "cp -r")),
        Copy(
            name="quick-disk",
            group=group,
            sources=Sources(4, _KIB, folders=2),
            tools=("local",),
            to_slow_disk=True,
            from_slow_disk=True,
            rerun=True,
        ),
    ]


_SIZES = {
    "small": Sources(1_000, 16 * _KIB),
    "medium": Sources(40, 8 * _MIB),
    "large": Sources(2, 512 * _MIB),
}


def _uploads(rtts: Sequence[int]) -> list[Row]:
    small = [
        Upload(
            name=f"small-{rtt}ms",
            group="Small files",
            sources=_SIZES["small"],
            tools=(*_PYTHON, *_PEERS, *_OURS),
            rtt=rtt,
            once=(NIPYPE,) if rtt >= _SLOW_RTT_MS else (),
        )
        for rtt in rtts
    ]
    second = [replace(row, name=f"{row.name}-second", second=True, tools=_SECOND) for row in small]
    large = [
        Upload(
            name=name,
            group="Large files",
            sources=_SIZES[name],
            tools=(*_PYTHON, *extra, *_PEERS, *_OURS),
        )
        for name, extra in {"medium": (), "large": ("boto3 upload_file",)}.items()
    ]
    return [*small, *second, *large, *map(_without_checksums, large)]


def _without_checksums(row: Upload) -> Upload:
    """Return the row for tools that send no checksums: this library outside AWS, and two peers."""
    tools = ("s5cmd", *_OBSTORE, *_OURS)
    return replace(row, name=f"{row.name}-no-checksums", checksums=False, tools=tools)


def _tls_uploads(rtts: Sequence[int]) -> list[Row]:
    rows = [
        Upload(
            name=f"tls-{size}-{rtt}ms{'-second' if second else ''}",
            group="TLS",
            sources=_SIZES[size],
            tools=_tls_tools(size, rtt, second=second),
            tls=True,
            rtt=rtt,
            second=second,
            requests=_TLS_REQUESTS,
            threads=next(number for least, number in _TLS_THREADS if rtt >= least),
        )
        for size in _SIZES
        for rtt in rtts
        for second in (False, True)
    ]
    large = [row for row in rows if row.sources.size >= _MIB and not row.second]
    return [*rows, *map(_without_checksums, large)]


def _tls_tools(size: str, rtt: int, *, second: bool) -> tuple[str, ...]:
    """Return the tools that matter: without TLS the others are several times slower as well."""
    if second:  # programs send only once
        return (*_OBSTORE, "crt") if size == "large" else _SECOND
    if size != "small":
        return ("s5cmd", *_OBSTORE, *_OURS)
    slow = (NIPYPE,) if rtt < _SLOW_RTT_MS else ()
    return (*slow, "boto3 in threads", "rclone", "s5cmd", *_OBSTORE, *_OURS)


def _reruns() -> list[Row]:
    group, small = "Unchanged files", _SIZES["small"]
    peers = ("boto3 in threads", "awscli", "rclone", "s5cmd")
    return [
        Upload(
            name="rerun",
            group=group,
            sources=small,
            tools=(NIPYPE, *peers, *_OURS),
            sent_before_by="self",
        ),
        Upload(
            name="rerun-encrypted",
            group=group,
            sources=small,
            tools=(NIPYPE, *_OURS),
            sent_before_by="self",
            encrypt=True,
        ),
        Upload(
            name="rerun-encrypted-20ms",
            group=group,
            sources=small,
            tools=(NIPYPE, *_OURS),
            once=(NIPYPE,),
            sent_before_by="self",
            encrypt=True,
            rtt=20,
        ),
        Upload(
            name="rerun-1gib",
            group=group,
            sources=Sources(1, 1 << 30),
            tools=(NIPYPE, *_OURS),
            sent_before_by="crc64nvme",
        ),
    ]


def _many_existing_objects() -> list[Row]:
    return [
        Upload(
            name="existing",
            group="Few new files in a large prefix",
            sources=Sources(3, 16 * _KIB),
            tools=(NIPYPE, *_OURS),
            existing_objects=100_000,
        )
    ]


def _scaling() -> list[Row]:
    group, size = "Different numbers of files", 16 * _KIB
    senders, copiers = (NIPYPE, "s5cmd", *_OURS), (NIPYPE, "cp -r", "local")
    # The tools that run once, by the number of files; 1,000 are measured anyway.
    sent_once = {100: (NIPYPE,), 10_000: (NIPYPE, "classic"), 100_000: senders}
    copied_once: dict[int, tuple[str, ...]] = {10_000: (), 100_000: copiers}
    return [
        *(
            Upload(
                name=f"scaling-{count}",
                group=group,
                sources=Sources(count, size),
                tools=senders,
                once=once,
            )
            for count, once in sent_once.items()
        ),
        *(
            Copy(
                name=f"local-scaling-{count}",
                group=group,
                sources=Sources(count, size),
                tools=copiers,
                once=once,
                to_other_file_system=True,
            )
            for count, once in copied_once.items()
        ),
    ]


def _copies(sizes: dict[str, Sources]) -> list[Row]:
    return [
        Copy(
            name=f"local-{name}-{disk}{'-rerun' if rerun else ''}",
            group="Local disk",
            sources=sources,
            tools=(NIPYPE, *(("cp -r",) if disk == "other" else ()), "local"),
            to_other_file_system=disk == "other",
            rerun=rerun,
        )
        for disk in ("same", "other")
        for name, sources in sizes.items()
        for rerun in (False, True)
    ]


def _slow_copies() -> list[Row]:
    one, many = _SIZES["small"], replace(_SIZES["small"], folders=100)
    return [
        Copy(
            name=f"disk-{name}{'-both' if both else ''}{'-rerun' if rerun else ''}",
            group="Network disk",
            sources=sources,
            tools=(NIPYPE, "cp -r", *(() if rerun else ("bare threads",)), "local"),
            to_slow_disk=True,
            from_slow_disk=both,
            rerun=rerun,
            once=(NIPYPE,),
        )
        for name, sources in {"folder": one, "folders": many}.items()
        for both in (False, True)
        for rerun in (False, True)
    ]
