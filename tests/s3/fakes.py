"""A bucket that is not boto3's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path


class FakeObject:
    """An object with nothing but an ETag."""

    def __init__(self, etag: str | None) -> None:
        self._etag = etag

    @property
    def e_tag(self) -> str:
        if self._etag is None:
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return f'"{self._etag}"'


class Fake:
    """A bucket with only the members that nipype uses."""

    def __init__(self, name: str = "mybucket", **there: bytes) -> None:
        self.name = name
        self.etags = {
            key.replace("__", "/"): hashlib.md5(data).hexdigest() for key, data in there.items()
        }
        self.uploads: list[tuple[str, str, dict[str, str]]] = []

    def Object(self, *, key: str) -> FakeObject:  # noqa: N802 - boto3's name
        return FakeObject(self.etags.get(key))

    def upload_file(
        self,
        source: str,
        key: str,
        *,
        ExtraArgs: dict[str, str],  # noqa: N803
        Callback: Callable[[int], None],  # noqa: N803
    ) -> None:
        content = Path(source).read_bytes()
        self.uploads.append((source, key, dict(ExtraArgs)))
        self.etags[key] = hashlib.md5(content).hexdigest()
        Callback(len(content))
