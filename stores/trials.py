"""Trials that run on each store, with each transport."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stores.locking import object_lock
from stores.naming import names
from stores.sinks import Settings, in_one_line
from stores.verdicts import Verdict, failed
from stores.visit import FIELD, Visit

MIB = 1 << 20
MANY = 50  # files
_CLOCK_SECONDS = 1.1  # LastModified has a resolution of one second


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial, which fills one or more rows of the table."""

    rows: tuple[str, ...]
    """Titles of the rows."""

    run: Callable[[Visit], Iterator[Verdict]]
    """Yields a verdict for each row."""

    needed: bool = False
    """Whether every user needs this. If it fails, other settings are tried."""

    def verdicts(self, visit: Visit) -> dict[str, Verdict]:
        """Run the trial; return the verdict of each row."""
        found: list[Verdict] = []
        try:
            found.extend(self.run(visit))
        except Exception as error:  # noqa: BLE001 - the other trials must still run
            found.append(failed(in_one_line(error)))
        rest = Verdict(word="-", good=None)
        return dict(zip(self.rows, [*found, *[rest] * len(self.rows)], strict=False))


def _deliveries(name: str, sizes: Sequence[int]) -> Callable[[Visit], Iterator[Verdict]]:
    def run(visit: Visit) -> Iterator[Verdict]:
        files = _make(visit.directory / name, sizes)
        container = visit.new_container()
        first = visit.sink(container, files)
        yield _delivered(visit, container, files, first.error, verified=first.verified)
        if first.error:
            return
        yield _resent(visit, container, files, changed=0)
        path = files[-1]
        *start, last = path.read_bytes()
        path.write_bytes(bytes([*start, last ^ 1]))
        yield _resent(visit, container, files, changed=1)

    return run


def _make(directory: Path, sizes: Sequence[int]) -> list[Path]:
    directory.mkdir(exist_ok=True)
    paths = [directory / f"{number:04}.dat" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(os.urandom(size))
    return paths


def expected(container: str, files: Sequence[Path]) -> dict[str, Path]:
    """Return the key of each file."""
    return {f"{container}/{FIELD}/{path.name}": path for path in files}


def _delivered(
    visit: Visit, container: str, files: Sequence[Path], error: str, *, verified: bool = True
) -> Verdict:
    if error:
        return failed(error)
    if difference := visit.difference(expected(container, files), f"{container}/"):
        return Verdict(word="WRONG", note=f"no error, but {difference}", good=False)
    return Verdict(word="yes") if verified else Verdict(word="yes, not verified")


def _resent(visit: Visit, container: str, files: Sequence[Path], *, changed: int) -> Verdict:
    """Sink the same files again; count the objects whose modification time has changed."""
    before = visit.modified(f"{container}/")
    time.sleep(_CLOCK_SECONDS)
    again = visit.sink(container, files)
    if again.error:
        return failed(again.error)
    after = visit.modified(f"{container}/")
    sent = sum(after[key] != before.get(key) for key in after)
    verdict = _delivered(visit, container, files, "") if sent else Verdict(word="yes")
    if verdict.word != "yes" or sent == changed:
        return verdict
    how_many = "all" if sent == len(files) else f"{sent} of {len(files)}"
    return Verdict(word=f"{how_many} sent again", good=False)


def _removal(visit: Visit) -> Iterator[Verdict]:
    folder = visit.directory / "folder"
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        (folder / name).write_text(name)
    container = visit.new_container()
    first = visit.sink(container, [folder])
    beside = f"{container}/{FIELD}/folder2/keep.txt"
    visit.client.put_object(Bucket=visit.bucket, Key=beside, Body=b"a.txt")
    (folder / "b.txt").unlink()
    again = visit.sink(container, [folder], Settings(inputs={"remove_dest_dir": True}))
    if error := first.error or again.error:
        yield failed(error)
        return
    below = f"{container}/{FIELD}/folder"
    kept = {f"{below}/{name}": folder / name for name in ("a.txt", "sub/c.txt")}
    difference = visit.difference({**kept, beside: folder / "a.txt"}, f"{container}/")
    yield Verdict(word="WRONG", note=difference, good=False) if difference else Verdict(word="yes")


def _with(
    settings: Settings,
    has_property: Callable[[Mapping[str, object]], bool],
    words: tuple[str, str],
    *,
    tls: bool = False,
) -> Callable[[Visit], Iterator[Verdict]]:
    """Sink a small and a large file with `settings`; check the metadata of both objects."""

    def run(visit: Visit) -> Iterator[Verdict]:
        files = _make(visit.directory / "two", [1_000, 8 * MIB + 1])
        container = visit.new_container()
        ran = visit.sink(container, files, settings | visit.over_tls if tls else settings)
        verdict = _delivered(visit, container, files, ran.error)
        if verdict.word == "yes":
            heads = [visit.head(key) for key in expected(container, files)]
            kept = [has_property(head) for head in heads]
            word = words[0] if all(kept) else "small files only" if kept[0] else words[1]
            verdict = Verdict(word=word, good=all(kept))
        yield verdict

    return run


def _arriving(settings: Settings, *, tls: bool = False) -> Callable[[Visit], Iterator[Verdict]]:
    return _with(settings, lambda _: True, ("yes", "no"), tls=tls)


def _upload_args(**args: object) -> Settings:
    return Settings(inputs={"s3_upload_args": args})


def _checksum(algorithm: str) -> Trial:
    run = _with(
        _upload_args(ChecksumAlgorithm=algorithm),
        lambda head: bool(head.get(f"Checksum{algorithm}")),
        ("stored", "not stored"),
    )
    return Trial(rows=(checksum_row(algorithm),), run=run)


def checksum_row(algorithm: str) -> str:
    """Return the title of the row of an algorithm."""
    return f"`ChecksumAlgorithm`: `{algorithm}`"


def _encryption(row: str, kind: str, settings: Settings) -> Trial:
    run = _with(
        settings,
        lambda head: head.get("ServerSideEncryption") == kind,
        ("encrypted", "not encrypted"),
    )
    return Trial(rows=(row,), run=run)


def _wrong_secret(visit: Visit) -> Iterator[Verdict]:
    files = _make(visit.directory / "one", [10])
    settings = Settings(environment={"AWS_SECRET_ACCESS_KEY": "wrong"})
    ran = visit.sink(visit.new_container(), files, settings)
    yield Verdict(word="rejected" if ran.error else "accepted", note=ran.error, good=None)


def _leftovers(visit: Visit) -> Iterator[Verdict]:
    count = visit.open_uploads()
    if count is None:
        yield Verdict(word="unknown", good=None)
    else:
        yield Verdict(word=f"{count}" if count else "none", good=not count)


SMALL = f"{MANY} small files, one of them empty"
LARGE = "large files: 8 MiB (one request), 8 MiB + 1 byte (parts)"
_AGAIN = ("all unchanged: nothing is sent", "one changed: only this one is sent")
_SMALL_SIZES = [0, 1, *[100 + number for number in range(MANY - 2)]]
_METADATA = {"Metadata": {"study": "pilot"}, "ContentType": "text/x-trial"}
WHEN_SUPPORTED = Settings(environment={"AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported"})
OVER_TLS = "over TLS"
CHECKSUM_ALWAYS = "`when_supported`, without TLS: checksums in headers"
TRAILERS = "`when_supported`, over TLS: checksums in trailers"
ENCRYPTION = "`encrypt_bucket_keys`"
NAMES = "unusual file names"
OTHER_REGION = "`s3_region` set to another region"
REMOVAL = "`remove_dest_dir`"
OBJECT_LOCK = "bucket with Object Lock"
CHECKSUMS = ("CRC32", "CRC64NVME", "SHA256")

TRIALS: Mapping[str, Sequence[Trial]] = {
    "Files": (
        Trial(
            rows=(SMALL, *(f"small files, {row}" for row in _AGAIN)),
            run=_deliveries("small", _SMALL_SIZES),
            needed=True,
        ),
        Trial(
            rows=(LARGE, *(f"large files, {row}" for row in _AGAIN)),
            run=_deliveries("large", [8 * MIB, 8 * MIB + 1]),
            needed=True,
        ),
        Trial(rows=(REMOVAL,), run=_removal, needed=True),
        Trial(rows=(NAMES,), run=names),
    ),
    "Settings of uploads": (
        *map(_checksum, CHECKSUMS),
        Trial(rows=(OVER_TLS,), run=_arriving(Settings(), tls=True), needed=True),
        Trial(rows=(CHECKSUM_ALWAYS,), run=_arriving(WHEN_SUPPORTED)),
        Trial(rows=(TRAILERS,), run=_arriving(WHEN_SUPPORTED, tls=True)),
        _encryption(ENCRYPTION, "AES256", Settings(inputs={"encrypt_bucket_keys": True})),
        _encryption(
            "`ServerSideEncryption`: `aws:kms`",
            "aws:kms",
            _upload_args(ServerSideEncryption="aws:kms"),
        ),
        Trial(
            rows=("`Metadata`, `ContentType`",),
            run=_with(
                _upload_args(**_METADATA),
                lambda head: all(head.get(name) == value for name, value in _METADATA.items()),
                ("stored", "not stored"),
            ),
        ),
    ),
    "Access": (
        Trial(
            rows=(OTHER_REGION,),
            run=_arriving(Settings(inputs={"s3_region": "eu-central-1"})),
        ),
        Trial(rows=("a wrong secret key",), run=_wrong_secret),
        Trial(rows=(OBJECT_LOCK,), run=object_lock, needed=True),
        Trial(rows=("incomplete uploads after all trials",), run=_leftovers),
    ),
}
