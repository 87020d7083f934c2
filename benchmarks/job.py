"""What a tool should do, as it is passed to the process that is measured."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Task of a tool."""

    tool: str
    """Name of the tool."""

    source: str
    """Directory that contains only the files."""

    listed: str = ""
    """The same directory where listing it is not counted, if that is another one."""

    destination: str
    """Directory, or ``s3://bucket/prefix``."""

    endpoint: str = ""
    """Address of the store."""

    checksums: bool = True
    """Whether boto3, awscli and this library send checksums, as with AWS."""

    encrypt: bool = False
    """Whether to request server-side encryption."""

    ca: str = ""
    """File of the certificate that the store's is signed with, if it speaks TLS."""

    requests: int = 256
    """Number of concurrent requests of peers that let it be set."""

    threads: int = 32
    """Number of threads of obstore."""

    rerun: bool = False
    """Whether the files are already at the destination."""

    before: str = ""
    """Another destination, to which the same process sends the files first, without being
    measured."""

    command: tuple[str, ...] = ()
    """Command line, if the tool is a program."""

    @property
    def files(self) -> list[str]:
        """Paths of the files, in order."""
        return [path for paths in self.folders.values() for path in paths]

    @property
    def folders(self) -> dict[str, list[str]]:
        """Paths of the files by folder; the name of the directory itself is empty."""
        listed = self.listed or self.source
        return {
            folder.removeprefix(listed).strip("/"): [
                folder.replace(listed, self.source, 1) + "/" + name for name in sorted(names)
            ]
            for folder, _, names in sorted(os.walk(listed))
            if names
        }

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.destination.split("/")[2]

    def key(self, path: str) -> str:
        """Return the key for a file."""
        return f"{self.destination.split('/', 3)[3]}/{os.path.basename(path)}"
