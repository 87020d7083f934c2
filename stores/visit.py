"""Access to a store under test: sinks write to it, boto3 reads the objects back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stores.sinks import Run, Settings, run_sink

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

FIELD = "files"  # of the sinks
_READERS = 8
_TOLERANT = Config(
    connect_timeout=5,
    read_timeout=20,
    retries={"max_attempts": 2},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class Visit:
    """One store, tested with one transport and common settings.

    Parameters
    ----------
    store
        Name of the store.
    address
        URL of the store.
    keys
        Access key and secret key.
    transport
        A value of ``s3_transfer_client``.
    directory
        Where source files are created.
    over_tls
        Settings that make sinks use TLS for the same store.
    settings
        Additional settings of all sinks.
    """

    _containers = itertools.count()

    def __init__(  # noqa: PLR0913
        self,
        store: str,
        address: str,
        *,
        keys: tuple[str, str],
        transport: str,
        directory: Path,
        over_tls: Settings,
        settings: Settings | None = None,
    ) -> None:
        self.store = store
        self.over_tls = over_tls
        self.transport = transport
        self.directory = directory
        self.bucket = f"trials-{transport}"
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        inputs = {"s3_endpoint_url": address, "s3_transfer_client": transport}
        own = Settings(inputs=inputs, environment=dict(zip(names, keys, strict=True)))
        self._settings = own | (settings or Settings())
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=_TOLERANT,
        )

    def new_container(self) -> str:
        """Return the name of an unused folder in the bucket."""
        return f"trial{next(self._containers)}"

    def sink(
        self,
        container: str,
        files: Sequence[Path],
        settings: Settings | None = None,
        *,
        bucket: str = "",
    ) -> Run:
        """Sink files, or directories, into a folder of `container`."""
        place = {"base_directory": f"s3://{bucket or self.bucket}", "container": container}
        whole = self._settings | Settings(inputs=place) | (settings or Settings())
        return run_sink({FIELD: [str(path) for path in files]}, whole)

    def difference(self, expected: Mapping[str, Path], prefix: str, *, bucket: str = "") -> str:
        """Compare the objects below `prefix` with files, byte by byte; return the differences."""
        bucket = bucket or self.bucket
        bad = list(self.states(expected, bucket=bucket).values())
        wrong = [f"{bad.count(state)} of {len(expected)} {state}" for state in sorted(set(bad))]
        if extra := set(self.modified(prefix, bucket=bucket)) - set(expected):
            wrong.append(f"{len(extra)} that were not sent")
        return ", ".join(wrong)

    def states(self, expected: Mapping[str, Path], *, bucket: str = "") -> dict[str, str]:
        """Read objects back; map each missing or wrong one to a description."""
        with ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(
                lambda item: self._state(bucket or self.bucket, *item), expected.items()
            )
            return {key: state for key, state in zip(expected, found, strict=True) if state}

    def _state(self, bucket: str, key: str, path: Path) -> str:
        try:
            body = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError:
            return "missing"
        return "" if body == path.read_bytes() else "with wrong bytes"

    def modified(self, prefix: str, *, bucket: str = "") -> dict[str, datetime]:
        """Return the keys below `prefix` with the times of their last modification."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket or self.bucket, Prefix=prefix
        )
        return {item["Key"]: item["LastModified"] for item in _contents(pages)}

    def head(self, key: str) -> Mapping[str, Any]:
        """Return the metadata of an object, including checksums."""
        return self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")

    def open_uploads(self) -> int | None:
        """Count incomplete multipart uploads; return None if the store cannot list them."""
        try:
            return len(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))
        except (ClientError, BotoCoreError):
            return None


def _contents(pages: Any) -> Iterator[Any]:
    for page in pages:
        yield from page.get("Contents", [])
