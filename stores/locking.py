"""Buckets with Object Lock, in which some stores accept only uploads with a checksum."""

from __future__ import annotations

import os
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from stores.sinks import in_one_line
from stores.verdicts import Verdict, failed
from stores.visit import FIELD, Visit

_ONE_DAY = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}


def object_lock(visit: Visit) -> Iterator[Verdict]:
    """Sink a small and a large file into a bucket whose objects are locked for one day."""
    bucket = f"{visit.bucket}-locked-{visit.new_container()}"
    try:
        visit.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        visit.client.put_object_lock_configuration(
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": _ONE_DAY},  # type: ignore[typeddict-item]
        )
    except (ClientError, BotoCoreError) as error:
        yield Verdict(word="not supported", note=in_one_line(error), good=None)
        return
    files = [visit.directory / name for name in ("locked-small.dat", "locked-large.dat")]
    for path, size in zip(files, (1_000, 9 << 20), strict=True):
        path.write_bytes(os.urandom(size))
    ran = visit.sink("locked", files, bucket=bucket)
    if ran.error:
        yield failed(ran.error)
        return
    expected = {f"locked/{FIELD}/{path.name}": path for path in files}
    difference = visit.difference(expected, "locked/", bucket=bucket)
    yield Verdict(word="WRONG", note=difference, good=False) if difference else Verdict(word="yes")
