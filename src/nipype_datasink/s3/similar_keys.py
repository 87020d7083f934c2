"""Keys that a store may take for one, as they differ only in case or Unicode form.

S3 tells them apart, but gateways before a file system may not: `rclone serve s3` takes both forms
of "ä" for one key. Then the last of two files has replaced the first, and each upload was right.
"""

from __future__ import annotations

from collections.abc import Sequence

from nipype_datasink.delivery.execution import Outcome
from nipype_datasink.display import escaped
from nipype_datasink.errors import S3Error
from nipype_datasink.planning.places import group_similar_names
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.readback import holds_file

__all__ = ["fail_replaced"]


def fail_replaced(bucket: BucketClient, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return `outcomes`, as failures where an object holds the bytes of another file of the run.

    Only objects whose keys are alike are looked at: they are read back.
    """
    arrived = {f"/{each.transfer.key}": each for each in outcomes if each.status.arrived}
    failures: dict[FileTransfer, Outcome] = {}
    for group in group_similar_names(arrived):
        for path in group:
            transfer = arrived[path].transfer
            others = [arrived[other].transfer for other in group if other != path]
            if _is_replaced(bucket, transfer):
                failures[transfer] = Outcome.failure(transfer, _collision(others))
    return [failures.get(outcome.transfer, outcome) for outcome in outcomes]


def _is_replaced(bucket: BucketClient, transfer: FileTransfer) -> bool:
    try:
        return not holds_file(bucket, transfer, transfer.size)
    except Exception:  # noqa: BLE001 - what cannot be read shows nothing
        return False


def _collision(others: Sequence[FileTransfer]) -> S3Error:
    names = ", ".join(other.destination for other in others)
    return S3Error(
        escaped(
            f"the store takes it and {names} for one object, which holds the bytes of another "
            "file; keep them apart by the input's name, by parameterization or by a substitution"
        )
    )
