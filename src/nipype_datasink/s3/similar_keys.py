"""Find files that have overwritten each other because a store treats two keys as the same.

To S3, keys that differ only in case or Unicode form are different. Gateways to a file system may
not distinguish them: `rclone serve s3` keeps one object for both forms of "ä". The second upload
then overwrites the first, although each upload alone was successful.
"""

from __future__ import annotations

from collections.abc import Sequence

from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.display import escaped
from nipype_datasink.errors import S3Error
from nipype_datasink.planning.places import group_similar_names
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.readback import equals_file


def mark_overwritten(bucket: BucketClient, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return `outcomes`, with a failure for each file whose object holds the bytes of another file.

    Only objects with similar keys are compared. They are read back from the store.
    """
    arrived = {f"/{each.transfer.key}": each for each in outcomes if each.status.arrived}
    failures: dict[FileTransfer, Outcome] = {}
    for group in group_similar_names(arrived):
        for path in group:
            transfer = arrived[path].transfer
            others = [arrived[other].transfer for other in group if other != path]
            if _is_overwritten(bucket, transfer):
                failures[transfer] = Outcome.failure(transfer, _collision(others))
    return [failures.get(outcome.transfer, outcome) for outcome in outcomes]


def _is_overwritten(bucket: BucketClient, transfer: FileTransfer) -> bool:
    try:
        return not equals_file(bucket, transfer, transfer.size)
    except Exception:  # noqa: BLE001 - an object that cannot be read proves nothing
        return False


def _collision(others: Sequence[FileTransfer]) -> S3Error:
    names = ", ".join(other.destination for other in others)
    return S3Error(
        escaped(
            f"the store treats it and {names} as one object, which now holds the bytes of another "
            "file; give it another destination, by the name of the input, by parameterization or "
            "by a substitution"
        )
    )
