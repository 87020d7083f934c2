"""All trials of one store."""

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
    """Start a store, run the trials with each transport, look for what helps, and stop it.

    Parameters
    ----------
    name
        Of one in the catalogue.

    Returns
    -------
    Tried or str
        The latter says why it could not be started.
    """
    # A terminated process leaves its `with` blocks, so that servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    (store,) = [store for store in STORES if store.name == name]
    try:
        return _try(store)
    except (FileNotFoundError, RuntimeError) as error:
        print(f"{name}: {error}", flush=True)
        return in_one_line(error)
    except (SystemExit, KeyboardInterrupt):
        os._exit(1)  # the pool would go on with the next store


def _try(store: Store) -> Tried:
    with _started(store) as make_visit:
        verdicts = {
            transport: dict(_verdicts(make_visit(transport, Settings()), transport != DEFAULT))
            for transport in TRANSPORTS
        }
        remedies: dict[str, str] = {}
        if not any(other.option_of == store.name for other in STORES):  # that helps, if anything
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
    """Yield what came of each trial; if not of the whole, then of what every user needs."""
    try:
        visit.client.create_bucket(Bucket=visit.bucket)
    except (ClientError, BotoCoreError) as error:
        print(f"  no bucket: {error}", flush=True)
    for trial in (trial for trials in TRIALS.values() for trial in trials):
        if whole or trial.needed:
            yield from _told(trial, visit)


def _told(trial: Trial, visit: Visit) -> Iterator[tuple[str, Verdict]]:
    begin = time.monotonic()
    for row, verdict in trial.verdicts(visit).items():
        took = f"{time.monotonic() - begin:5.1f} s"
        where = f"{visit.store}, {visit.transport}"
        print(f"{took}  {where}: {row}: {verdict.word}  {verdict.note}", flush=True)
        yield row, verdict
