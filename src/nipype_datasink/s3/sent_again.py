"""Explain why many files are sent again although objects of the same size are in the bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum

from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.display import counted
from nipype_datasink.planning.plan import FileTransfer

# A few files of the same size with other bytes are ordinary: the log counts them as replaced.
# Many often have one cause that the user can change, such as a new setting for encryption.
_MIN_FILES = 10


class Mismatch(Enum):
    """Why an object of a file's size does not count as the file."""

    ENCRYPTION = "the objects are not encrypted with {encryption}"
    BYTES = "the objects hold other bytes"
    UNKNOWN = "no ETag or checksum shows whether the objects hold the same bytes"


def describe_sent_again(
    mismatches: Mapping[FileTransfer, Mismatch],
    outcomes: Iterable[Outcome],
    encryption: str | None,
) -> str:
    """Return how many files of an object's size were sent, for each reason that has many.

    Parameters
    ----------
    mismatches
        Files of the same size as their objects.
    outcomes
        Results of the files that were to be sent.
    encryption
        What the upload asked for, such as ``AES256``.

    Returns
    -------
    str
        Empty if no reason has at least 10 files.
    """
    sent = [outcome.transfer for outcome in outcomes if outcome.status.written]
    counts = Counter(mismatches[transfer] for transfer in sent if transfer in mismatches)
    return "; ".join(
        f"{counted(counts[reason], 'file')} of the same size were sent again because "
        f"{reason.value.format(encryption=encryption)}"
        for reason in Mismatch
        if counts[reason] >= _MIN_FILES
    )
