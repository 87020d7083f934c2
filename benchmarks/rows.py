"""What is measured: a row is one task that several contestants are given in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contestants import NIPYPE
from benchmarks.sources import Sources

_KIB, _MIB = 1 << 10, 1 << 20
_PYTHON = (NIPYPE, "boto3 in threads")
_PEERS = ("awscli", "rclone", "s5cmd", "obstore")
_OURS = ("classic", "crt")
_SLOW_RTT = 20  # ms; from here on nipype runs once
_MANY = 10_000  # files; from here on our slower way runs once, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One task."""

    name: str
    """For ``--only``."""

    group: str
    """Heading of the table that it belongs to."""

    sources: Sources
    """What is sunk."""

    contestants: tuple[str, ...]
    """In the order in which they run."""

    once: tuple[str, ...] = ()
    """Those that run in the first round only."""

    def __str__(self) -> str:
        return str(self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(Row):
    """Files that go to S3."""

    rtt: int = 0
    """Round-trip time in ms."""

    crowd: int = 0
    """Objects that the prefix holds before."""

    encrypt: bool = False
    """Ask for encryption on the server."""

    seeded_by: str = ""
    """Sends the files first, where they are to be found unchanged; ``self`` is each contestant."""

    def __str__(self) -> str:
        parts = [
            str(self.sources),
            f"{self.rtt} ms round trip" if self.rtt else "",
            "unchanged" if self.seeded_by else "",
            "encrypted" if self.encrypt else "",
            f"beside {self.crowd:,} objects" if self.crowd else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Row):
    """Files that go to a directory."""

    across: bool = False
    """To another file system, instead of the same."""

    rerun: bool = False
    """They are there already."""

    def __str__(self) -> str:
        where = "other file system" if self.across else "same file system"
        return f"{self.sources}, {where}{', rerun' if self.rerun else ''}"


def rows(rtts: Sequence[int]) -> list[Row]:
    """Return every row, for these round-trip times in ms."""
    return [*_uploads(rtts), *_reruns(), *_crowd(), *_scaling(), *_copies(_SIZES)]


def quick_rows() -> list[Row]:
    """Return rows that show in seconds that everything works; their numbers say nothing."""
    few, parts = Sources(5, _KIB), Sources(1, 9 * _MIB)
    group = "Quick"
    return [
        Upload(name="quick", group=group, sources=few, contestants=(*_PYTHON, *_OURS)),
        Upload(name="quick-parts", group=group, sources=parts, contestants=("classic", "crt")),
        Upload(
            name="quick-rerun",
            group=group,
            sources=few,
            contestants=_OURS,
            seeded_by="self",
            rtt=1,
            crowd=20,
        ),
        Copy(name="quick-local", group=group, sources=few, contestants=(NIPYPE, "ours", "cp -r")),
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
            contestants=(*_PYTHON, *_PEERS, *_OURS),
            rtt=rtt,
            once=(NIPYPE,) if rtt >= _SLOW_RTT else (),
        )
        for rtt in rtts
    ]
    large = [
        Upload(
            name=name,
            group="Large files",
            sources=_SIZES[name],
            contestants=(*_PYTHON, *extra, *_PEERS, *_OURS),
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
            contestants=(NIPYPE, *peers, *_OURS),
            seeded_by="self",
        ),
        Upload(
            name="rerun-encrypted",
            group=group,
            sources=small,
            contestants=(NIPYPE, *_OURS),
            seeded_by="self",
            encrypt=True,
        ),
        Upload(
            name="rerun-1gib",
            group=group,
            sources=Sources(1, 1 << 30),
            contestants=(NIPYPE, *_OURS),
            seeded_by="crc64nvme",
        ),
    ]


def _crowd() -> list[Row]:
    return [
        Upload(
            name="crowd",
            group="Few files beside many",
            sources=Sources(3, 16 * _KIB),
            contestants=(NIPYPE, *_OURS),
            crowd=100_000,
        )
    ]


def _scaling() -> list[Row]:
    return [
        Upload(
            name=f"scaling-{count}",
            group="Growing numbers",
            sources=Sources(count, 16 * _KIB),
            contestants=(NIPYPE, "s5cmd", *_OURS),
            once=(NIPYPE, "classic") if count >= _MANY else (NIPYPE,),
        )
        for count in (100, 10_000)  # 1,000 are measured anyway
    ]


def _copies(sizes: dict[str, Sources]) -> list[Row]:
    return [
        Copy(
            name=f"local-{name}-{'across' if across else 'same'}{'-rerun' if rerun else ''}",
            group="Local",
            sources=sources,
            contestants=(NIPYPE, *(("cp -r",) if across else ()), "ours"),
            across=across,
            rerun=rerun,
        )
        for across in (False, True)
        for name, sources in sizes.items()
        for rerun in (False, True)
    ]
