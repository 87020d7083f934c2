"""Run all trials of one store."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from stores.catalogue import STORES, Store
from stores.remedies import find_remedies
from stores.results import DEFAULT, TRANSPORTS, Tried
from stores.sinks import Settings, in_one_line
from stores.trials import TRIALS, Trial
from stores.verdicts import Verdict
from stores.visit import Visit
from tests.tls import behind_tls

MakeVisit = Callable[[str, Settings], Visit]


def try_store(name: str) -> Tried | str:
    """Start a store, run the trials with each transport, try other settings, and stop it.

    Parameters
    ----------
    name
        Name of a store in the catalogue.

    Returns
    -------
    Tried or str
        Text says why the store could not be started.
    """
    # Turn SIGTERM into an exception, so that `with` blocks stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    (store,) = [store for store in STORES if store.name == name]
    try:
        return _try(store)
    except (FileNotFoundError, RuntimeError) as error:
        print(f"{name}: {error}", flush=True)
        return in_one_line(error)
    except (SystemExit, KeyboardInterrupt):
        os._exit(1)  # the pool would continue with the next store


def _try(store: Store) -> Tried:
    with _started(store) as make_visit:
        verdicts = {
            transport: dict(_verdicts(make_visit(transport, Settings()), transport != DEFAULT))
            for transport in TRANSPORTS
        }
        remedies: dict[str, str] = {}
        if not any(other.option_of == store.name for other in STORES):  # then that option helps
            remedies |= find_remedies(
                verdicts[DEFAULT], lambda settings: make_visit(DEFAULT, settings)
            )
    return Tried(store=store, version=store.version(), verdicts=verdicts, remedies=remedies)


@contextmanager
def _started(store: Store) -> Iterator[MakeVisit]:
    with (
        store.start() as address,
        behind_tls(address) as (secure, certificate),
        tempfile.TemporaryDirectory(prefix="trials-") as directory,
    ):
        over_tls = Settings(
            inputs={"s3_endpoint_url": secure}, environment={"AWS_CA_BUNDLE": certificate}
        )

        def make_visit(transport: str, settings: Settings) -> Visit:
            return Visit(
                store.name,
                address,
                keys=store.keys,
                transport=transport,
                directory=Path(directory),
                over_tls=over_tls,
                settings=settings,
            )

        yield make_visit


def _verdicts(visit: Visit, whole: bool) -> Iterator[tuple[str, Verdict]]:  # noqa: FBT001
    """Yield the verdict of each trial, or only of the trials that every user needs."""
    try:
        visit.client.create_bucket(Bucket=visit.bucket)
    except (ClientError, BotoCoreError) as error:
        print(f"  cannot create the bucket: {error}", flush=True)
    for trial in (trial for trials in TRIALS.values() for trial in trials):
        if whole or trial.needed:
            yield from _report_progress(trial, visit)


def _report_progress(trial: Trial, visit: Visit) -> Iterator[tuple[str, Verdict]]:
    begin = time.monotonic()
    for row, verdict in trial.verdicts(visit).items():
        took = f"{time.monotonic() - begin:5.1f} s"
        where = f"{visit.store}, {visit.transport}"
        print(f"{took}  {where}: {row}: {verdict.word}  {verdict.note}", flush=True)
        yield row, verdict
