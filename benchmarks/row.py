"""One row of the benchmark: a task that several tools do in turn."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.sources import Sources


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

    tls: bool = False
    """Whether the store speaks TLS."""

    second: bool = False
    """Whether the same process has sent the files to another prefix before."""

    requests: int = 256
    """Number of concurrent requests of peers that let it be set."""

    threads: int = 32
    """Number of threads of obstore."""

    existing_objects: int = 0
    """Number of objects that the prefix contains before the run."""

    checksums: bool = True
    """Whether boto3, awscli and this library send checksums, as with AWS."""

    encrypt: bool = False
    """Whether to request server-side encryption."""

    sent_before_by: str = ""
    """Tool that sends the files before the run, which then finds them unchanged; ``self``
    means that each tool sends them itself."""

    def __str__(self) -> str:
        parts = [
            str(self.sources),
            "TLS" if self.tls else "",
            f"{self.rtt} ms round trip" if self.rtt else "",
            "second sink" if self.second else "",
            "unchanged" if self.sent_before_by else "",
            "" if self.checksums else "without checksums",
            "encrypted" if self.encrypt else "",
            f"{self.existing_objects:,} other objects" if self.existing_objects else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Row):
    """Files that go to a directory."""

    to_other_file_system: bool = False
    """To another file system, instead of the same."""

    to_slow_disk: bool = False
    """To a disk on which each request takes a millisecond."""

    from_slow_disk: bool = False
    """The sources are on that disk, too."""

    rerun: bool = False
    """They are there already."""

    def __str__(self) -> str:
        if self.to_slow_disk:
            where = "within the slow disk" if self.from_slow_disk else "to the slow disk"
        else:
            where = "other file system" if self.to_other_file_system else "same file system"
        return f"{self.sources}, {where}{', rerun' if self.rerun else ''}"
