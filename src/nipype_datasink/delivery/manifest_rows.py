"""Make the rows of a manifest from a plan that was carried out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nipype_datasink.delivery.digests import FileDigest, SourceDigests, digest_file
from nipype_datasink.delivery.manifest import MISSING, ManifestRow
from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.planning.location import LocalDirectory, Location
from nipype_datasink.planning.plan import Delivery, FileTransfer, Plan
from nipype_datasink.signals import is_time_limit


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFile:
    """A source that did not exist, and where it would have gone."""

    field: str
    """Name of the sink's input."""

    source: str
    """Absolute path."""

    destination: str
    """Path or ``s3://`` address."""

    location: Location
    """One of the sink's locations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What all rows of a manifest have in common."""

    node: str
    """Directory of the sink's node, relative to that of the workflow."""

    time: str
    """When the delivery ended, in UTC."""

    bases: Mapping[Location, str]
    """Base directory of each of the sink's locations."""


def make_rows(
    plan: Plan,
    outcomes: Sequence[Outcome],
    digests: SourceDigests,
    missing: Iterable[MissingFile],
    circumstances: Circumstances,
) -> list[ManifestRow]:
    """Return one row for each file, then one for each missing source.

    Parameters
    ----------
    plan
        Carried out without an error.
    outcomes
        Outcomes of all files.
    digests
        Digests of their sources.
    missing
        Sources that were skipped.
    circumstances
        What all rows have in common.
    """
    by_destination = {outcome.transfer.destination: outcome for outcome in outcomes}
    rows: dict[str, ManifestRow] = {}
    for delivery in plan.deliveries:
        for transfer in delivery.transfers:
            # Sources with equal bytes may share a destination; the first of them is delivered.
            if transfer.destination not in rows:
                outcome = by_destination[transfer.destination]
                digest = _digest(delivery, transfer, outcome, digests)
                rows[transfer.destination] = _row(delivery, outcome, digest, circumstances)
    return [*rows.values(), *(_missing_row(item, circumstances) for item in missing)]


def _digest(
    delivery: Delivery, transfer: FileTransfer, outcome: Outcome, digests: SourceDigests
) -> FileDigest:
    """Return the digest of the source; if it is not known, that of the file at the destination."""
    found = digests.find(transfer.source)
    if found is None and isinstance(delivery.location, LocalDirectory):
        try:
            found = digest_file(transfer.destination)
        except OSError as error:
            if is_time_limit(error):
                raise
    if found is None:
        size = outcome.transfer.size if outcome.sent_size is None else outcome.sent_size
        found = FileDigest(size=size, sha256="")
    return found


def _row(
    delivery: Delivery, outcome: Outcome, digest: FileDigest, circumstances: Circumstances
) -> ManifestRow:
    return ManifestRow(
        destination=outcome.transfer.destination,
        size=digest.size,
        sha256=digest.sha256,
        etag=outcome.etag,
        status=outcome.status.value,
        verified=outcome.verified,
        field=delivery.field,
        source=outcome.transfer.source,
        node=circumstances.node,
        time=circumstances.time,
        base=circumstances.bases[delivery.location],
    )


def _missing_row(item: MissingFile, circumstances: Circumstances) -> ManifestRow:
    return ManifestRow(
        destination=item.destination,
        size=None,
        sha256="",
        etag="",
        status=MISSING,
        verified=False,
        field=item.field,
        source=item.source,
        node=circumstances.node,
        time=circumstances.time,
        base=circumstances.bases[item.location],
    )
