"""What a user of a store has to set, as the trials have shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stores.results import DEFAULT, Results, Tried
from stores.trials import (
    CHECKSUMS,
    ENCRYPTION,
    LARGE,
    NAMES,
    OTHER_REGION,
    TRAILERS,
    checksum_row,
)
from stores.verdicts import Verdict

_ALONE = ("classic", "crt")


def advice(tried: Tried, results: Results) -> Iterator[str]:
    """Yield sentences."""
    yield from _needed(tried)
    yield from _option(tried, results)
    yield from _transports(tried)
    yield _region(tried)
    yield _trailers(tried)
    yield _checksums(tried)
    yield _encryption(tried)
    yield from _names(tried)


def _needed(tried: Tried) -> Iterator[str]:
    """Say what must be set for what every user needs."""
    bad = [row for row, verdict in tried.verdicts[DEFAULT].items() if verdict.good is False]
    if not bad:
        yield "`s3_endpoint_url` and credentials; with these every row marked by * works."
        return
    yield "`s3_endpoint_url` and credentials."
    by_remedy: dict[str | None, list[str]] = {}
    for row in bad:
        by_remedy.setdefault(tried.remedies.get(row), []).append(row)
    for remedy, rows in by_remedy.items():
        what = "; ".join(rows)
        if remedy:
            yield f"For this to work ({what}) set {remedy}."
        elif remedy is None:
            yield f"This does not work when it is started so: {what}."
        else:
            yield f"No setting that was tried makes this work: {what}."


def _option(tried: Tried, results: Results) -> Iterator[str]:
    """Say what starting the store in another way improves."""
    for other in results.tried:
        if other.store.option_of == tried.store.name:
            better = [
                row for row in _rows(tried) if not all(_good(tried, row)) and all(_good(other, row))
            ]
            if better:
                yield f"Start it with `{other.store.option}`; then this works: {'; '.join(better)}."


def _rows(tried: Tried) -> list[str]:
    return list(dict.fromkeys(row for one in tried.verdicts.values() for row in one))


def _verdicts(tried: Tried, row: str) -> Mapping[str, Verdict]:
    """Return what came of a trial with each transport that can be used with this store."""
    able = [name for name, one in tried.verdicts.items() if one[LARGE].good] or tried.verdicts
    return {name: tried.verdicts[name][row] for name in able if row in tried.verdicts[name]}


def _good(tried: Tried, row: str) -> list[bool]:
    """Return for each transport whether a row is as a user wants it."""
    return [verdict.good is not False for verdict in _verdicts(tried, row).values()]


def _transports(tried: Tried) -> Iterator[str]:
    """Say which transport fails where the other works."""
    default = tried.verdicts[DEFAULT]
    for transport, other in (_ALONE, _ALONE[::-1]):
        failing = [
            row
            for row, verdict in tried.verdicts[transport].items()
            if verdict.good is False and tried.verdicts[other][row].good and row in default
        ]
        if failing and all(default[row].good for row in failing):
            yield f"`{transport}` cannot be used; `auto` takes `{other}` where that is necessary."
        elif failing:
            yield f"`{transport}` cannot be used: {'; '.join(failing)}."


def _region(tried: Tried) -> str:
    if all(_good(tried, OTHER_REGION)):
        return "`s3_region` is not needed, and any is taken."
    return "`s3_region` is not needed; leave it unset, as another region is refused."


def _trailers(tried: Tried) -> str:
    name = "`AWS_REQUEST_CHECKSUM_CALCULATION=when_supported`"
    if all(_good(tried, TRAILERS)):
        return f"{name} may be set."
    return f"Leave {name} unset: with it uploads over TLS fail."


def _checksums(tried: Tried) -> str:
    kept = [name for name in CHECKSUMS if all(_good(tried, checksum_row(name)))]
    if kept:
        names = ", ".join(f"`{name}`" for name in kept)
        return f"It keeps the checksums {names} (`ChecksumAlgorithm` in `s3_upload_args`)."
    return "It keeps no checksum for large and small files; ETags prove what arrived."


def _names(tried: Tried) -> Iterator[str]:
    notes = [verdict.note for verdict in _verdicts(tried, NAMES).values() if verdict.note]
    yield from (f"Names of files: {note}." for note in dict.fromkeys(notes))


def _encryption(tried: Tried) -> str:
    words = {verdict.word for verdict in _verdicts(tried, ENCRYPTION).values()}
    if words == {"encrypted"}:
        return "`encrypt_bucket_keys` may be set; the store says then that objects are encrypted."
    if "not encrypted" in words:
        return "`encrypt_bucket_keys` has no effect: nothing says that objects are encrypted."
    return "Leave `encrypt_bucket_keys` unset: uploads fail with it, as started here."
