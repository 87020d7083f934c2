"""Derive from the trials which settings a store needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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

_SINGLE = ("classic", "crt")


def advice(tried: Tried, results: Results) -> Iterator[str]:
    """Yield one item of the list of settings after the other."""
    yield from _needed(tried)
    yield from _option(tried, results)
    yield from _transports(tried)
    yield _region(tried)
    yield _trailers(tried)
    yield _checksums(tried)
    yield _encryption(tried)
    yield from _names(tried)


def _needed(tried: Tried) -> Iterator[str]:
    """Yield the settings that make the rows work that every user needs."""
    failing = [row for row, verdict in tried.verdicts[DEFAULT].items() if verdict.good is False]
    if not failing:
        yield "Set `s3_endpoint_url` and credentials. Then all rows with a star work."
        return
    yield "Set `s3_endpoint_url` and credentials."
    by_remedy: dict[str | None, list[str]] = {}
    for row in failing:
        by_remedy.setdefault(tried.remedies.get(row), []).append(row)
    for remedy, rows in by_remedy.items():
        if remedy:
            yield f"Set {remedy}. Then these rows work: {_quoted(rows)}."
        elif remedy is None:
            yield f"These rows fail: {_quoted(rows)}."
        else:
            yield f"These rows fail with every setting that was tried: {_quoted(rows)}."


def _option(tried: Tried, results: Results) -> Iterator[str]:
    """Yield which rows work if the store is started with another option."""
    for other in results.tried:
        if other.store.option_of == tried.store.name:
            better = [
                row for row in _rows(tried) if not all(_good(tried, row)) and all(_good(other, row))
            ]
            if better:
                rows = _quoted(better)
                yield f"Start it with `{other.store.option}`. Then these rows work: {rows}."


def _quoted(rows: Sequence[str]) -> str:
    return ", ".join(f'"{row}"' for row in rows)


def _rows(tried: Tried) -> list[str]:
    return list(dict.fromkeys(row for one in tried.verdicts.values() for row in one))


def _verdicts(tried: Tried, row: str) -> Mapping[str, Verdict]:
    """Return the verdicts of a row for each transport that works with this store."""
    able = [name for name, one in tried.verdicts.items() if one[LARGE].good] or tried.verdicts
    return {name: tried.verdicts[name][row] for name in able if row in tried.verdicts[name]}


def _good(tried: Tried, row: str) -> list[bool]:
    """Return for each transport whether the result is what a user wants."""
    return [verdict.good is not False for verdict in _verdicts(tried, row).values()]


def _transports(tried: Tried) -> Iterator[str]:
    """Yield which transport fails in rows in which the other one works."""
    default = tried.verdicts[DEFAULT]
    for transport, other in (_SINGLE, _SINGLE[::-1]):
        failing = [
            row
            for row, verdict in tried.verdicts[transport].items()
            if verdict.good is False and tried.verdicts[other][row].good and row in default
        ]
        if failing and all(default[row].good for row in failing):
            yield f"`{transport}` does not work; `auto` uses `{other}` instead if necessary."
        elif failing:
            yield f"`{transport}` does not work in these rows: {_quoted(failing)}."


def _region(tried: Tried) -> str:
    if all(_good(tried, OTHER_REGION)):
        return "`s3_region`: not needed; every value works."
    return "`s3_region`: do not set it; other regions are rejected."


def _trailers(tried: Tried) -> str:
    name = "`AWS_REQUEST_CHECKSUM_CALCULATION=when_supported`"
    if all(_good(tried, TRAILERS)):
        return f"{name}: works."
    return f"{name}: do not set it; uploads over TLS fail."


def _checksums(tried: Tried) -> str:
    kept = [name for name in CHECKSUMS if all(_good(tried, checksum_row(name)))]
    if kept:
        names = ", ".join(f"`{name}`" for name in kept)
        return f"`ChecksumAlgorithm` in `s3_upload_args`: {names} are stored."
    return (
        "`ChecksumAlgorithm` in `s3_upload_args`: not stored for all files. "
        "Uploads are verified by ETags."
    )


def _names(tried: Tried) -> Iterator[str]:
    notes = [verdict.note for verdict in _verdicts(tried, NAMES).values() if verdict.note]
    yield from (f"File names: {note}." for note in dict.fromkeys(notes))


def _encryption(tried: Tried) -> str:
    words = {verdict.word for verdict in _verdicts(tried, ENCRYPTION).values()}
    if words == {"encrypted"}:
        return "`encrypt_bucket_keys`: works; the store reports that objects are encrypted."
    if "not encrypted" in words:
        return "`encrypt_bucket_keys`: no effect; the store does not report encryption."
    return "`encrypt_bucket_keys`: do not set it; uploads fail when the store is started like this."
