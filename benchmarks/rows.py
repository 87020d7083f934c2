"""Rows of the benchmark: each is one task that several tools do in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.sources import Sources
from benchmarks.tools import NIPYPE

_KIB, _MIB = 1 << 10, 1 << 20
_PYTHON = (NIPYPE, "boto3 in threads")
_PEERS = ("awscli", "rclone", "s5cmd", "obstore")
_OURS = ("classic", "crt")
_SLOW_RTT_MS = 20  # from this round-trip time on, nipype runs once
_MANY_FILES = 10_000  # from this number on, the slower tools run once


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One task."""

    name: str
    """Name for ``--only``."""

    group: str
    """Heading of its table."""

    sources: Sources
    """Files to sink."""

    tools: tuple[str, ...]
    """Tools in the order in which they run."""

    once: tuple[str, ...] = ()
    """Tools that run in the first round only."""

    def __str__(self) -> str:
        return str(self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(Row):
    """Files that go to S3."""

    rtt: int = 0
    """Round-trip time in ms."""

    existing_objects: int = 0
    """Number of objects that the prefix contains before the run."""

    encrypt: bool = False
    """Whether to request server-side encryption."""

    sent_before_by: str = ""
    """Tool that sends the files before the run, which then finds them unchanged; ``self``
    means that each tool sends them itself."""

    def __str__(self) -> str:
        parts = [
            str(self.sources),
            f"{self.rtt} ms round trip" if self.rtt else "",
            "unchanged" if self.sent_before_by else "",
            "encrypted" if self.encrypt else "",
            f"{self.existing_objects:,} other objects" if self.existing_objects else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Row):
    """Files that go to a directory."""

    to_other_file_system: bool = False
    """To another file system, instead of the same."""

    rerun: bool = False
    """They are there already."""

    def __str__(self) -> str:
        where = "other file system" if self.to_other_file_system else "same file system"
        return f"{self.sources}, {where}{', rerun' if self.rerun else ''}"


def rows(rtts: Sequence[int]) -> list[Row]:
    """Return every row, for these round-trip times in ms."""
    return [*_uploads(rtts), *_reruns(), *_many_existing_objects(), *_scaling(), *_copies(_SIZES)]


def quick_rows() -> list[Row]:
    """Return rows that show in seconds that everything works; their numbers say nothing."""
    few, parts = Sources(5, _KIB), Sources(1, 9 * _MIB)
    group = "Quick"
    return [
        Upload(name="quick", group=group, sources=few, tools=(*_PYTHON, *_OURS)),
        Upload(name="quick-parts", group=group, sources=parts, tools=("classic", "crt")),
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
    large = [
        Upload(
            name=name,
            group="Large files",
            sources=_SIZES[name],
            tools=(*_PYTHON, *extra, *_PEERS, *_OURS),
        )
        for name, extra in {"medium": (), "large": ("boto3 upload_file",)}.items()
    ]
    return [*small, *large]


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
    return [
        Upload(
            name=f"scaling-{count}",
            group="Different numbers of files",
            sources=Sources(count, 16 * _KIB),
            tools=(NIPYPE, "s5cmd", *_OURS),
            once=(NIPYPE, "classic") if count >= _MANY_FILES else (NIPYPE,),
        )
        for count in (100, 10_000)  # 1,000 are measured anyway
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
